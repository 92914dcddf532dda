"""What a run holds, person by person over all targets, so that somebody can decide about people. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.model.held_document import HeldDocument, HeldPerson, HeldTarget
from provisioner.model.operation import Status, digest
from provisioner.model.operation_document import OperationDocument
from provisioner.model.run_document import KINDS, RunDocument
from provisioner.runtime.context import Deployment
from provisioner.store.runs.paging import READ_AT_MOST, Filter

#: Held operations that are read of each target.
HELD_READ: Final = READ_AT_MOST


@dataclass(frozen=True, slots=True)
class HeldFilter:
    """Which held operations are meant: those of a target, of a kind, and in which a text is found. Empty means any.

    The text is looked for in the person's key and label, the account, the values before and after, and the reason.
    """

    target: str = ""
    kind: str = ""
    text: str = ""

    def passes(self, operation: OperationDocument, label: str) -> bool:
        """Whether an operation is meant.

        Args:
            label: how its person is shown; empty if not at all.
        """
        if self.target not in ("", operation["target"]) or self.kind not in ("", operation["kind"]):
            return False
        wanted = self.text.casefold()
        return not wanted or any(wanted in text.casefold() for text in _texts(operation, label))


def _texts(operation: OperationDocument, label: str) -> Iterator[str]:
    yield operation["person"]
    yield label
    yield operation["account"] or ""
    yield operation["reason"]
    for values in (operation["before"], operation["after"]):
        yield from (str(value) for value in values.values() if value is not None)


async def held_people(dep: Deployment, run: str, document: RunDocument, wanted: HeldFilter) -> HeldDocument:
    """What is held of a run; of each target no more than `HELD_READ` operations are read.

    Args:
        document: the run's.

    Raises:
        StoreError: Redis does not answer.
    """
    targets: list[HeldTarget] = []
    rows: list[OperationDocument] = []
    for name, part in document["targets"].items():
        count = sum((part.get("held") or {}).values())
        if not count:
            continue
        page = await dep.operations.page(run, [name], Filter((Status.HELD.value,)), limit=HELD_READ)
        why = part.get("guards") or sorted({row["error"]["message"] for row in page.rows if row["error"]})
        targets.append({"target": name, "count": count, "read": len(page.rows), "why": why})
        rows += page.rows
    shown = dep.settings.roster.label is not None
    labels = await dep.frames.labels({row["person"] for row in rows}) if shown else {}
    passing = [row for row in rows if wanted.passes(row, labels.get(row["person"], ""))]
    there = {row["kind"] for row in rows}
    return {
        "run": run,
        "targets": targets,
        "kinds": [kind for kind in KINDS if kind in there],
        "people": _by_person(passing, labels),
        "operations": len(passing),
    }


def _by_person(rows: Iterable[OperationDocument], labels: Mapping[str, str]) -> list[HeldPerson]:
    found: dict[str, HeldPerson] = {}
    for row in rows:
        person = row["person"]
        if person not in found:
            found[person] = {"person": person, "operations": {}}
            if person in labels:
                found[person]["label"] = labels[person]
        found[person]["operations"].setdefault(row["target"], []).append(row)
    return list(found.values())


def operations_of(people: Iterable[HeldPerson]) -> list[OperationDocument]:
    """The held operations of some people, in the order in which they are shown."""
    return [row for one in people for rows in one["operations"].values() for row in rows]


def fingerprint(operations: Iterable[OperationDocument], whole: Mapping[str, int]) -> str:
    """A digest of what somebody saw before they decided, so that nothing else is decided about.

    Args:
        whole: targets that are meant as a whole, with how many operations they hold.
    """
    named = sorted(f"{row['target']} {row['id']}" for row in operations)
    named += sorted(f"{target} all {count}" for target, count in whole.items())
    return digest(named, size=16)
