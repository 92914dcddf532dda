"""What the pages of a run show: its progress, its operations, and the causes of what was not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.model.operation_document import RunOperation
from provisioner.model.run_document import OUTCOMES, UNDONE, RunDocument, RunPart
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.runs.paging import Filter, OperationPageStore
from provisioner.targets.registry import target_class
from provisioner.targets.responses import ADVICE

#: Undone operations of each status that are read for their causes.
_SAMPLE: Final = 500

#: What to do about what the program itself puts off; of what a target answered the target's class says it.
_OWN_ADVICE: Final = {
    "tags_in_flight": ADVICE["unavailable"],
    "leader_failed": "Fix what the operation before it failed by; it goes out with that one.",
    "held": "Look who is affected, then approve or reject.",
    "listing_shrank": "Find out why the target shows fewer accounts than before. Nothing is sent until it is believed.",
    "listing_partial": "Say how the target's pages go on (the error names the setting). Nothing is sent until then.",
    "listing_blank": "Find out why the target shows values no more. Nothing is sent until it is believed.",
    "unexpected": "The program or the target's package failed. See the worker's log, report it, then retry.",
}
_OTHERWISE: Final = "Fix what the target says, then retry."


@dataclass(frozen=True, slots=True)
class Cause:
    """Why operations were not done: how many (of those looked at), one person as an example, and what to do."""

    target: str
    status: str
    code: str
    message: str
    count: int
    person: str
    remedy: str


async def causes(
    operations: OperationPageStore, settings: Settings, run: str, document: RunDocument
) -> tuple[tuple[Cause, ...], bool]:
    """Failed, held and waiting operations by cause, the commonest first, and whether only some were looked at."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    examples: dict[tuple[str, str, str, str], str] = {}
    partly = False
    for status in UNDONE:
        targets = [
            name
            for name, part in document["targets"].items()
            # What a guard holds is explained by the guard
            if any(part[status].values()) and not (status == "held" and part.get("guards"))
        ]
        if not targets:
            continue
        page = await operations.page(run, targets, Filter((status,)), limit=_SAMPLE)
        partly = partly or page.next is not None
        for row in page.rows:
            error = row["error"]
            code, message = (error.get("code", ""), error.get("message", "")) if error else ("", "")
            cause = (row["target"], status, str(code), str(message))
            counts[cause] += 1
            examples.setdefault(cause, row["person"])
    found = [
        Cause(*cause, count=count, person=examples[cause], remedy=remedy_for(settings, cause[0], cause[2]))
        for cause, count in counts.most_common()
    ]
    return tuple(found), partly


def remedy_for(settings: Settings, target: str, code: str) -> str:
    """What to do about a code of an operation on a target, which may be disabled or removed meanwhile."""
    own = settings.targets.get(target)
    advice = target_class(own.kind).advice if own is not None else {}
    return advice.get(code) or ADVICE.get(code) or _OWN_ADVICE.get(code) or _OTHERWISE


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one target's part is: operations that ended of those planned, and that in percent."""

    planned: int
    ended: int
    percent: int


def progress(part: RunPart) -> Progress:
    """Of a run's part for one target."""
    planned = sum(part["planned"].values())
    ended = sum(sum(part[name].values()) for name in OUTCOMES if name not in ("waiting", "held"))
    ended = min(ended, planned)
    return Progress(planned, ended, 100 if not planned else ended * 100 // planned)


async def in_run(dep: Deployment, run: str, person: str, targets: Sequence[str]) -> list[RunOperation]:
    """One person's operations in a run."""
    found = {one["id"]: one for one in await dep.runs.history(person, 200) if one["run"] == run}
    for target in targets:
        if target not in dep.specs:
            continue
        for one in await dep.runs.standing(target, person):
            if one["run"] == run:
                found[one["id"]] = one
    return [one for one in found.values() if one["target"] in targets]
