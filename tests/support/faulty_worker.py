"""A real worker in which one named function can be made to fail while it runs: `python -m tests.support.faulty_worker`.

The file that `FAULTY` names holds JSON: `function` (``module:name`` or ``module:Class.name``), `error` (see `_raise`),
and `about`, a text that one of the call's arguments has to be about, such as a target or a person. Absent or empty,
nothing fails. The waits between tries are shortened, since a test cannot wait for minutes; nothing else differs from a
worker.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polars.exceptions import PanicException

from provisioner.cli import main
from provisioner.dispatch import request, retry_policy
from provisioner.errors import ReadOnlyError
from provisioner.model.operation import Operation
from provisioner.store.runs import faults
from provisioner.worker import event_tasks, tasks
from provisioner.worker.app import app

#: Whatever a test lets fail, by the name under which `FAULTY` calls it.
FUNCTIONS = (
    "provisioner.dispatch.redis_loss:remembers",
    "provisioner.runs.roster_snapshot:take",
    "provisioner.runs.lifecycle:request_run",
    "provisioner.runs.roster_watch:roster_changed",
    "provisioner.runs.observe:observe",
    "provisioner.planning.plan:plan_target",
    "provisioner.runs.enqueue:install",
    "provisioner.dispatch.outcome_spool:Spool.replay",
    "provisioner.runtime.context:Deployment.http",
    "provisioner.runtime.rate_limit:TargetPace.try_slot",
    "provisioner.dispatch.leaver_recheck:Recheck.refused",
    "provisioner.dispatch.tag_merge:Tagging.ready",
    "provisioner.dispatch.tag_merge:Tagging.over",
    "provisioner.dispatch.retry_policy:decide",
    "provisioner.planning.ledger_update:ledger_patch",
    "provisioner.progress.quarantine:judge",
    "provisioner.progress.metrics:note_end",
    "provisioner.progress.notifications:run_changed",
    "provisioner.progress.notifications:send_waiting",
    "provisioner.admin.retention:sweep",
    "provisioner.progress.run_status:target_status",
    "provisioner.progress.writeback:ask_for_table",
    "provisioner.progress.writeback:table_of",
    "provisioner.store.queue.operations:QueueStore.claim",
    "provisioner.store.queue.operations:QueueStore.record",
    "provisioner.store.queue.operations:QueueStore.reap",
    "provisioner.store.queue.operations:QueueStore.backlog",
    "provisioner.targets.traitly:Traitly.write",
    "provisioner.targets.traitly:Traitly.group",
    "provisioner.targets.traitly:Traitly.batch_size",
    "provisioner.targets.traitly:Traitly.headers",
    "provisioner.targets.traitly:Traitly.observe",
)


def _raise(error: str) -> None:
    match error:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "panic":
            raise PanicException("row of Jane Secret")
        case "cancelled":
            raise asyncio.CancelledError
        case "ours":
            raise ReadOnlyError("A write was tried.")
        case _:
            kinds: dict[str, type[Exception]] = {
                one.__name__: one for one in (KeyError, MemoryError, RecursionError, OSError, ValueError)
            }
            raise kinds[error]("row of Jane Secret")


def _is_about(subject: str, values: tuple[Any, ...]) -> bool:
    for value in values:
        if isinstance(value, (list, tuple, dict)):
            if _is_about(subject, tuple(value)):
                return True
        elif isinstance(value, Operation):
            if subject in (value.target, value.person):
                return True
        elif isinstance(value, str):
            if value == subject:
                return True
        else:
            names = (getattr(value, name, None) for name in ("name", "target", "_target", "person", "operation"))
            if any(isinstance(name, (str, Operation)) and _is_about(subject, (name,)) for name in names):
                return True
    return False


def _look(name: str, arguments: tuple[Any, ...]) -> None:
    try:
        asked = json.loads(Path(os.environ["FAULTY"]).read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return
    if asked.get("function") == name and (not asked["about"] or _is_about(asked["about"], arguments)):
        _raise(asked["error"])


def _wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **more: Any) -> Any:
            _look(name, (*args, *more.values()))
            return await function(*args, **more)

        return later

    @functools.wraps(function)
    def at_once(*args: Any, **more: Any) -> Any:
        _look(name, (*args, *more.values()))
        return function(*args, **more)

    return at_once


def _patch(name: str) -> None:
    """Put a function that looks first in its place, wherever it was imported to."""
    module_name, _, path = name.partition(":")
    module = importlib.import_module(module_name)
    owner, _, attribute = path.rpartition(".")
    if owner:
        made = getattr(module, owner)
        setattr(made, attribute, _wrapped(name, getattr(made, attribute)))
        return
    function = getattr(module, attribute)
    wrapped = _wrapped(name, function)
    for other in list(sys.modules.values()):
        if getattr(other, "__name__", "").startswith("provisioner") and vars(other).get(attribute) is function:
            setattr(other, attribute, wrapped)


if __name__ == "__main__":
    assert {"provisioner.tick", "provisioner.inbound"} <= set(app.tasks), (tasks, event_tasks)
    for one in FUNCTIONS:
        _patch(one)
    vars(faults)["_FIRST"] = 0.1
    vars(request)["_FAILED"] = 0.5
    vars(retry_policy)["_BASE"] = 0.1
    sys.argv = ["provisioner", "worker", "--concurrency", "2"]
    main()
