"""Has the roster been written anew since a run last looked at it?"""

from __future__ import annotations

import asyncio
from typing import Final

from provisioner.delivery.deployment import Deployment
from provisioner.errors import RosterError
from provisioner.roster import fetch

_FIELD: Final = "seen"


async def roster_changed(dep: Deployment) -> bool:
    """Whether `roster.url` holds a writing that no run has been started for; says yes once per writing.

    A roster that cannot be read now is no news here: the next scheduled run reports it.
    """
    facts = await dep.frames.roster()
    known: dict[str, str] = {name: facts[name].decode() for name in ("written", "digest") if name in facts}
    try:
        source = await asyncio.to_thread(fetch, dep.settings.roster, known=known)
    except RosterError:
        return False
    seen = facts.get(_FIELD, b"").decode()
    if source.unchanged or source.written in (seen, known.get("written", "")):
        return False
    await dep.frames.note_roster({_FIELD: source.written})
    return True
