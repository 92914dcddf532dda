"""Nudges: the only messages there are. Sending one twice costs a look into Redis and nothing else."""

from __future__ import annotations

from typing import Any

from celery import Celery

from provisioner.errors import WorkerError
from provisioner.settings import Settings
from provisioner.worker.app import LONGEST_COUNTDOWN, URGENT, WORK, configured


def _client(settings: Settings) -> Celery:
    client = Celery("provisioner", set_as_current=False)
    client.conf.update(configured(settings))
    return client


def nudge(settings: Settings, run: str, *, urgent: bool = False) -> None:
    """Tell the workers that a run wants to begin.

    Raises:
        WorkerError: the message could not be handed over.
    """
    with _client(settings) as client:
        send(client, "begin", run, queue=URGENT if urgent else WORK)


def nudge_target(settings: Settings, target: str) -> None:
    """Tell the workers that a target has work.

    Raises:
        WorkerError: the message could not be handed over.
    """
    with _client(settings) as client:
        send(client, "deliver", target, queue=WORK)


def workers(settings: Settings, timeout: float = 2.0) -> int:
    """How many worker processes answer within `timeout` seconds."""
    with _client(settings) as client:
        try:
            answers = client.control.ping(timeout=timeout, limit=1)
        except Exception as exc:
            raise WorkerError(
                f"Asking for workers failed: {type(exc).__name__}.", remedy="Check that Redis runs and `redis_url`."
            ) from exc
    return len(answers or [])


def send(client: Celery, name: str, *args: Any, queue: str, countdown: float | None = None) -> None:
    """Send one nudge.

    Args:
        countdown: seconds; what would be later than `LONGEST_COUNTDOWN` is left to the tick.

    Raises:
        WorkerError: the message could not be handed over.
    """
    if countdown is not None and countdown > LONGEST_COUNTDOWN:
        return
    try:
        client.send_task(
            f"provisioner.{name}",
            args=list(args),
            queue=queue,
            countdown=countdown or None,
            expires=3600,
            retry=True,
            retry_policy={"max_retries": 5, "interval_start": 0.1, "interval_max": 1.0},
        )
    except Exception as exc:
        raise WorkerError(
            f"A nudge ({name}) could not be sent: {type(exc).__name__}.",
            remedy="Check that Redis runs and `redis_url`.",
        ) from exc
