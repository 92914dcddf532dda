"""Which roster a run reads: its own, the one that was pushed, or what lies at `roster.url`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from provisioner.errors import RosterError
from provisioner.model.run_document import SourceDocument
from provisioner.roster import Source, fetch, pushed
from provisioner.runs.pushed_roster import pushed_roster
from provisioner.settings import Settings
from provisioner.settings.place import shown
from provisioner.store.people.snapshots import FrameStore, Pushed
from provisioner.store.runs.documents import Request, moment
from provisioner.store.stores import Stores

DROP: Final = "provisioner roster --drop-push"
#: The trigger of runs whose roster somebody named over HTTP, and may have named only within `web.rosters`.
_BY_HTTP: Final = "api"
#: Writings that are remembered, so that none counts twice when sources take turns.
_REMEMBERED: Final = 20


@dataclass(frozen=True, slots=True)
class Origin:
    """The roster that a run reads, and why it reads this one.

    `kind`: ``url`` is `roster.url`, ``push`` the roster that was pushed, ``request`` one that the run alone reads.
    `push` is the pushed roster, and `fresh` says that this run is the one that was asked for with it. `one_by_one`: it
    is that of people who were pushed one by one, so whoever is missing did not leave.
    """

    kind: Literal["url", "push", "request"]
    source: Source
    push: Pushed | None = None
    fresh: bool = False
    one_by_one: bool = False

    def to_json(self) -> SourceDocument:
        """For the document of a run: what was read, and since when it is what runs read (for a file: as of when)."""
        since = self.push.at if self.push else self.source.modified.timestamp() if self.source.modified else None
        return {"kind": self.kind, "name": self.source.name, "since": moment(since)}


async def origin_of(stores: Stores, settings: Settings, request: Request, content: bytes | None) -> Origin:
    """Bring the roster that a run reads.

    Args:
        content: the bytes that were handed over with the request.

    Raises:
        RosterError: it cannot be read.
        UsageError: the request names what `web.rosters` does not cover.
    """
    roster, prefixes, frames = settings.roster, settings.web.rosters, stores.frames
    if request.pushed_at is not None:
        return await _pushed_now(frames, settings, request, content)
    if content is not None:
        name = request.roster or "the roster handed over"
        return Origin("request", pushed(content, name, written=request.written))
    if request.roster is not None and not names_own(settings, request.roster):
        bound = request.trigger == _BY_HTTP
        read = await asyncio.to_thread(fetch, roster, url=request.roster, prefixes=prefixes, bound=bound)
        return Origin("request", read)
    if roster.pushed_people:
        return Origin("url", await pushed_roster(stores, settings), one_by_one=True)
    kept = None if request.roster is not None else await frames.pushed(roster.url)
    if kept is not None:
        return Origin("push", source_of(kept), kept)
    return Origin("url", await asyncio.to_thread(fetch, roster, prefixes=prefixes))


def names_own(settings: Settings, address: str) -> bool:
    """Whether an address is `roster.url`, with or without the credentials in it."""
    return address in (settings.roster.url, shown(settings.roster.url))


async def _pushed_now(frames: FrameStore, settings: Settings, request: Request, content: bytes | None) -> Origin:
    kept = await frames.pushed(settings.roster.url)
    at = request.pushed_at or 0.0
    if kept is not None and kept.at > at:
        # Of two that were pushed, the later is newer, whichever run begins first
        return Origin("push", source_of(kept), kept)
    if content is None:
        raise RosterError("The roster that was pushed is no longer kept.", remedy="Push it again.")
    push = Pushed(content, settings.roster.url, at)
    return Origin("push", source_of(push), push, fresh=True)


def source_of(push: Pushed) -> Source:
    """A pushed roster as a source. Each push is a writing, whether or not it brings something new."""
    when = datetime.fromtimestamp(push.at, UTC)
    name = f"the roster pushed at {when:%Y-%m-%d %H:%M:%S} UTC"
    return pushed(push.content, name, written=f"push:{push.at:.6f}", modified=when)


def way_out(origin: Origin, settings: Settings) -> str | None:
    """What to do about a pushed roster that cannot be used; None where another one was read."""
    if origin.one_by_one:
        return "Correct it where people are pushed from, or in the settings."
    if origin.kind != "push":
        return None
    if origin.fresh:
        return "It is not kept: runs go on with the roster that they read before. Fix the export, then push it again."
    return f"Push a better one, or go back to roster.url ({shown(settings.roster.url)}) with `{DROP}`."


def writings(facts: Mapping[str, bytes]) -> tuple[str, ...]:
    """The writings that were taken for clean snapshots, the newest last."""
    last = facts.get("written", b"").decode()
    try:
        found = [str(one) for one in json.loads(facts.get("writings", b"[]"))]
    except ValueError:
        found = []
    return tuple(found) if last in found or not last else (*found, last)


def with_writing(facts: Mapping[str, bytes], written: str) -> str:
    """`writings` as they are kept, with one more."""
    return json.dumps([*(one for one in writings(facts) if one != written), written][-_REMEMBERED:])
