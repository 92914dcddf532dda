"""The settings as people may see them: no secret, no credentials in an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from provisioner.logs import clean
from provisioner.settings import AttributeRule, GuardLimit, Settings
from provisioner.settings.values import format_duration
from provisioner.store.redis.address import RedisAddress

_HIDDEN: Final = "•••••• (hidden)"
_UNSET: Final = "not set"
#: Sections that are groups of their own, rather than lines of the first one.
_GENERAL: Final = "general"


def shown(settings: Settings) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Groups of (setting, value, meaning), in the order of the settings."""
    groups: dict[str, list[tuple[str, str, str]]] = {_GENERAL: []}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        meaning = field.description or ""
        if name == "redis_url":
            groups[_GENERAL].append((name, RedisAddress.of(settings).redacted, meaning))
        elif name == "targets":
            for target, own in value.items():
                # Guards that a target shares with all are shown once
                plain = own if own.guards != settings.guards else own.model_copy(update={"guards": None})
                groups[f"targets.{target}"] = [line for line in _lines("", plain, "") if line[:2] != ("guards", _UNSET)]
        elif isinstance(value, BaseModel):
            groups[name] = list(_lines("", value, meaning))
        else:
            groups[_GENERAL] += list(_lines(name, value, meaning))
    return list(groups.items())


def _lines(name: str, value: Any, meaning: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, AttributeRule):
        yield name, _rule(value), meaning
    elif isinstance(value, GuardLimit):
        cap = "" if value.absolute is None else f", at most {value.absolute}"
        yield name, f"{value.percent:g}%{cap}", meaning
    elif isinstance(value, BaseModel):
        for inner, field in type(value).model_fields.items():
            yield from _lines(f"{name}.{inner}" if name else inner, getattr(value, inner), field.description or "")
    elif isinstance(value, Mapping):
        if not value:
            yield name, "none", meaning
        for key, one in value.items():
            yield from _lines(f"{name}.{key}", one, meaning)
    elif isinstance(value, (list, tuple)) and any(isinstance(one, (BaseModel, Mapping)) for one in value):
        for number, one in enumerate(value, 1):
            yield from _lines(f"{name}.{number}", one, meaning)
    else:
        yield name, _text(value), meaning


def _rule(rule: AttributeRule) -> str:
    """How an attribute comes about, on one line."""
    besides: list[str] = [] if rule.authority == "roster" else [rule.authority]
    besides += [] if rule.empty == "keep" else ["cleared by NULL"]
    return _plain(rule.text) + (f"  ({', '.join(besides)})" if besides else "")


def _text(value: Any) -> str:
    if value is None:
        return _UNSET
    if isinstance(value, SecretStr):
        return _HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(one) for one in value) or "none"
    return _plain(str(value))


def _plain(text: str) -> str:
    """An address without user, password and query, any other text without emails."""
    if "://" in text and " " not in text:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        query = "?…" if parts.query else ""
        return clean(f"{parts.scheme}://{host}{parts.path}{query}")
    return clean(text)
