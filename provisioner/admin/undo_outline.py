"""The way back from a run as it is kept here: who would get which values back, and what stays. Reads no target."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from provisioner.model.attributes import natural_values
from provisioner.model.operation import Kind, digest
from provisioner.model.run_document import RunDocument
from provisioner.model.undo_outline import UndoneChange, UndonePerson, UndoOutline
from provisioner.planning.undo_images import Image
from provisioner.runs.undo import staying_of, undo_of
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.settings.cron import next_time
from provisioner.store.runs.documents import Request, moment

#: What is done about each kind of change, and why, where that is not the same kind again.
_BACK: Final = {
    Kind.CREATE: (Kind.LEAVE, "the run made it; it becomes a leaver's account"),
    Kind.LEAVE: (Kind.REJOIN, "if they are employed by the newest roster"),
    Kind.REJOIN: (Kind.LEAVE, ""),
}


async def undo_outline(dep: Deployment, document: RunDocument, request: Request) -> UndoOutline:
    """What an undo of a run would give back.

    Args:
        document: the run's.
        request: of `undo_request`.

    Raises:
        StoreError: Redis does not answer.
    """
    people: dict[str, UndonePerson] = {}
    chosen = request.targets or ()
    for target in chosen:
        for person, image in (await undo_of(dep.done, dep.runs, request, target)).images.items():
            one = people.setdefault(person, {"person": person, "operations": {}})
            one["operations"].setdefault(target, []).append(_change(dep, target, image))
    if dep.settings.roster.label is not None:
        labels = await dep.frames.labels(set(people))
        for person, label in labels.items():
            people[person]["label"] = label
    parts = [part for name, part in document["targets"].items() if name in chosen]
    return {
        "run": document["run"],
        "targets": list(chosen),
        "people": list(people.values()),
        "changes": len(changes_of(people.values())),
        "stays": await staying_of(dep, request),
        "left": sum(sum(part["held"].values()) + sum(part["waiting"].values()) for part in parts),
        "next_sync": next_sync(dep.settings, await dep.clock.now()),
    }


def _change(dep: Deployment, target: str, image: Image) -> UndoneChange:
    kind, reason = _BACK.get(image.kind, (image.kind, ""))
    attributes = dep.specs[target].attributes if target in dep.specs else {}
    made = image.kind is Kind.CREATE
    return {
        "id": image.id,
        "kind": kind.value,
        "account": image.account,
        "before": {} if made else natural_values(image.after, attributes),
        "after": {} if made else natural_values(image.before, attributes),
        "reason": reason,
    }


def changes_of(people: Iterable[UndonePerson]) -> list[UndoneChange]:
    """All changes of some people."""
    return [change for one in people for changes in one["operations"].values() for change in changes]


def fingerprint(people: Iterable[UndonePerson]) -> str:
    """A digest of the outline that somebody confirmed: only what they saw is taken back."""
    named = sorted(
        f"{target} {one['id']}" for who in people for target, some in who["operations"].items() for one in some
    )
    return digest(named, size=16)


def next_sync(settings: Settings, now: float) -> str | None:
    """When the next ordinary sync begins by schedule, None if none does.

    Args:
        now: epoch seconds.
    """
    schedule = settings.schedule
    found = next_time((schedule.sync, schedule.full), datetime.fromtimestamp(now, UTC), settings.zone)
    return None if found is None else moment(found.timestamp())
