"""Settings of people whose changes come one by one: over SCIM, or named by an HR system's webhook."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from pydantic import Field, SecretStr, field_validator

from provisioner.settings.attribute_rule import Section
from provisioner.settings.values import UNGUESSABLE

#: What the secret of a webhook begins with, and how many bytes follow; see https://www.standardwebhooks.com.
_PREFIX: Final = "whsec_"
_BYTES: Final = range(24, 65)
_URN: Final = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]{1,31}:\S+")
_ATTRIBUTE: Final = re.compile(r"[A-Za-z][\w$-]*")
_PATH: Final = re.compile(r"[^.\s]+(\.[^.\s]+)*")


class ScimSettings(Section):
    """How people are pushed one by one, where `roster.url` is ``scim:``."""

    token: SecretStr | None = Field(
        None, description=f"Bearer token of whoever pushes, of {UNGUESSABLE} characters or more."
    )
    extensions: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="URN of an extension of User: its attributes. Others are not kept, those of the enterprise "
        "extension aside.",
    )

    @field_validator("token")
    @classmethod
    def _unguessable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < UNGUESSABLE:
            raise ValueError(f"it has fewer than {UNGUESSABLE} characters, so it could be found by trying")
        return value

    @field_validator("extensions")
    @classmethod
    def _proper(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for urn, names in value.items():
            if not _URN.fullmatch(urn):
                raise ValueError(f"{urn!r} is no URN")
            for name in names:
                if not _ATTRIBUTE.fullmatch(name):
                    raise ValueError(f"{name!r} is no name of an attribute")
        folded = [name.casefold() for some in value.values() for name in some]
        doubled = [name for name in folded if folded.count(name) > 1]
        if doubled:
            raise ValueError(f"{doubled[0]!r} is an attribute of two extensions, so their columns would be one")
        return value


class RosterWebhookSettings(Section):
    """Webhooks of an HR system that say whose row changed, signed as Standard Webhooks has it."""

    secret: tuple[SecretStr, ...] = Field(
        min_length=1, description="`whsec_` and a key in base64; several while one replaces the other."
    )
    keys: str | None = Field(
        None,
        description="Where an event has the keys of people, such as `data.employee_id`, through lists too; none: each "
        "event starts a run about everybody.",
    )

    @field_validator("secret", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, (str, SecretStr)) else value

    @field_validator("secret")
    @classmethod
    def _proper_secret(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in value:
            webhook_key(secret)
        return value

    @field_validator("keys")
    @classmethod
    def _proper_path(cls, value: str | None) -> str | None:
        if value is not None and not _PATH.fullmatch(value):
            raise ValueError(f"{value!r} is no path; write names with dots between them, such as data.employee_id")
        return value


def webhook_key(secret: SecretStr) -> bytes:
    """The key of a webhook's secret.

    Raises:
        ValueError: it is none.
    """
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _BYTES:
        raise ValueError(f"it is no `{_PREFIX}` and {_BYTES.start} to {_BYTES.stop - 1} bytes in base64")
    return key
