"""Nudges: the only messages there are. Sending one twice costs a look into Redis and nothing else."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery

from provisioner.errors import WorkerError
from provisioner.settings import Settings
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.refusals import explained
from provisioner.worker.app import LONGEST_COUNTDOWN, URGENT, WORK, configured

#: Seconds in which Redis has to take a nudge of a command or of the web, at each of few tries.
_ANSWERS_WITHIN: Final = 2.0


def client_of(settings: Settings) -> Celery:
    """A client that sends nudges, for processes that are no worker."""
    client = Celery("provisioner", set_as_current=False)
    client.conf.update(configured(settings))
    # A nudge that is lost does no harm, while a server that hangs would keep whoever sends it
    bounds = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _ANSWERS_WITHIN)
    client.conf.broker_transport_options = {**client.conf.broker_transport_options, **bounds}
    return client


def _failed(settings: Settings, what: str, exc: Exception) -> WorkerError:
    """What went wrong, in the words for Redis: whatever fails here, fails there."""
    address = RedisAddress.of(settings)
    why = explained(f"Redis at {address.redacted}", exc, own=address.own)
    return WorkerError(f"{what}: {why.message}", remedy=why.remedy)


def nudge(settings: Settings, run: str, *, urgent: bool = False) -> None:
    """Tell the workers that a run wants to begin.

    Raises:
        WorkerError: the message could not be handed over.
    """
    with client_of(settings) as client:
        send(client, "begin", run, queue=URGENT if urgent else WORK)


def nudge_pull(settings: Settings, run: str) -> None:
    """Tell the workers that a pull wants to begin.

    Raises:
        WorkerError: the message could not be handed over.
    """
    with client_of(settings) as client:
        send(client, "pull", run, queue=WORK)


def nudge_target(settings: Settings, target: str) -> None:
    """Tell the workers that a target has work.

    Raises:
        WorkerError: the message could not be handed over.
    """
    with client_of(settings) as client:
        send(client, "deliver", target, queue=WORK)


def workers(settings: Settings, timeout: float = 2.0) -> int:
    """How many worker processes answer within `timeout` seconds."""
    with client_of(settings) as client:
        try:
            answers = client.control.ping(timeout=timeout, limit=1)
        except Exception as exc:
            raise _failed(settings, "Asking for workers failed", exc) from exc
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
        why = explained("Redis", exc)
        raise WorkerError(f"A nudge ({name}) could not be sent: {why.message}", remedy=why.remedy) from exc
