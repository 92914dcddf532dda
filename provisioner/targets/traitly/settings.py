"""The settings of a target of kind `traitly`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from provisioner.settings.targets import Section, TargetSettings


class TraitlyEvents(Section):
    """The names of the events that we send; none: not sent."""

    created: str | None = Field(None, description="When we created the customer.")
    left: str | None = Field(None, description="When the person left.")
    role_changed: str | None = Field(None, description="When custom_attributes.role changed.")


class TraitlySettings(TargetSettings):
    """Traitly, customer analytics."""

    default_base_url: ClassVar[str | None] = "https://api.traitly.com"
    credentials: ClassVar[tuple[str, ...]] = ("token",)

    token: SecretStr | None = Field(None, description="The account's API token.")
    events: TraitlyEvents = Field(default_factory=TraitlyEvents, description="Events by fact.")
