"""The settings of a target of kind `traitly`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from provisioner.settings.attribute_rule import Section
from provisioner.settings.targets import TargetSettings


class TraitlyEvents(Section):
    """The names of the events that we send; none: not sent."""

    created: str | None = Field(None, description="When we created the customer.")
    left: str | None = Field(None, description="When the person left.")
    role_changed: str | None = Field(None, description="When custom_attributes.role changed.")


class TraitlyPaging(Section):
    """How lists go on, should they come in pages: the vendor's page prints none, and an empty `metadata`.

    Paths have dots between their levels, such as `metadata.pagination.total`.
    """

    next: str = Field(
        "metadata.next", description="Path of the next page: an address below base_url, a page number or a cursor."
    )
    more: str | None = Field(None, description="Path of what is true while there are more pages.")
    pages: str | None = Field(None, description="Path of the number of pages.")
    total: str | None = Field(None, description="Path of the number of customers; fewer are not believed.")
    page: str = Field("page", description="Query parameter of a page number; the first page is 1.")
    cursor: str = Field("cursor", description="Query parameter of a cursor.")
    size: str | None = Field(None, description="Query parameter by which page_size is asked for; none: not sent.")
    ignore: tuple[str, ...] = Field((), description="Paths that say nothing of pages, such as metadata.request_id.")


class TraitlySettings(TargetSettings):
    """Traitly, customer analytics."""

    default_base_url: ClassVar[str | None] = "https://api.traitly.com"
    credentials: ClassVar[tuple[str, ...]] = ("token",)

    token: SecretStr | None = Field(None, description="The account's API token.")
    events: TraitlyEvents = Field(default_factory=TraitlyEvents, description="Events by fact.")
    paging: TraitlyPaging = Field(default_factory=TraitlyPaging, description="How lists go on, if they come in pages.")
