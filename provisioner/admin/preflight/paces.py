"""Which targets are sent less than the settings allow, since their vendor said that it was too much."""

from __future__ import annotations

from provisioner.model.check_result import Line
from provisioner.progress.vitals import ago
from provisioner.runtime.rate_limit import budget_of
from provisioner.settings import Settings
from provisioner.store.queue.rate_limit import PaceStore
from provisioner.targets.registry import make


async def lowered(store: PaceStore, settings: Settings) -> list[Line]:
    """The findings about all targets; no line where all is well.

    Raises:
        StoreError: Redis does not answer any more.
    """
    found: list[Line] = []
    for name, own in settings.targets.items():
        if not own.enabled:
            continue
        windows = [(rate.limit, rate.window) for rate in own.rate_limit]
        status = await store.status(budget_of(make(name, own)), windows)
        if not status.lowered:
            continue
        parts = [f"{one.limit} of {one.configured} requests in {ago(one.seconds)}" for one in status.lowered]
        message = f"{name} answered 429 at its rate limit, so it gets {' and '.join(parts)} for now."
        remedy = (
            f"It is raised again by itself. If it comes back, set targets.{name}.rate_limit to what the vendor allows, "
            "and see who else uses that limit."
        )
        found.append(Line("pace", "warn", message, remedy))
    return found
