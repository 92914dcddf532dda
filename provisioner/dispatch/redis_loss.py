"""Whether Redis still has its data: notices a server that came back empty, and decides what follows.

A mark lies in Redis and a copy of it in each `data_dir`. Where only the copy is left, Redis has lost everything: links,
what was acknowledged, what was in flight. The next run observes the targets whole and adopts what it finds, so nobody
is created twice. Until the last request that may have been in flight is over, no run begins. Enrolments leave no trace
in a listing, so from then on each is looked up before it is sent.

The copy also has the greatest position of Redis that was seen (see `store.admin.position`). A Redis at an earlier one
was put back: what waits in it was perhaps sent or given up since. Nothing of it is sent before a run about everybody
has read the target, and no run begins before the last request that may be in flight is over. The same holds for a Redis
that comes back from before a loss, as its mark is one that the copy knows from earlier.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final

import structlog

from provisioner.errors import OtherDeploymentError
from provisioner.model.operation import Kind
from provisioner.progress.notifications import redis_went_back
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.admin.mark import Mark, MarkStore
from provisioner.store.admin.position import Position, PositionStore
from provisioner.store.queue.operations import QueueStore
from provisioner.targets.http import DEADLINE

log = structlog.get_logger(__name__)

_NAME: Final = "redis-mark"
#: Marks that are known, of so many losses.
_MARKS: Final = 8
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


@dataclass(frozen=True, slots=True)
class Copy:
    """What a `data_dir` knows of Redis: by mark, the newest first, the greatest position that was seen."""

    positions: Mapping[str, int]

    @property
    def word(self) -> str:
        """The last known mark of Redis; empty if none is known."""
        return next(iter(self.positions), "")

    def left(self, mark: Mark) -> bool:
        """Whether Redis has a mark again that it had before a loss."""
        return mark.word != self.word and mark.word in self.positions

    def left_behind(self, mark: Mark, position: int, known: int) -> bool:
        """Whether Redis came back from before a loss and nobody has noted it.

        Its position may be the greatest that is known: nothing may have changed between the copy and the loss. It knows
        nothing of what came after the loss all the same.
        """
        return self.left(mark) and (position <= known or mark.former != self.word)

    def at(self, word: str, position: int) -> Copy:
        """The same, once Redis was seen with a mark at a position."""
        now = {word: max(position, self.positions.get(word, 0))}
        return Copy(dict([*now.items(), *((one, at) for one, at in self.positions.items() if one != word)][:_MARKS]))

    def __str__(self) -> str:
        """As it lies in its file."""
        return " ".join(f"{word} {position}" for word, position in self.positions.items())


async def remembers(dep: Deployment) -> Memory:
    """Compare the two marks, make those that are missing, and say what holds now.

    Raises:
        OtherDeploymentError: `data_dir` belongs to a deployment with another Redis.
        StoreError: Redis does not answer.
    """
    path = dep.settings.data_dir / _NAME
    copy = await asyncio.to_thread(_read, path)
    mark = await dep.mark.read()
    if (other := _foreign(copy, mark, path)) is not None:
        raise other
    if mark is None:
        quiet_until = await dep.clock.now() + QUIET if copy.word else 0.0
        mark = Mark(secrets.token_hex(8), lost=bool(copy.word), quiet_until=quiet_until, former=copy.word)
        if not await dep.mark.make(mark):
            return await remembers(dep)
        if copy.word:
            log.error("redis_lost_its_data", remedy="The next run reads every target whole and adopts what is there.")
    # A position says nothing about a Redis that has another mark
    known = max(dep.queue.position if dep.queue.mark == mark.word else 0, copy.positions.get(mark.word, 0))
    position = await dep.position.read()
    if copy.left_behind(mark, position.number, known):
        await _went_back(dep, max(known, position.number) + 1, position, former=copy.word)
        return await remembers(dep)
    if position.number < known:
        await _went_back(dep, known, position)
        return await remembers(dep)
    dep.queue.mark, dep.queue.position = mark.word, max(known, position.number)
    await _keep(path, copy.at(mark.word, position.number), copy)
    quiet = max(0.0, mark.quiet_until - await dep.clock.now()) if mark.quiet_until else 0.0
    return Memory(mark.lost, quiet, position.went_back > 0)


async def other_deployment(marks: MarkStore, data_dir: Path) -> OtherDeploymentError | None:
    """The error to raise where `data_dir` belongs to a deployment with another Redis; changes nothing."""
    path = data_dir / _NAME
    return _foreign(await asyncio.to_thread(_read, path), await marks.read(), path)


async def unnoticed(marks: MarkStore, positions: PositionStore, data_dir: Path) -> bool:
    """Whether Redis was put back, by what this `data_dir` has seen, and nobody has noted it so far; changes nothing."""
    copy = await asyncio.to_thread(_read, data_dir / _NAME)
    if (mark := await marks.read()) is None:
        return False
    known, position = copy.positions.get(mark.word, 0), (await positions.read()).number
    return position < known or copy.left_behind(mark, position, known)


def _foreign(copy: Copy, mark: Mark | None, path: Path) -> OtherDeploymentError | None:
    """A Redis that lost its data has a new mark, and knows the one of before, which other folders still have."""
    if mark is None or mark.is_of(copy.word) or copy.left(mark):
        return None
    return OtherDeploymentError(
        f"data_dir {path.parent} belongs to a deployment with another Redis than the one of redis_url.",
        remedy=f"Name another data_dir or the other redis_url. If this Redis took the other's place, delete {path}.",
    )


async def _went_back(dep: Deployment, known: int, position: Position, former: str = "") -> None:
    """Note that Redis is behind the position that is `known`, for all processes.

    Args:
        former: the mark that it had after a loss, where it was put back to before that.
    """
    now = await dep.clock.now()
    if await dep.position.went_back(known, dep.settings.targets, now=now, quiet=QUIET, former=former):
        log.error(
            "redis_went_back",
            changes=known - position.number,
            remedy="Nothing is sent to a target until a run about everybody has read it: provisioner sync.",
        )
        for target in dep.targets:
            await redis_went_back(dep, target)


async def note_position(queue: QueueStore, settings: Settings) -> None:
    """Keep how far Redis is known to have come, at the end of some work."""
    path = settings.data_dir / _NAME
    copy = await asyncio.to_thread(_read, path)
    # Redis may have lost its data meanwhile, and another process found that: then this position is of the one before
    if copy.word and copy.word == queue.mark:
        await _keep(path, copy.at(copy.word, queue.position), copy)


async def _keep(path: Path, copy: Copy, there: Copy) -> None:
    if copy == there:
        return
    try:
        await asyncio.to_thread(_write, path, str(copy))
    except OSError as exc:
        _warn_once(path, exc.strerror or type(exc).__name__)


@cache
def _warn_once(path: Path, reason: str) -> None:
    log.warning("mark_not_kept", file=str(path), reason=reason, remedy="Make data_dir writable for this process.")


def _read(path: Path) -> Copy:
    """The copy of the mark; earlier versions kept one position, or none."""
    try:
        words = path.read_text(encoding="ascii").split()
        return Copy({word: int(number) for word, number in zip_longest(words[::2], words[1::2], fillvalue="0")})
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return Copy({})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several targets are worked on at once in one process
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fresh.write_text(text, encoding="ascii")
    fresh.replace(path)
