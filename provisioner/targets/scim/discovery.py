"""What a service says of itself: ServiceProviderConfig, Schemas and ResourceTypes, each of which may be missing.

Source: RFC 7643, 5 to 7; RFC 7644, 4; RFC 9865, 4 (`pagination`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from provisioner.model.scim_names import SCIM_GROUP, SCIM_USER
from provisioner.targets.http import Http
from provisioner.targets.scim.paths import Path, get
from provisioner.targets.scim.requests import Paging
from provisioner.targets.scim.settings import ScimDialect

CONFIG: Final = "/ServiceProviderConfig"
SCHEMAS: Final = "/Schemas"
RESOURCE_TYPES: Final = "/ResourceTypes"
#: How a service says that it does not have an endpoint, or shows it to nobody.
ABSENT: Final = (400, 403, 404, 405, 501)
#: Seconds for which what was read is believed.
LASTING: Final = 600.0


@dataclass(frozen=True, slots=True)
class Features:
    """What a service says that it can; None: it does not say."""

    said: bool = False
    patch: bool | None = None
    filter: bool | None = None
    etag: bool | None = None
    bulk: bool | None = None
    bulk_operations: int = 0
    bulk_bytes: int = 0
    index: bool | None = None
    cursor: bool | None = None
    max_page: int | None = None

    def updates_by_patch(self, dialect: ScimDialect) -> bool:
        """Whether accounts are changed by PATCH."""
        return self.patch is not False if dialect.update == "auto" else dialect.update == "patch"

    def filters(self, dialect: ScimDialect) -> bool:
        """Whether look-ups by filter work."""
        return self.filter is not False if dialect.filter == "auto" else dialect.filter == "yes"

    def bulks(self, dialect: ScimDialect) -> bool:
        """Whether users are made many at once."""
        return dialect.bulk == "auto" and bool(self.bulk) and self.bulk_operations > 1 and self.bulk_bytes > 0

    def paging(self, dialect: ScimDialect) -> Paging:
        """How lists go on: by index where that is offered, since only it counts."""
        if dialect.paging != "auto":
            return dialect.paging
        return "cursor" if self.cursor and self.index is False else "index"

    def page_size(self, wanted: int) -> int:
        """How many resources to ask for at once."""
        return min(wanted, self.max_page) if self.max_page else wanted


@dataclass(frozen=True, slots=True)
class Definitions:
    """Schemas and resource types; empty where the service does not show them.

    `schemas`: by URN in lower case the attributes by name in lower case. `extensions`: URNs (lower case) that users
    may have. `groups`: whether there are groups, None if it does not say.
    """

    schemas: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    extensions: frozenset[str] | None = None
    groups: bool | None = None

    def fault(self, path: Path) -> str | None:
        """Why an attribute cannot be written, None if it can, or if nobody knows."""
        urn = (path.schema or SCIM_USER).lower()
        if not self.schemas:
            return None
        if urn not in self.schemas or (path.schema and self.extensions is not None and urn not in self.extensions):
            return f"its users have no extension {path.schema}" if path.schema else None
        attribute = self.schemas[urn].get(path.attribute.lower())
        if attribute is None:
            return f"its schema has no attribute {path.attribute!r}"
        if path.sub:
            subs = {str(get(one, "name")).lower(): one for one in get(attribute, "subAttributes") or ()}
            if subs and path.sub.lower() not in subs:
                return f"its {path.attribute} has no sub-attribute {path.sub!r}"
            if _read_only(subs.get(path.sub.lower(), {})):
                return "its schema lets nobody write it"
        return "its schema lets nobody write it" if _read_only(attribute) else None


class Discovery:
    """What one service says of itself, read once and kept for a while."""

    def __init__(self) -> None:
        self._features: tuple[float, Features] | None = None
        # Many operations ask at once; one reads, the others find what it read
        self._reading = asyncio.Lock()

    async def features(self, http: Http, *, age: float = LASTING) -> Features:
        """What the service can do, read at most `age` seconds ago.

        Raises:
            TargetError: it cannot be read.
        """
        async with self._reading:
            if self._features is None or time.monotonic() - self._features[0] > age:
                self._features = time.monotonic(), await _features(http)
            return self._features[1]

    @property
    def last(self) -> Features:
        """What was read last, however long ago; nothing known before that."""
        return self._features[1] if self._features is not None else Features()

    def cannot_bulk(self) -> None:
        """Remember that bulk requests were refused as such, though it was said that they would not be."""
        if self._features is not None:
            read_at, said = self._features
            self._features = read_at, replace(said, bulk=False)

    def cannot_patch(self) -> None:
        """Remember that PATCH was refused as such, though it was not said that it would be."""
        if self._features is not None:
            read_at, said = self._features
            self._features = read_at, replace(said, patch=False)


async def _features(http: Http) -> Features:
    answer = await http.read(CONFIG, accept=ABSENT)
    body = answer.json
    if answer.status in ABSENT or not isinstance(body, Mapping):
        return Features()
    pages = get(body, "pagination")
    pages = pages if isinstance(pages, Mapping) else {}
    most = [get(pages, "maxPageSize"), get(_part(body, "filter"), "maxResults")]
    # What a filter finds at most says nothing of a list without one, unless it is the only number there is
    limit = next((one for one in most if isinstance(one, int) and not isinstance(one, bool) and one > 0), None)
    return Features(
        said=True,
        patch=_supported(body, "patch"),
        filter=_supported(body, "filter"),
        etag=_supported(body, "etag"),
        bulk=_supported(body, "bulk"),
        bulk_operations=_number(get(_part(body, "bulk"), "maxOperations")),
        bulk_bytes=_number(get(_part(body, "bulk"), "maxPayloadSize")),
        index=_flag(get(pages, "index")),
        cursor=_flag(get(pages, "cursor")),
        max_page=limit,
    )


async def definitions(http: Http) -> Definitions:
    """Schemas and resource types.

    Raises:
        TargetError: they cannot be read.
    """
    schemas: dict[str, dict[str, Mapping[str, Any]]] = {}
    for schema in await _all(http, SCHEMAS):
        attributes = [one for one in get(schema, "attributes") or () if isinstance(one, Mapping)]
        schemas[str(get(schema, "id")).lower()] = {str(get(one, "name")).lower(): one for one in attributes}
    types = await _all(http, RESOURCE_TYPES)
    if not types:
        return Definitions(schemas)
    by_schema = {str(get(one, "schema")).lower(): one for one in types}
    user = by_schema.get(SCIM_USER.lower())
    extensions: frozenset[str] | None = None
    if user is not None:
        listed = get(user, "schemaExtensions") or ()
        extensions = frozenset(str(get(one, "schema")).lower() for one in listed if isinstance(one, Mapping))
    return Definitions(schemas, extensions, SCIM_GROUP.lower() in by_schema)


async def _all(http: Http, path: str) -> list[Mapping[str, Any]]:
    """What an endpoint of discovery shows: a list, or without an envelope; nothing where it is not there."""
    answer = await http.read(path, accept=ABSENT)
    if answer.status in ABSENT:
        return []
    body = answer.json
    rows = (get(body, "Resources") if isinstance(body, Mapping) else body) or []
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = get(body, name)
    return part if isinstance(part, Mapping) else {}


def _supported(body: Mapping[str, Any], name: str) -> bool | None:
    return _flag(get(_part(body, name), "supported"))


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _read_only(attribute: Mapping[str, Any]) -> bool:
    return str(get(attribute, "mutability")).lower() == "readonly"
