"""Has the roster been rewritten since a run last looked at it?"""

from __future__ import annotations

import asyncio
from typing import Final

from provisioner.errors import RosterError
from provisioner.roster import fetch
from provisioner.runtime.context import Deployment

_FIELD: Final = "seen"


async def roster_changed(dep: Deployment) -> str | None:
    """The writing that `roster.url` holds, if runs read it and none has been asked for on its account yet.

    Say `seen` once one has been. A roster that cannot be read now is no news here: the next scheduled run reports it.
    """
    if await dep.frames.pushed_since(dep.settings.roster.url) is not None:
        # A run would read what was pushed
        return None
    facts = await dep.frames.roster()
    known: dict[str, str] = {name: facts[name].decode() for name in ("written", "digest") if name in facts}
    try:
        source = await asyncio.to_thread(fetch, dep.settings.roster, known=known, prefixes=dep.settings.web.rosters)
    except RosterError:
        return None
    asked = facts.get(_FIELD, b"").decode()
    if source.unchanged or source.written in (asked, known.get("written", "")):
        return None
    return source.written


async def seen(dep: Deployment, written: str) -> None:
    """Remember that a run was asked for on account of a writing."""
    await dep.frames.note_roster({_FIELD: written})
