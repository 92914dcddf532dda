"""Making users many at once, where the service takes bulk requests.

Each user has a name in the request (`bulkId`), and the answer says by it what became of them. Whoever it leaves out is
looked up before they are sent again, as after a request that got no answer. Source: RFC 7644, 3.7.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from provisioner.errors import TargetError
from provisioner.model.operation import Operation
from provisioner.model.outcome import Outcome, Permanent, Unclear
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer, Failure, as_outcome, classify
from provisioner.targets.scim.discovery import Discovery, Features
from provisioner.targets.scim.paths import get
from provisioner.targets.scim.requests import id_of, scim_type
from provisioner.targets.scim.settings import ScimSettings
from provisioner.targets.scim.writing import MADE_OR_NOT, Writer
from provisioner.targets.sharing import AT_ONCE

_REQUEST: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
#: Refusals of the whole, after which nothing was done: by size, and as such.
_TOO_LARGE: Final = (413,)
_TOO_MANY: Final = "toomany"
_UNSERVED: Final = (404, 405, 501)
#: Bytes that a request has besides its operations, at most.
_FRAME: Final = 200

_One = tuple[int, Mapping[str, Any]]


class Bulk:
    """Makes users of one service many at once."""

    def __init__(self, settings: ScimSettings, discovery: Discovery, writer: Writer) -> None:
        self._settings, self._discovery, self._writer = settings, discovery, writer

    async def create(self, http: Http, operations: Sequence[Operation]) -> dict[int, Outcome]:
        """Make users; the outcomes by place. Who is not among them is to be made by a request of their own.

        After a request that the service did not take for reasons that hold for the rest, nothing more is sent.
        """
        try:
            features = await self._discovery.features(http)
        except TargetError as exc:
            return dict.fromkeys(range(len(operations)), as_outcome(exc))
        if len(operations) < 2 or not features.bulks(self._settings.dialect):
            return {}
        bodies = {place: self._writer.body_of(operation) for place, operation in enumerate(operations)}
        found: dict[int, Outcome] = {place: body for place, body in bodies.items() if isinstance(body, Permanent)}
        users = [(place, body) for place, body in bodies.items() if not isinstance(body, Permanent)]
        for some in _parts([self._named(place, body) for place, body in users], features):
            sent = await self._send(http, some, operations)
            if isinstance(sent, Mapping):
                found |= sent
            elif not isinstance(sent, Permanent):
                found |= {place: found.get(place, sent) for place, _ in users}
                break
        return found

    def _named(self, place: int, body: Mapping[str, Any]) -> _One:
        path = self._settings.paths.users
        return place, {"method": "POST", "path": path, "bulkId": f"u{place}", "data": body}

    async def _send(
        self, http: Http, some: Sequence[_One], operations: Sequence[Operation]
    ) -> Mapping[int, Outcome] | Failure:
        """The outcomes of one request by place, or why it failed as a whole. Whoever is left out is made alone."""
        body = {"schemas": [_REQUEST], "Operations": [one for _, one in some]}
        path = self._settings.paths.bulk
        answer = await http.send("POST", path, body, accept=(400, *_TOO_LARGE, *_UNSERVED))
        if not isinstance(answer, Answer):
            return answer
        if answer.status in _TOO_LARGE or (answer.status == 400 and scim_type(answer) == _TOO_MANY):
            if len(some) == 1:
                return {}
            middle = len(some) // 2
            halves = [await self._send(http, half, operations) for half in (some[:middle], some[middle:])]
            return _joined(halves, (some[:middle], some[middle:]))
        if answer.status >= 400:
            # Refused as such, so nothing was done: each is made by a request of their own
            if answer.status in _UNSERVED:
                self._discovery.cannot_bulk()
            return {}
        said = _by_bulk_id(answer)

        async def one(place: int) -> Outcome:
            return await self._outcome(http, operations[place], said.get(f"u{place}"))

        places = [place for place, _ in some]
        return dict(zip(places, await each(places, one, limit=AT_ONCE), strict=True))

    async def _outcome(self, http: Http, operation: Operation, said: Mapping[str, Any] | None) -> Outcome:
        status = _status(said) if said is not None else None
        if said is None or status is None:
            return Unclear("no_outcome", "the answer to a bulk request does not say what became of the user")
        shown = get(said, "response")
        user = dict(shown) if isinstance(shown, Mapping) else {}
        answer = Answer(status, {}, user)
        if 200 <= status < 300:
            if id_of(user):
                return await self._writer.made(http, operation, answer)
            return self._writer.made_unseen(_id_in(get(said, "location")))
        if status in MADE_OR_NOT:
            return await self._writer.made(http, operation, answer)
        return classify(answer) or Unclear("no_outcome", f"a bulk request answered a user with {status}")


def _parts(named: Sequence[_One], features: Features) -> Iterator[Sequence[_One]]:
    """Parts that the service takes at once; whoever is too large for any is in none."""
    part: list[_One] = []
    size = _FRAME
    for place, one in named:
        bytes_ = len(json.dumps(one, separators=(",", ":")).encode()) + 1
        if _FRAME + bytes_ > features.bulk_bytes:
            continue
        if part and (len(part) >= features.bulk_operations or size + bytes_ > features.bulk_bytes):
            yield part
            part, size = [], _FRAME
        part.append((place, one))
        size += bytes_
    if part:
        yield part


def _joined(halves: Sequence[Mapping[int, Outcome] | Failure], parts: Sequence[Sequence[_One]]) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}
    for half, part in zip(halves, parts, strict=True):
        found |= half if isinstance(half, Mapping) else dict.fromkeys((place for place, _ in part), half)
    return found


def _by_bulk_id(answer: Answer) -> dict[str, Mapping[str, Any]]:
    rows = get(answer.json, "Operations") if isinstance(answer.json, Mapping) else None
    rows = rows if isinstance(rows, list) else []
    return {str(get(row, "bulkId")): row for row in rows if isinstance(row, Mapping)}


def _status(said: Mapping[str, Any]) -> int | None:
    found = get(said, "status")
    found = get(found, "code") if isinstance(found, Mapping) else found
    return int(found) if str(found).isdecimal() else None


def _id_in(location: Any) -> str | None:
    return unquote(urlsplit(str(location)).path.rpartition("/")[2]) or None if isinstance(location, str) else None
