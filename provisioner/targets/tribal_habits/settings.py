"""The settings of a target of kind `tribal_habits`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from provisioner.settings.attribute_rule import Sql
from provisioner.settings.targets import EnrolmentRule, TargetSettings
from provisioner.settings.values import Rate, Rates


class TribalHabitsSettings(TargetSettings):
    """Tribal Habits, learning platform, Public API V1."""

    credentials: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = Field(None, description="The organisation's API key.")
    rate_limit: Rates = Field((Rate(300, 60.0),), description="Published: 300 requests per minute per address.")
    invitations: Literal["new", "all", "none"] = Field("none", description="Who is sent an invitation email.")
    enrolments: tuple[EnrolmentRule, ...] = Field((), description="Enrolments by rule.")
    external_knowledge: tuple[dict[str, Sql], ...] = Field(
        (), description="Certificates and licences: field: SQL expression, with an optional `when`."
    )
