"""Exit codes and statuses of runs, as a table."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from provisioner import errors
from provisioner.model.run_document import PRECEDENCE, exit_code, first_of, removals_wait, run_status

CLEAN: dict[str, Any] = {"status": "succeeded", "planned": {"create": 2}, "succeeded": {"create": 2}}


def _document(status: str, *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"run": "r", "status": status, "targets": {f"t{number}": one for number, one in enumerate(targets)}, **more}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (_document("succeeded"), 0),
        (_document("succeeded", CLEAN), 0),
        (_document("succeeded", {**CLEAN, "status": "skipped"}), 0),
        (_document("succeeded", {**CLEAN, "conflicts": 3, "todo": 2, "orphans": 9}), 0),
        (_document("succeeded", CLEAN, roster={"rejected": 4, "degraded": []}), 0),
        (_document("succeeded", {**CLEAN, "superseded": {"update": 1}, "rejected": {"leave": 1}}), 0),
        (_document("succeeded", {**CLEAN, "held": {"leave": 0}, "failed": {}}), 0),
        (_document("succeeded", {**CLEAN, "status": "paused"}), 0),
        (_document("succeeded", {**CLEAN, "status": "paused", "waiting": {"update": 1}}), 4),
        (_document("held", {**CLEAN, "status": "held", "held": {"leave": 12}}), 4),
        (_document("succeeded", {**CLEAN, "held": {"leave": 12}}), 4),
        (_document("succeeded", CLEAN, roster={"degraded": ["It shrank by 30 %."], "accepted": False}), 4),
        (_document("succeeded", CLEAN, roster={"degraded": ["It shrank by 30 %."], "accepted": True}), 0),
        (_document("succeeded", CLEAN, roster=None), 0),
        (_document("failed", {**CLEAN, "failed": {"create": 1}}), 5),
        (_document("failed", {"status": "failed", "error": {"code": "listing_shrank"}}), 5),
        (_document("failed", {"status": "quarantined", "waiting": {"create": 3}}), 5),
        (_document("failed", {"status": "unreachable"}), 5),
        (_document("failed", {**CLEAN, "held": {"leave": 12}}, {**CLEAN, "failed": {"create": 1}}), 5),
        (_document("failed"), 5),
        (_document("running", {"status": "running"}), 6),
        (_document("running", {"status": "running", "failed": {"create": 1}, "held": {"leave": 1}}), 6),
        (_document("rejected"), 3),
        (_document("rejected", error={"code": "roster_rejected", "message": "…", "exit": 3}), 3),
        (_document("rejected", {"status": "unreachable"}), 3),
        (_document("failed", error={"code": "usage", "message": "no person 'K9'", "exit": 2}), 2),
        (_document("failed", {"status": "failed"}, error={"code": "store", "message": "…", "exit": 1}), 1),
        (_document("failed", error={"code": "bug", "message": "…"}), 1),
        (_document("held", {"held": {"leave": 1}}, run=None, operations=[]), 4),
    ],
)
def test_exit_code(document: dict[str, Any], code: int) -> None:
    assert exit_code(document) == code


@pytest.mark.parametrize("pair", list(permutations(PRECEDENCE, 2)))
def test_the_first_in_order_wins(pair: tuple[int, int]) -> None:
    assert first_of(pair) == min(pair, key=PRECEDENCE.index)


def test_nothing_is_done_and_the_unknown_is_unexpected() -> None:
    assert first_of(()) == 0
    assert first_of((0, 0)) == 0
    assert first_of((4, 77)) == 1


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([], "succeeded"),
        (["succeeded", "skipped"], "succeeded"),
        (["failed", "running"], "running"),
        (["held", "succeeded"], "held"),
        (["paused", "succeeded"], "held"),
        (["held", "failed"], "failed"),
        (["succeeded", "quarantined"], "failed"),
        (["unreachable", "held"], "failed"),
    ],
)
def test_run_status(statuses: list[str], status: str) -> None:
    assert run_status(statuses) == status
    targets = {str(number): {"status": one, "waiting": {"leave": 1}} for number, one in enumerate(statuses)}
    code = exit_code({"status": status, "targets": targets})
    assert code == {"succeeded": 0, "held": 4, "failed": 5, "running": 6}[status]


@pytest.mark.parametrize(
    ("statuses", "status", "code"),
    [(["succeeded"], "held", 4), ([], "held", 4), (["running"], "running", 6), (["failed"], "failed", 5)],
)
def test_a_run_whose_removals_wait_is_no_green_one(statuses: list[str], status: str, code: int) -> None:
    roster = {"degraded": ["Half of it vanished."], "accepted": False}
    assert run_status(statuses, removals_wait=removals_wait(roster)) == status
    targets = {str(number): {"status": one} for number, one in enumerate(statuses)}
    assert exit_code({"status": status, "roster": roster, "targets": targets}) == code
    assert not removals_wait(roster | {"accepted": True})
    assert not removals_wait(None)


def test_every_error_exits_with_a_known_code() -> None:
    found = vars(errors).values()
    classes = [one for one in found if isinstance(one, type) and issubclass(one, errors.ProvisionerError)]
    assert len(classes) > 10
    assert {one.exit_code for one in classes} <= set(PRECEDENCE)
