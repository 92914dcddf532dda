"""The worker as a process: what `provisioner worker` runs."""

from __future__ import annotations

import gc
import os
import warnings
from typing import Any, Final

import structlog
from celery.apps import worker as celery_worker
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutting_down
from kombu.transport.redis import QoS

from provisioner.settings import Settings
from provisioner.worker.app import URGENT, WORK, configure
from provisioner.worker.crowding import Crowding
from provisioner.worker.heartbeat import WorkerHeartbeat, end_signs, give_signs
from provisioner.worker.worker_process import child

log = structlog.get_logger(__name__)

#: Children besides one per target, so that slow targets leave some free for everything else.
_SPARE: Final = 2


def run_worker(settings: Settings, *, concurrency: int | None = None) -> int:
    """Work until told to stop; the exit code.

    Args:
        concurrency: child processes; none: one per enabled target, which may all be slow at once, and two more.
    """
    enabled = sum(target.enabled for target in settings.targets.values())
    app = configure()
    _tame_celery()
    give_signs(settings)
    app.steps["consumer"].add(WorkerHeartbeat)
    app.steps["consumer"].add(Crowding)
    worker = app.Worker(
        concurrency=concurrency or enabled + _SPARE,
        queues=[URGENT, WORK],
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        optimization="fair",
        quiet=True,
    )
    # What is loaded by now lives as long as the children do, who share it with us until somebody writes to it: a
    # collector that looked through it again and again would do so in vain
    gc.collect()
    gc.freeze()
    worker.start()
    end_signs()
    log.info("worker_ended")
    return int(worker.exitcode or 0)


def _tame_celery() -> None:
    """Take away what would end this process when Redis goes, and what would mix with our own output.

    When its connection breaks, kombu tries to put back the nudges that it has not handed on, over that connection, and
    the error ends the worker. They need not be put back: the tick finds what they were for.
    """
    QoS.restore_at_shutdown = False
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

    def say(text: str, *_: Any) -> None:
        os.write(2, f"{text.strip()}\n".encode())

    celery_worker.safe_say = say


@worker_process_init.connect
def _begin(**_: Any) -> None:
    child.watch_signals()


@worker_shutting_down.connect
def _stopping(**_: Any) -> None:
    child.stop()


@worker_process_shutdown.connect
def _end(**_: Any) -> None:
    child.close()
