"""A worker's parent process tells its children how many nudges wait for one of them.

Only the parent knows: it has taken them from the broker, and found every child busy. As many of the children give way
that only help, or that wait for a slot. Calls for help are no such nudges, else two targets would drive out each other.
"""

from __future__ import annotations

from typing import Any, Final

from celery import bootsteps
from celery.worker import state

from provisioner.worker.app import ASSIST
from provisioner.worker.worker_process import child

#: Seconds between looks.
_LOOK: Final = 0.1


class Crowding(bootsteps.StartStopStep):  # type: ignore[misc] # Celery carries no types
    """The part of a worker's parent process that looks who waits. It starts over whenever the worker reconnects."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """Look again and again."""
        self._entry = consumer.timer.call_repeatedly(_LOOK, look)

    def stop(self, consumer: Any) -> None:
        """Look no more until the next start."""
        del consumer
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    shutdown = stop


def look() -> None:
    """Tell the children how many nudges wait that no child has begun."""
    waiting = [one for one in list(state.reserved_requests) if one not in state.active_requests]
    child.say_waiting(sum(one.name != ASSIST for one in waiting))
