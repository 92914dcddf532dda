"""The text for a pull request says once what a guard holds, and of each other hold why."""

from __future__ import annotations

from typing import Any, cast

from provisioner.cli.render.plan_markdown import markdown
from provisioner.model.plan_file import PlanFile

GUARD = "8 updates are more than the limit of 6 (of 12 linked accounts): held until approved."
OWN = "The status 'sabbatical' was never seen before."


def operation(person: str, message: str | None) -> dict[str, Any]:
    return {
        "id": person,
        "target": "traitly",
        "person": person,
        "kind": "update",
        "account": person,
        "before": {"name": "Ann"},
        "after": {"name": "Anna"},
        "drift": False,
        "status": "pending" if message is None else "held",
        "reason": "employed",
        "error": None if message is None else {"code": "held", "message": message},
    }


def test_a_guards_sentence_stands_above_the_tables_only() -> None:
    part = {
        **dict.fromkeys(("observed", "linked", "adopted", "orphans", "conflicts", "todo", "unchanged"), 0),
        "status": "held",
        "planned": {"update": 3},
        "held": {"update": 2},
        "guards": [GUARD],
        "notes": [],
    }
    plan = {
        "status": "held",
        "asked": {"people": None},
        "roster": None,
        "targets": {"traitly": part},
        "operations": [operation("P1", GUARD), operation("P2", OWN), operation("P3", None)],
        "digest": "sha256:0",
    }
    lines = markdown(cast("PlanFile", plan)).splitlines()
    rows = {line.split(" | ")[1]: line for line in lines if line.startswith("| update | P")}
    assert sum(GUARD in line for line in lines) == 1
    assert rows["P1"].endswith("| held; employed |")
    assert rows["P2"].endswith("| held: The status 'sabbatical' was never seen before; employed |")
    assert rows["P3"].endswith("| employed |")
