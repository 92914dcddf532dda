"""How a person's key is spelt here, whoever types it."""

from __future__ import annotations

import polars as pl

from provisioner.roster.identity import Spelling
from provisioner.runtime.context import Deployment


async def known_as(dep: Deployment, key: str, people: pl.DataFrame | None = None) -> str:
    """The key under which somebody is known: of the roster, else of a ledger; the key itself if of neither.

    Args:
        people: where to look first; the last clean roster if not given.
    """
    people = people if people is not None else await dep.frames.known()
    named = people["_key"] if people is not None else pl.Series([], dtype=pl.String)
    found = Spelling(named).of(key)
    if found != key or key in named:
        return found
    for target in dep.targets:
        if await dep.ledger.entry(target, key) is not None:
            return key
    for target in dep.targets:
        found = Spelling(await dep.ledger.people(target)).of(key)
        if found != key:
            return found
    return key
