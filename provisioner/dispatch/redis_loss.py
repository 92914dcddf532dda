"""Does Redis still remember? A server that came back empty is noticed here, and what follows from it is decided.

A mark lies in Redis and a copy of it in each `data_dir`. Where only the copy is left, Redis has lost everything: links,
what was acknowledged, what was in flight. The next run observes the targets whole and adopts what it finds, so nobody
is created twice. Until the last request that may have been in flight is over, no run begins. Enrolments leave no trace
in a listing, so from then on each is looked up before it is sent.

The copy also has the greatest position of Redis that was seen (see `store.admin.position`). A Redis at an earlier one
was put back: what waits in it was perhaps sent or given up since. Nothing of it is sent before a run about everybody
has read the target, and no run begins before the last request that may be in flight is over.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import structlog

from provisioner.errors import OtherDeploymentError
from provisioner.model.operation import Kind
from provisioner.progress.notifications import redis_went_back
from provisioner.runtime.context import Deployment
from provisioner.store.admin.mark import Mark, MarkStore
from provisioner.store.admin.position import Position
from provisioner.targets.http import DEADLINE

log = structlog.get_logger(__name__)

_NAME: Final = "redis-mark"
#: Seconds after a loss in which a request from before it may still be carried out.
QUIET: Final = DEADLINE + 10.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What Redis remembers of itself.

    `lost`: it lost its data once. `went_back`: it was put back to an earlier state once. `quiet`: seconds for which no
    run may begin.
    """

    lost: bool = False
    quiet: float = 0.0
    went_back: bool = False

    @property
    def doubtful(self) -> frozenset[Kind]:
        """Kinds of operation that may have been sent without a trace of it here or in a listing."""
        kinds = {Kind.ENROL} if self.lost or self.went_back else set()
        return frozenset(kinds | {Kind.EVENT} if self.went_back else kinds)


async def remembers(dep: Deployment) -> Memory:
    """Compare the two marks, make those that are missing, and say what holds now.

    Raises:
        OtherDeploymentError: `data_dir` belongs to a deployment with another Redis.
        StoreError: Redis does not answer.
    """
    path = dep.settings.data_dir / _NAME
    copy, seen = await asyncio.to_thread(_read, path)
    mark = await dep.mark.read()
    if (other := _foreign(copy, mark, path)) is not None:
        raise other
    if mark is None:
        quiet_until = await dep.clock.now() + QUIET if copy else 0.0
        mark = Mark(secrets.token_hex(8), lost=bool(copy), quiet_until=quiet_until, former=copy)
        if not await dep.mark.make(mark):
            return await remembers(dep)
        if copy:
            log.error("redis_lost_its_data", remedy="The next run reads every target whole and adopts what is there.")
    # A position says nothing about a Redis that has another mark
    known = max(dep.queue.position if dep.queue.mark == mark.word else 0, seen if copy == mark.word else 0)
    position = await dep.position.read()
    if position.number < known:
        await _went_back(dep, known, position)
        return await remembers(dep)
    dep.queue.mark, dep.queue.position = mark.word, max(known, position.number)
    await _keep(path, mark.word, position.number, (copy, seen))
    quiet = max(0.0, mark.quiet_until - await dep.clock.now()) if mark.quiet_until else 0.0
    return Memory(mark.lost, quiet, position.went_back > 0)


async def other_deployment(marks: MarkStore, data_dir: Path) -> OtherDeploymentError | None:
    """The error to raise where `data_dir` belongs to a deployment with another Redis; changes nothing."""
    path = data_dir / _NAME
    copy, _ = await asyncio.to_thread(_read, path)
    return _foreign(copy, await marks.read(), path)


def _foreign(copy: str, mark: Mark | None, path: Path) -> OtherDeploymentError | None:
    """A Redis that lost its data has a new mark, and knows the one of before, which other folders still have."""
    if mark is None or mark.is_of(copy):
        return None
    return OtherDeploymentError(
        f"data_dir {path.parent} belongs to a deployment with another Redis than the one of redis_url.",
        remedy=f"Name another data_dir or the other redis_url. If this Redis took the other's place, delete {path}.",
    )


async def _went_back(dep: Deployment, known: int, position: Position) -> None:
    """Note that Redis is behind the position that is `known`, for all processes."""
    now = await dep.clock.now()
    if await dep.position.went_back(known, dep.settings.targets, now=now, quiet=QUIET):
        log.error(
            "redis_went_back",
            changes=known - position.number,
            remedy="Nothing is sent to a target until a run about everybody has read it: provisioner sync.",
        )
        for target in dep.targets:
            await redis_went_back(dep, target)


async def note_position(dep: Deployment) -> None:
    """Keep how far Redis is known to have come, at the end of some work."""
    path = dep.settings.data_dir / _NAME
    copy, seen = await asyncio.to_thread(_read, path)
    if copy:
        await _keep(path, copy, dep.queue.position, (copy, seen))


async def _keep(path: Path, mark: str, position: int, there: tuple[str, int]) -> None:
    if there[0] == mark and there[1] >= position:
        return
    try:
        await asyncio.to_thread(_write, path, f"{mark} {position}")
    except OSError as exc:
        _warn_once(path, exc.strerror or type(exc).__name__)


@cache
def _warn_once(path: Path, reason: str) -> None:
    log.warning("mark_not_kept", file=str(path), reason=reason, remedy="Make data_dir writable for this process.")


def _read(path: Path) -> tuple[str, int]:
    """The copy of the mark, and the position; earlier versions kept the mark alone."""
    try:
        mark, _, position = path.read_text(encoding="ascii").strip().partition(" ")
        return mark, int(position or 0)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "", 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several targets are worked on at once in one process
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(text, encoding="ascii")
    fresh.replace(path)
