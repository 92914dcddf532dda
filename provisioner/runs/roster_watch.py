"""Has the roster, or a table of its look-ups, been rewritten since a run last looked at it?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Final

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster import fetch
from provisioner.roster.lookups import fetch_tables
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.people.snapshots import FrameStore

_FIELD: Final = "seen"


async def roster_changed(dep: Deployment) -> str | None:
    """The writing that `roster.url` and the tables of `roster.lookups` hold, if runs read them and none has been asked
    for on its account yet.

    Say `seen` once one has been. What cannot be read now is no news here: the next scheduled run reports it.
    """
    facts = await dep.frames.roster()
    known: dict[str, str] = {name: facts[name].decode() for name in ("written", "digest") if name in facts}
    try:
        roster = await _rewritten_roster(dep.frames, dep.settings, known)
        tables = await _rewritten_tables(dep, json.loads(facts.get("tables", b"{}")))
    except (RosterError, ConfigurationError):
        return None
    if roster is None and not tables:
        return None
    writing = "|".join([roster or known.get("written", ""), *(f"{name}={one}" for name, one in tables.items())])
    return None if writing == facts.get(_FIELD, b"").decode() else writing


async def _rewritten_roster(frames: FrameStore, settings: Settings, known: Mapping[str, str]) -> str | None:
    """The roster's writing, None if it is the one that is known, or if runs would read what was pushed."""
    if settings.roster.pushed_people:
        # Each change has its run already
        return None
    if await frames.pushed_since(settings.roster.url) is not None:
        return None
    source = await asyncio.to_thread(fetch, settings.roster, known=known, prefixes=settings.web.rosters)
    return None if source.unchanged or source.written == known.get("written", "") else source.written


async def _rewritten_tables(dep: Deployment, known: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """By look-up the writing of each table that does not hold what the last clean snapshot was made with."""
    settings, prefixes = dep.settings.roster, dep.settings.web.rosters
    found = await asyncio.to_thread(fetch_tables, settings, prefixes, known)
    return {
        name: source.written
        for name, source in found.items()
        if not source.unchanged and source.digest != known.get(name, {}).get("digest")
    }


async def seen(frames: FrameStore, written: str) -> None:
    """Remember that a run was asked for on account of a writing."""
    await frames.note_roster({_FIELD: written})
