"""Does Redis still remember? A server that came back empty is noticed here, and what follows from it is decided.

A mark lies in Redis and a copy of it in each `data_dir`. Where only the copy is left, Redis has lost everything: links,
what was acknowledged, what was in flight. The next run observes the targets whole and adopts what it finds, so nobody
is created twice. Until the last request that may have been in flight is over, no run begins. Enrolments leave no trace
in a listing, so from then on each is looked up before it is sent.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import structlog

from provisioner.runtime.context import Deployment
from provisioner.store.admin.mark import Mark
from provisioner.targets.http import DEADLINE

log = structlog.get_logger(__name__)

_NAME: Final = "redis-mark"
#: Seconds after a loss in which a request from before it may still be carried out.
QUIET: Final = DEADLINE + 10.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What Redis remembers of itself. `lost`: it lost its data once; `quiet`: seconds for which no run may begin."""

    lost: bool = False
    quiet: float = 0.0


async def remembers(dep: Deployment) -> Memory:
    """Compare the two marks, make those that are missing, and say what holds now.

    Raises:
        StoreError: Redis does not answer.
    """
    path = dep.settings.data_dir / _NAME
    copy = await asyncio.to_thread(_read, path)
    mark = await dep.mark.read()
    if mark is None:
        quiet_until = await dep.clock.now() + QUIET if copy else 0.0
        mark = Mark(secrets.token_hex(8), lost=bool(copy), quiet_until=quiet_until)
        if not await dep.mark.make(mark):
            return await remembers(dep)
        if copy:
            log.error("redis_lost_its_data", remedy="The next run reads every target whole and adopts what is there.")
    if copy != mark.word:
        try:
            await asyncio.to_thread(_write, path, mark.word)
        except OSError as exc:
            _warn_once(path, exc.strerror or type(exc).__name__)
    quiet = max(0.0, mark.quiet_until - await dep.clock.now()) if mark.quiet_until else 0.0
    return Memory(mark.lost, quiet)


@cache
def _warn_once(path: Path, reason: str) -> None:
    log.warning("mark_not_kept", file=str(path), reason=reason, remedy="Make data_dir writable for this process.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, ValueError):
        return ""


def _write(path: Path, mark: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several targets are worked on at once in one process
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(mark, encoding="ascii")
    fresh.replace(path)
