"""The last guard around a nudge's work: nothing that goes wrong in it reaches Celery, and nothing stays in the log
alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from provisioner.errors import ProvisionerError, StoreError
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.store.runs.faults import is_redis_away
from provisioner.worker.worker_process import Child, StoppedError

log = structlog.get_logger(__name__)

Work = Callable[[Deployment], Awaitable[None]]
#: What to do about a fault that the work itself did not end with.
Mend = Callable[[Deployment, BaseException], Awaitable[object]]


def safely(child: Child, task: str, work: Work, *, fault: Mend | None = None, **context: str) -> None:
    """Run a nudge's work. Redis being away is logged, and the tick comes back to what is left.

    Args:
        fault: records a fault where it belongs, such as in the run; without, it is counted under the task's name.
        context: what the log names with everything that happens meanwhile.
    """
    with structlog.contextvars.bound_contextvars(**context):
        try:
            child.run(work)
        except StoppedError:
            log.info("nudge_left_to_others")
        except BaseException as exc:
            if is_fault(exc, stopping=child.stopped()):
                log_fault("task_failed", exc, task=task)
                _record(child, task, exc, fault)
            elif isinstance(exc, ProvisionerError):
                log.error("nudge_failed", code=exc.code, reason=exc.message)
            elif is_redis_away(exc):
                log.error("nudge_failed", code=StoreError.code, reason=type(exc).__name__)
            else:
                raise


def _record(child: Child, task: str, exc: BaseException, fault: Mend | None) -> None:
    async def record(dep: Deployment) -> None:
        if fault is not None:
            await fault(dep, exc)
        else:
            await dep.faults.note(task, named(exc))

    try:
        child.run(record)
    except Exception as further:  # noqa: BLE001 - there is nobody else to hear of it
        log.error("fault_not_recorded", task=task, error=type(further).__name__)
