"""A small world to plan in: people, accounts and the ledger as plain values, and the plan that follows from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Final

import polars as pl

from provisioner.model.account import Account, LedgerEntry
from provisioner.model.operation import Operation
from provisioner.planning.compiled import CompiledTarget, compile_target
from provisioner.planning.leaver_steps import days_of_leaving
from provisioner.planning.plan import plan_target
from provisioner.planning.refused_once import refused_of, set_once
from provisioner.planning.spec import Observation, Planning, TargetSpec
from provisioner.planning.target_plan import TargetPlan
from provisioner.runs.observe import frame_of
from provisioner.runtime import context
from provisioner.settings import GuardSettings
from provisioner.targets.registry import make, target_class

TODAY: Final = date(2026, 3, 10)
NOW: Final = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)
#: When every observation here began; what the ledger recorded at `BEFORE` is older, at `AFTER` newer.
BEGAN: Final = 1000.0
BEFORE: Final = 500.0
AFTER: Final = 1500.0

#: Guards so wide that none holds; tests of guards set their own.
OPEN: Final[Mapping[str, Any]] = {
    "leavers": {"percent": 100},
    "updates": {"percent": 100},
    "missing": {"percent": 100},
}

_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "tribal_habits": {
        "api_key": "key",
        "match": ["user_name", "email"],
        "protect": "org_admin",
        "scope": "department <> 'Contractors'",
        "attributes": {
            "user_name": "employee_id",
            "first_name": "first_name",
            "last_name": "last_name",
            "email": "LOWER(work_email)",
            "active": "TRUE",
            "role_1": "role",
            "groups": "groups",
        },
        "leaver": {"active": "FALSE"},
    },
    "habitate": {
        "api_key": "key",
        "match": ["username", "email"],
        "attributes": {
            "username": "LOWER(employee_id)",
            "first_name": "first_name",
            "last_name": "last_name",
            "email": "LOWER(work_email)",
            "role": "role",
            "boards": "groups",
        },
        "leaver": {"role": "'Guest'", "boards": {"from": "NULL", "empty": "clear"}},
    },
    "traitly": {
        "token": "token",
        "match": ["customer_id"],
        "attributes": {
            "customer_id": "employee_id",
            "name": "first_name || ' ' || last_name",
            "email": "LOWER(work_email)",
            "plan": "'Employee'",
            "created_at": "created",
            "monthly_payment_amount": "paid",
            "custom_attributes.role": "role",
        },
        "leaver": {"plan": "'Leaver'"},
        "events": {"created": "Onboarded", "left": "Offboarded", "role_changed": "Role changed"},
    },
    "mtribes": {
        "access_token": "token",
        "space_id": "6f1d2c3b-0000-4000-8000-000000000001",
        "match": ["id"],
        "attributes": {
            "id": "employee_id",
            "name": "first_name || ' ' || last_name",
            "email": "LOWER(work_email)",
            "tags": "groups",
        },
        "leaver": {"tags": "'employment/left'"},
    },
}

ROW: Final[Mapping[str, str | None]] = {
    "first_name": "Ana",
    "last_name": "Silva",
    "work_email": None,
    "department": "Sales",
    "role": "Learner",
    "groups": "Sales",
    "created": None,
    "paid": None,
}


def spec_of(kind: str = "tribal_habits", **changes: Any) -> TargetSpec:
    """A target of that kind, with its usual settings; `changes` replace settings of it."""
    document = {"kind": kind, "base_url": "http://127.0.0.1:1", **_KINDS[kind], **changes}
    document["guards"] = GuardSettings.model_validate({**OPEN, **document.get("guards", {})})
    target = make(kind, target_class(kind).settings_model.model_validate(document))
    target.check()
    # Enrolments stand by themselves here; those that travel with an account operation are a subject of their own
    return replace(context.spec_of(target), bundled_enrolments=0)


def attributes_of(kind: str) -> dict[str, Any]:
    """The usual mapping of a kind, to be changed."""
    return dict(_KINDS[kind]["attributes"])


def person(key: str, verdict: str = "employed", /, **cells: Any) -> dict[str, Any]:
    """A person of the roster; the email follows from the key unless `work_email` says otherwise.

    `cells` are texts of the roster's columns; besides, `ends` is the last day.
    """
    email = {"work_email": f"{key}@example.com".lower()}
    return {
        "_key": key,
        "_verdict": verdict,
        "_ends": cells.pop("ends", None),
        "employee_id": key,
        **ROW,
        **email,
        **cells,
    }


def people_of(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """The frame that the planner takes."""
    columns = ["_key", "_verdict", "employee_id", *ROW]
    schema: dict[str, Any] = {**dict.fromkeys(columns, pl.String), "_ends": pl.Date}
    return pl.DataFrame([dict(row) for row in rows], schema=schema)


def ledger_of(entries: Iterable[LedgerEntry], spec: TargetSpec) -> pl.DataFrame:
    """The ledger as the store would give it."""
    names = dict.fromkeys([*spec.settings.attributes, *spec.settings.leaver])
    if spec.ends_attribute:
        names[spec.ends_attribute] = None
    names |= dict.fromkeys(refused_of(name) for name in set_once(spec.settings.attributes))
    rows = [
        {
            "_person": entry.person,
            "_account": entry.account,
            "_state": entry.state,
            "_created": entry.created,
            "_recorded": entry.recorded,
            "_linked": entry.linked,
            "_makes": entry.makes,
            "_loops": json.dumps(dict(entry.loops)) if entry.loops else None,
            "_left": entry.left or None,
            "_step": entry.step,
            "_owed": json.dumps(dict(entry.owed)),
            "_enrolled": list(entry.enrolled),
            **{f"l:{name}": entry.values.get(name) for name in names},
        }
        for entry in entries
    ]
    schema: dict[str, Any] = {
        "_person": pl.String,
        "_account": pl.String,
        "_state": pl.String,
        "_created": pl.Boolean,
        "_recorded": pl.Float64,
        "_linked": pl.Float64,
        "_makes": pl.Int64,
        "_loops": pl.String,
        "_left": pl.String,
        "_step": pl.Int64,
        "_owed": pl.String,
        "_enrolled": pl.List(pl.String),
        **{f"l:{name}": pl.String for name in names},
    }
    return pl.DataFrame(rows, schema=schema)


@dataclass(slots=True)
class World:
    """What a plan is made from. `complete` false: the vendor cannot list, or (`asked`) was asked for some only.
    `last` is the last listing that was believed."""

    spec: TargetSpec
    people: list[dict[str, Any]] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    ledger: list[LedgerEntry] = field(default_factory=list)
    complete: bool = True
    asked: frozenset[str] | None = None
    circumstances: dict[str, Any] = field(default_factory=dict)
    last: pl.DataFrame | None = None

    @property
    def compiled(self) -> CompiledTarget:
        """The target's expressions."""
        return compile_target(self.spec, ["employee_id", *ROW])

    def plan(self, **circumstances: Any) -> TargetPlan:
        """The plan; `circumstances` go over the world's own."""
        names = [name for name, attribute in self.spec.attributes.items() if attribute.observed]
        left = days_of_leaving(ledger_of(self.ledger, self.spec), {}, self.spec.zone)
        usual: dict[str, Any] = {"now": NOW, "today": TODAY, "snapshot": "sha256:0", "left": left}
        readable = names if self.complete or self.asked is not None else []
        observation = Observation(frame_of(self.accounts, readable), self.complete, BEGAN, self.asked, last=self.last)
        return plan_target(
            self.spec,
            self.compiled,
            people_of(self.people),
            observation,
            ledger_of(self.ledger, self.spec),
            Planning(**{**usual, **self.circumstances, **circumstances}),
        )


def held_by(key: str, **changes: str | None) -> Account:
    """The Tribal Habits account that `person(key)` should hold, as observed; `changes` differ from it."""
    values = {
        "user_name": key,
        "first_name": "Ana",
        "last_name": "Silva",
        "email": f"{key}@example.com".lower(),
        "active": "true",
        "org_admin": "false",
        "role_1": "Learner",
        "groups": "Sales",
    }
    return Account(changes.pop("id", None) or key, values | changes)


def linked(key: str, account: str | None = None, **changes: Any) -> LedgerEntry:
    """A link of the ledger, older than the observation."""
    return LedgerEntry(key, account or key, **{"recorded": BEFORE, **changes})


def only(plan: TargetPlan) -> Operation:
    """The one operation of a plan."""
    assert len(plan.operations) == 1, [(operation.person, operation.kind) for operation in plan.operations]
    return plan.operations[0]


def kinds_of(plan: TargetPlan) -> dict[str, list[str]]:
    """Person → the kinds of their operations, in the order of delivery."""
    found: dict[str, list[str]] = {}
    for operation in plan.operations:
        found.setdefault(operation.person, []).append(operation.kind.value)
    return found


def balanced(plan: TargetPlan) -> bool:
    """Whether linked = unchanged + update + role + leave + rejoin + conflicts + todo, todo counted by its own rule."""
    changing = {
        operation.person
        for operation in plan.operations
        if operation.kind.value in ("update", "role", "leave", "rejoin")
    }
    waiting = {todo.person for todo in plan.todos if todo.linked} - changing
    return plan.linked == plan.unchanged + len(changing) + len(plan.conflicts) + len(waiting)
