"""Who vanished from the roster without being a leaver yet, and what is still missing before they are one."""

from __future__ import annotations

from typing import Final

import polars as pl

from provisioner.model.wording import counted
from provisioner.model.worklists import AbsentRow
from provisioner.settings import Settings
from provisioner.settings.values import format_duration
from provisioner.store.people.snapshots import FrameStore

_ABSENT: Final = "absent"


async def absent_people(frames: FrameStore, settings: Settings) -> list[AbsentRow]:
    """Everybody whose row vanished, the longest absent first.

    Each has ``person``, ``since``, ``snapshots`` (clean rosters without them), ``needed``, ``leaves_from`` (when the
    grace is over) and ``message``.

    Raises:
        StoreError: Redis does not answer.
    """
    known = await frames.known_without_rows()
    if known is None or "_absent_since" not in known.columns:
        return []
    rule = settings.roster.absence
    away = known.filter(pl.col("_verdict") == _ABSENT).sort("_absent_since", "_key")
    found: list[AbsentRow] = []
    for person, count, since in away.select("_key", "_absent_snapshots", "_absent_since").iter_rows():
        over = since + rule.grace if since is not None else None
        message = (
            f"The last {counted(count, 'clean roster')} did not have this person. They are a leaver "
            f"after {rule.snapshots}, not before {format_duration(rule.grace)} have passed."
        )
        found.append(
            {
                "person": person,
                "since": since.isoformat() if since is not None else None,
                "snapshots": count,
                "needed": rule.snapshots,
                "leaves_from": over.isoformat() if over is not None else None,
                "message": message,
            }
        )
    return found
