"""Signing in by OpenID Connect: who says who somebody is, and which of their claims lets them do what."""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from provisioner.settings.attribute_rule import Section
from provisioner.settings.place import is_loopback

#: The scope that makes a request one of OpenID Connect.
OPENID: Final = "openid"


def web_address(value: str, *, path: bool) -> str:
    """An address that browsers and secrets may be sent to, as it was given.

    Args:
        path: whether it may have one.

    Raises:
        ValueError: it is no plain https address, or http of another machine.
    """
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must be an address such as https://login.example.com")
    if parts.username or parts.password or parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("must have neither user nor password, query or fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https, since secrets are sent there; http is for this machine only")
    if not path and parts.path not in ("", "/"):
        raise ValueError("must have no path: the page is always at the top of its host")
    return value


def _several(value: Any) -> Any:
    """One text is a list of one."""
    return (value,) if isinstance(value, str) else value


class OidcRoles(Section):
    """Which values of which claim make somebody an operator or a viewer."""

    claim: str = Field(
        "groups",
        min_length=1,
        description="Claim of the ID token, or else of the userinfo, that holds a text or a list of texts; dots lead "
        "into nested claims (`realm_access.roles`).",
    )
    operator: tuple[str, ...] = Field((), description="Its values that let somebody act.")
    viewer: tuple[str, ...] = Field((), description="Its values that let somebody look.")

    @field_validator("operator", "viewer", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return _several(value)

    @model_validator(mode="after")
    def _somebody(self) -> OidcRoles:
        if not self.operator and not self.viewer:
            raise ValueError("name a value under operator or viewer, or nobody can sign in by it")
        if not all(one.strip() for one in (*self.operator, *self.viewer)):
            raise ValueError("an empty value would let nobody in; leave it out")
        return self

    def role_of(self, values: frozenset[str]) -> Literal["operator", "viewer"] | None:
        """The role that a claim's values give; None: none."""
        if not values.isdisjoint(self.operator):
            return "operator"
        return None if values.isdisjoint(self.viewer) else "viewer"


class OidcSettings(Section):
    """An OpenID provider by which people sign in, besides tokens."""

    issuer: str = Field(description="The provider's issuer, as its discovery document has it.")
    client_id: str = Field(min_length=1, description="What the provider calls this page.")
    client_secret: SecretStr | None = Field(None, description="Its secret; none: a public client, by PKCE alone.")
    scopes: tuple[str, ...] = Field(
        (OPENID,), description="Scopes that are asked for, a list or a text; `openid` is always among them."
    )
    roles: OidcRoles = Field(description="Who may do what.")
    subject: str = Field(
        "sub",
        min_length=1,
        description="Claim that names somebody in the audit trail, which is kept for ever: a number rather than a "
        "name or an email.",
    )

    @field_validator("issuer")
    @classmethod
    def _https(cls, value: str) -> str:
        return web_address(value, path=True)

    @field_validator("scopes", mode="before")
    @classmethod
    def _with_openid(cls, value: Any) -> Any:
        several = value.split() if isinstance(value, str) else value
        if not isinstance(several, (list, tuple)) or OPENID in several:
            return several
        return (OPENID, *several)
