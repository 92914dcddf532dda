"""The settings of a target of kind `habitate`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from provisioner.settings.targets import TargetSettings


class HabitateSettings(TargetSettings):
    """habitate, community."""

    credentials: ClassVar[tuple[str, ...]] = ("username", "api_key")

    username: str = Field("provisioner", description="Name of the calling system, for habitate's own audit.")
    api_key: SecretStr | None = Field(None, description="The API key, sent as the Basic password.")
    batch_size: int = Field(50, ge=1, le=10_000, description="Members in one change of a board.")
    page_size: int = Field(50, ge=1, le=50, description="Published maximum: 50.")
