"""Faults, which are unexpected exceptions: how they are recognised, logged and named."""

from __future__ import annotations

import asyncio
import json
import traceback
from pathlib import PurePath
from typing import Any, Final

import structlog

from provisioner.errors import UNEXPECTED, ProvisionerError, UnexpectedError, WorkerError
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.faults import is_redis_away

log = structlog.get_logger(__name__)

#: What to do about a fault.
SEE_LOG: Final = "See the worker's log for where, and report it."
#: Frames of a traceback that are logged, the innermost.
_FRAMES: Final = 12


def is_fault(exc: BaseException, *, stopping: bool = False) -> bool:
    """Whether our own program or a target's package failed.

    A Redis that is away, a nudge that could not be sent, and the end of this process are none. Some libraries raise
    panics that are no `Exception`; these are faults too.

    Args:
        stopping: the process was asked to end, so that a cancellation is no fault.
    """
    if isinstance(exc, asyncio.CancelledError):
        return not stopping
    if isinstance(exc, (KeyboardInterrupt, SystemExit, GeneratorExit, WorkerError)):
        return False
    return not is_redis_away(exc)


def named(exc: BaseException) -> str:
    """What an error's message may say of a fault: our own sentence, or else the type; never another's message.

    Messages of other exceptions quote what they were about, and so people's data.
    """
    return str(exc).rstrip(".") if isinstance(exc, ProvisionerError) else type(exc).__name__


def log_fault(event: str, exc: BaseException, **about: Any) -> None:
    """Log a fault with its traceback, as places in the program: without values, and without its message."""
    frames = traceback.extract_tb(exc.__traceback__)[-_FRAMES:]
    where = [f"{'/'.join(PurePath(one.filename).parts[-2:])}:{one.lineno} {one.name}" for one in frames]
    log.error(event, error=named(exc), type=type(exc).__name__, where=where, **about)


def fault_document(message: str) -> str:
    """The error of a run, or of its part for a target, as JSON."""
    return json.dumps({"code": UNEXPECTED, "message": message, "exit": UnexpectedError.exit_code})


async def note_in_run(runs: RunStore, run: str, message: str) -> None:
    """Record a failure in a run; an error that it already has stays.

    Raises:
        StoreError: Redis does not answer.
    """
    if await runs.get(run, "error") is None:
        await runs.set(run, {"error": fault_document(f"{message} {SEE_LOG}")})
