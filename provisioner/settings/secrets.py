"""Every secret that settings hold, so that it can be kept out of whatever is written; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, SecretStr

from provisioner.settings.root import Settings

#: Shorter values of an address's query are words such as ``csv`` rather than keys.
_SHORTEST_IN_QUERY: Final = 12


def secrets_of(settings: Settings) -> Iterator[str]:
    """Each secret: what is declared as one, and what addresses carry besides host and path."""
    for name in type(settings).model_fields:
        if name != "redis_url":
            yield from _declared(getattr(settings, name))
    # Of this one, place and name may be read
    redis = settings.redis_url.get_secret_value() if settings.redis_url else ""
    routed = [route.to for route in settings.events]
    for address in (redis, settings.roster.url, settings.writeback.url or "", *routed):
        yield from _in_address(address)


def _declared(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _declared(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _declared(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _declared(inner)


def _in_address(address: str) -> Iterator[str]:
    if "://" not in address:
        return
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    if parts.password:
        yield from {parts.password, unquote(parts.password)}
    yield from (value for _, value in parse_qsl(parts.query) if len(value) >= _SHORTEST_IN_QUERY)
