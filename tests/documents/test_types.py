"""What crosses a border of a package has a type: how many functions still return an open dictionary."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from provisioner.admin.access_report import AccessRow
from provisioner.admin.erase import Forgotten
from provisioner.admin.linking import HandLink
from provisioner.model.audit_entry import AuditEntry
from provisioner.model.decision_document import DecisionDocument
from provisioner.model.event_lists import DeadLetter, EventLists
from provisioner.model.operation_document import OperationDocument, RunOperation
from provisioner.model.person_report import PersonReport, ReceiptDocument, TodoDocument
from provisioner.model.plan_file import PlanFile
from provisioner.model.run_document import PlanDocument, RejectedRow, RunDocument, RunHead
from provisioner.model.worklists import WorklistRow
from provisioner.progress.writeback import Exported
from tests.documents.pinning import GOLDEN

PACKAGE: Final = Path(__file__).parents[2] / "provisioner"
OPEN: Final = ("dict[str, Any]", "Mapping[str, Any]")
#: Functions that return one, by package. A figure only shrinks: lower it with the functions. It may grow where
#: bodies of vendors are meant, in `targets` and `sandbox`.
CEILING: Final[Mapping[str, int]] = {
    "admin": 5,
    "cli": 4,
    "events": 2,
    "example": 1,
    "model": 3,
    "planning": 1,
    "roster": 2,
    "runtime": 1,
    "sandbox": 53,
    "settings": 5,
    "store": 9,
    "targets": 52,
    "web": 3,
    "worker": 3,
}


def returns_open(path: Path) -> list[str]:
    """The functions of a file whose annotated return holds an open dictionary, as ``file:line name``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.returns is None:
            continue
        if any(one in ast.unparse(node.returns) for one in OPEN):
            found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}")
    return found


def test_open_dictionaries_only_become_fewer() -> None:
    counts: Counter[str] = Counter()
    listed: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        package = path.relative_to(PACKAGE).parts[0]
        found = returns_open(path)
        counts[package] += len(found)
        listed.setdefault(package, []).extend(found)
    changed = {name: listed[name] for name, count in counts.items() if count != CEILING.get(name, 0)}
    assert {name: count for name, count in counts.items() if count} == dict(CEILING), changed


#: Each pinned document, and its type; a list is of it.
TYPED: Final[Mapping[str, Any]] = {
    "plan": PlanDocument,
    "plan_degraded": PlanDocument,
    "plan_of_some_that_fail": PlanDocument,
    "plan_rejected": PlanDocument,
    "run": RunDocument,
    "run_held": RunDocument,
    "plan_file": PlanFile,
    "run_reviewed": RunDocument,
    "plan_undo": PlanDocument,
    "run_undo": RunDocument,
    "access": list[AccessRow],
    "heads": dict[str, RunHead],
    "rejects": list[RejectedRow],
    "operations": list[OperationDocument],
    "operations_page": list[OperationDocument],
    "standing": list[RunOperation],
    "retried": DecisionDocument,
    "approved": DecisionDocument,
    "dropped": DecisionDocument,
    "leavers": list[ReceiptDocument],
    "to_do": TodoDocument,
    "todos": list[WorklistRow],
    "conflicts": list[WorklistRow],
    "drift": list[WorklistRow],
    "orphans": list[WorklistRow],
    "held_person": PersonReport,
    "leaver": PersonReport,
    "stayed": PersonReport,
    "events": EventLists,
    "letter": DeadLetter,
    "exported": Exported,
    "unlinked": HandLink,
    "forgotten": Forgotten,
}
#: Documents with members of their own besides, and one of which only a part is pinned.
OPEN_ENDED: Final = {"audit": list[AuditEntry], "saved": dict[str, Any]}


@pytest.mark.parametrize("name", TYPED)
def test_each_document_is_what_its_type_says_and_nothing_more(name: str) -> None:
    pinned = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    # What a type does not name is left out by this
    assert json.loads(msgspec.json.encode(msgspec.convert(pinned, TYPED[name]))) == pinned


def test_an_entry_of_the_audit_trail_has_at_least_what_its_type_says() -> None:
    pinned = json.loads((GOLDEN / "audit.json").read_text(encoding="utf-8"))
    assert len(msgspec.convert(pinned, list[AuditEntry])) == len(pinned)


def test_each_pinned_document_has_its_type() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {*TYPED, *OPEN_ENDED}
