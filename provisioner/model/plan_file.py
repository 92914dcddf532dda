"""The plan as a file that people review: its shape, its digest, and how a file is read back. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NotRequired, TypedDict

from provisioner.errors import UsageError
from provisioner.model.operation_document import ErrorDocument, KindName, PreviewedOperation
from provisioner.model.run_document import Counts, PartStatus, PlanDocument, RunPart, RunStatus
from provisioner.model.worklists import PlanLists

#: The layout of the file; a reader refuses another one.
FORMAT: Final = 1
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
#: What an operation tells of the moment at which it was planned, and not of what it changes.
_MOMENTS: Final = frozenset({"created_at"})


class AskedFor(TypedDict):
    """What a plan is about; `people` null for everybody."""

    targets: list[str]
    people: list[str] | None


class PlanRoster(TypedDict):
    """The roster that a plan read."""

    rows: int
    people: int
    rejected: int
    digest: str
    accepted: bool
    degraded: list[str]


class PlannedLink(TypedDict):
    """An account that the plan adopts: it is found, and nothing is sent for that."""

    target: str
    person: str
    account: str
    matched: str


class PlanPart(TypedDict):
    """A plan's part for one target."""

    status: PartStatus
    observed: int
    linked: int
    adopted: int
    orphans: int
    conflicts: int
    todo: int
    unchanged: int
    planned: Counts
    held: Counts
    guards: list[str]
    notes: list[str]
    error: NotRequired[ErrorDocument]
    lists: NotRequired[PlanLists]


class PlanFile(TypedDict):
    """A plan for review. Two plans of the same state are the same text."""

    format: Literal[1]
    digest: str
    asked: AskedFor
    status: RunStatus
    roster: PlanRoster | None
    targets: dict[str, PlanPart]
    links: list[PlannedLink]
    operations: list[PreviewedOperation]


class ReviewedOperation(TypedDict):
    """An operation of a reviewed plan, as far as a run has to know it again."""

    id: str
    target: str
    person: str
    kind: KindName
    account: str | None


class ReviewedPlan(TypedDict):
    """A reviewed plan, as it is kept until it is applied: neither values nor names."""

    asked: AskedFor
    links: list[PlannedLink]
    operations: list[ReviewedOperation]


def plan_file(document: PlanDocument, links: Sequence[PlannedLink], people: Sequence[str] | None) -> PlanFile:
    """The file of a plan.

    Args:
        document: see `preview`.
        people: those that the plan is about, None for everybody.
    """
    read = document["roster"]
    roster: PlanRoster | None = None
    if read is not None:
        roster = {
            "rows": read["rows"],
            "people": read["people"],
            "rejected": read["rejected"],
            "digest": read["digest"],
            "accepted": read["accepted"],
            "degraded": read["degraded"],
        }
    order = {name: place for place, name in enumerate(document["targets"])}
    found: PlanFile = {
        "format": 1,
        "digest": "",
        "asked": {"targets": list(order), "people": None if people is None else sorted(people)},
        "status": document["status"],
        "roster": roster,
        "targets": {name: _part(part) for name, part in document["targets"].items()},
        "links": sorted(links, key=lambda one: (order[one["target"]], one["person"])),
        "operations": sorted(
            map(_without_moments, document["operations"]),
            key=lambda one: (order[one["target"]], one["person"], one["kind"], one["id"]),
        ),
    }
    return {**found, "digest": digest_of(found)}


def _part(part: RunPart) -> PlanPart:
    found: PlanPart = {
        "status": part["status"],
        "observed": part["observed"],
        "linked": part["linked"],
        "adopted": part["adopted"],
        "orphans": part["orphans"],
        "conflicts": part["conflicts"],
        "todo": part["todo"],
        "unchanged": part["unchanged"],
        "planned": part["planned"],
        "held": part["held"],
        "guards": part.get("guards", []),
        "notes": part.get("notes", []),
    }
    if "error" in part:
        found["error"] = part["error"]
    if "lists" in part:
        found["lists"] = part["lists"]
    return found


def _without_moments(one: PreviewedOperation) -> PreviewedOperation:
    return {**one, "after": {name: value for name, value in one["after"].items() if name not in _MOMENTS}}


def digest_of(document: Mapping[str, Any]) -> str:
    """The digest of everything in the file but the digest itself."""
    rest = {name: value for name, value in document.items() if name != "digest"}
    text = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def to_text(document: PlanFile) -> str:
    """The file's text: indented, so that a line of it is one fact."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def read_file(text: str, name: str) -> tuple[str, ReviewedPlan]:
    """A reviewed file's digest, and what a run has to know of it.

    Args:
        name: of the file, for errors.

    Raises:
        UsageError: it is no plan, of another layout, or was changed since it was written.
    """
    again = f"Write a new one: provisioner plan --out {name}"
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise UsageError(f"{name} is a plan of the layout {document['format']}, not {FORMAT}.", remedy=again)
        digest, plan = str(document["digest"]), kept_of(document)
    except (ValueError, TypeError, KeyError):
        raise UsageError(f"{name} is no plan.", remedy=again) from None
    if digest != digest_of(document):
        raise UsageError(f"{name} was changed since it was written: its digest does not fit.", remedy=again)
    return digest, plan


def kept_of(document: PlanFile) -> ReviewedPlan:
    """What of a file is kept in Redis."""
    return {
        "asked": {"targets": document["asked"]["targets"], "people": document["asked"]["people"]},
        "links": [
            {
                "target": one["target"],
                "person": one["person"],
                "account": one["account"],
                "matched": one["matched"],
            }
            for one in document["links"]
        ],
        "operations": [
            {
                "id": one["id"],
                "target": one["target"],
                "person": one["person"],
                "kind": one["kind"],
                "account": one["account"],
            }
            for one in document["operations"]
        ],
    }
