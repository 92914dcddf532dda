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
from provisioner.store.redis import keys
from provisioner.store.redis.connection import redis_errors
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
    with redis_errors():
        mark, lost, until = await dep.redis.hmget(keys.MARK, ["mark", "lost", "quiet"])
        if mark is None:
            mark = secrets.token_hex(8).encode()
            now = await dep.runs.now()
            until = str(now + QUIET).encode() if copy else b"0"
            lost = b"1" if copy else b"0"
            # All at once, or another process would find the mark and begin a run before it can know of the loss
            async with dep.redis.pipeline(transaction=True) as pipe:
                for name, value in (("mark", mark), ("lost", lost), ("quiet", until)):
                    pipe.hsetnx(keys.MARK, name, value)
                fresh, *_ = await pipe.execute()
            if not fresh:
                return await remembers(dep)
            if copy:
                log.error(
                    "redis_lost_its_data", remedy="The next run reads every target whole and adopts what is there."
                )
    if copy != mark.decode():
        try:
            await asyncio.to_thread(_write, path, mark.decode())
        except OSError as exc:
            _warn_once(path, exc.strerror or type(exc).__name__)
    quiet = max(0.0, float(until or 0) - await dep.runs.now()) if until and until != b"0" else 0.0
    return Memory(lost == b"1", quiet)


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
