"""The settings of a target of kind `scim`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from provisioner.settings.attribute_rule import Section
from provisioner.settings.targets import TargetSettings
from provisioner.targets.oauth import OAuthSettings

_PATH = r"^/[A-Za-z0-9_./~-]*[A-Za-z0-9_~-]$"
_ANSWERS = "auto: as the service says of itself"


class ScimPaths(Section):
    """Endpoints below base_url."""

    users: str = Field("/Users", pattern=_PATH, description="Where users are.")
    groups: str = Field("/Groups", pattern=_PATH, description="Where groups are.")
    bulk: str = Field("/Bulk", pattern=_PATH, description="Where bulk requests go.")


class ScimDialect(Section):
    """Where a service deviates from RFC 7644, or says nothing of itself."""

    update: Literal["auto", "patch", "put"] = Field(
        "auto", description=f"How accounts are changed. {_ANSWERS}, by PATCH where it says nothing."
    )
    patch: Literal["paths", "lists", "attributes", "value", "keyed"] = Field(
        "paths",
        description="Form of a PATCH. paths: a path for each value; lists: the same, but attributes with several "
        "elements are sent whole; attributes: each attribute whole; value: one value without a path; keyed: one value "
        "whose keys are paths.",
    )
    filter: Literal["auto", "yes", "no"] = Field("auto", description=f"Whether look-ups by filter work. {_ANSWERS}.")
    bulk: Literal["auto", "no"] = Field(
        "auto", description="auto: users are made many at once, where the service says that it takes bulk requests."
    )
    paging: Literal["auto", "index", "cursor", "none"] = Field(
        "auto",
        description="How lists go on; none: no page is asked for, everything comes at once. "
        f"{_ANSWERS}, by index where it says nothing.",
    )
    etag: Literal["auto", "no"] = Field(
        "auto", description="auto: a change names the version that it is based on, where the service shows one."
    )
    booleans: Literal["json", "text"] = Field("json", description='text: "True" and "False" instead of true and false.')
    memberships: Literal["groups", "users"] = Field(
        "groups", description="Where memberships are read: members of the groups, or `groups` of the users."
    )
    members: Literal["together", "single"] = Field(
        "together", description="single: a request for each member that enters or leaves a group."
    )
    remove_member: Literal["path", "value"] = Field(
        "path", description='How a member leaves: by the path members[value eq "…"], or by a list of values.'
    )
    member_ref: bool = Field(False, description="Whether a new member comes with the address of its user.")
    member_value: Literal["id", "userName"] = Field("id", description="By what groups name their members.")
    media_type: Literal["application/scim+json", "application/json"] = Field(
        "application/scim+json", description="Content type of requests."
    )


class ScimSettings(TargetSettings):
    """Any service that speaks SCIM 2.0."""

    token: SecretStr | None = Field(None, description="A bearer token that does not expire.")
    oauth: OAuthSettings | None = Field(None, description="Or: where access tokens come from.")
    username: str | None = Field(None, description="Or: HTTP Basic.")
    password: SecretStr | None = Field(None, description="Of username.")
    administered: tuple[str, ...] = Field(
        ("userName", "externalId"),
        description="Attributes that only administrators set: an equal value proves whose account it is.",
    )
    paths: ScimPaths = Field(default_factory=ScimPaths, description="Endpoints below base_url.")
    dialect: ScimDialect = Field(default_factory=ScimDialect, description="Where the service deviates from the RFC.")

    @model_validator(mode="after")
    def _one_way_in(self) -> ScimSettings:
        if not self.enabled:
            return self
        given = [self.token is not None, self.oauth is not None, self.username is not None]
        if sum(given) != 1:
            raise ValueError("give one of token, oauth, or username and password")
        secrets = [self.token, self.oauth.client_secret if self.oauth else None, self.password]
        if not any(secret is not None and secret.get_secret_value() for secret in secrets):
            raise ValueError("the secret of token, oauth or username is missing")
        return self
