"""A plan does not depend on the order of the roster's rows, nor on how its file is written."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from provisioner.errors import RosterError
from provisioner.expressions.moments import UTC_ZONE
from provisioner.model.account import Account
from provisioner.planning.compiled import compile_target
from provisioner.planning.plan import plan_target
from provisioner.planning.spec import Observation, Planning, TargetSpec
from provisioner.roster import pushed
from provisioner.runs.judged_roster import people_of
from provisioner.runs.observe import frame_of
from provisioner.settings import RosterSettings
from tests.planning.support import BEGAN, NOW, TODAY, ledger_of, linked, spec_of

COLUMNS: Final = ("id", "first", "last", "mail", "boss", "site", "status", "primary", "since", "until")
ROSTER: Final[dict[str, Any]] = {
    "key": "id",
    "employed": "state = 'in'",
    "skip": "id LIKE 'Total%'",
    "starts": "since",
    "ends": "until",
    "dates": ["iso", "%d.%m.%Y"],
    "columns": {
        "login": "ASCII(LOWER(first)) || ASCII(LOWER(last))",
        "town": "COALESCE(place.city, 'Nowhere')",
        "state": "code.value",
        "team": "INITCAP(chief.last) || ' ' || town",
    },
    "lookups": {
        "chief": {"by": "boss"},
        "place": {"by": "site", "in": "sites.csv", "key": "code"},
        "code": {"by": "status", "values": {"active": "in", "on leave": "in", "left": "out"}, "default": "in"},
    },
    "pick": "CASE WHEN \"primary\" = 'yes' THEN 0 ELSE 1 END, since DESC",
}
SITES: Final = "code;city\n 1 ;Łódź\n2;Zürich\n3;\n3;Köln\n"
SPEC: Final[TargetSpec] = spec_of(
    match=["email"],
    scope="town <> 'Nowhere'",
    attributes={
        "user_name": {"first_free": ["login", "login || '.' || LOWER(id)"]},
        "first_name": "first",
        "last_name": "last",
        "email": "LOWER(mail)",
        "active": "TRUE",
        "manager_email": "LOWER(chief.mail)",
        "groups": "team || ';' || town",
    },
)
OUTER: Final = st.sampled_from(["", "", "", " ", "\u00a0", "\t", "\u200b", "  "])
NAMES: Final = st.sampled_from(["Ana", "Jürgen", "Łucja", "O'Neil", "Zoë", "Zoe\u0308", "a;b", 'q"r', "#N/A", ""])
KEYS: Final = st.sampled_from([f"E{number}" for number in range(8)] + ["e1", "Total"])


@dataclass(frozen=True, slots=True)
class Writing:
    """One way to write a table down."""

    encoding: str = "utf-8"
    delimiter: str = ","
    quoting: int = csv.QUOTE_MINIMAL
    end: str = "\n"

    def of(self, rows: list[tuple[str, ...]]) -> bytes:
        """The file."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, quoting=self.quoting, lineterminator=self.end)  # type: ignore[arg-type]
        writer.writerows([COLUMNS, *rows])
        return text.getvalue().encode(self.encoding)


WRITINGS: Final = st.builds(
    Writing,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)


@st.composite
def rosters(draw: st.DrawFn) -> list[tuple[str, ...]]:
    def padded(text: str) -> str:
        return draw(OUTER) + text + draw(OUTER)

    rows: list[tuple[str, ...]] = []
    for key in draw(st.lists(KEYS, min_size=1, max_size=12, unique=draw(st.booleans()))):
        mail = draw(st.sampled_from([f"{key}@example.com", f"{key.upper()}@Example.com", "shared@example.com", ""]))
        rows.append(
            (
                padded(key),
                padded(draw(NAMES)),
                padded(draw(NAMES)),
                padded(mail),
                padded(draw(KEYS)),
                padded(draw(st.sampled_from(["1", "2", "3", "4", "NULL"]))),
                padded(draw(st.sampled_from(["active", "Active", "left", "on leave", "", "n/a"]))),
                draw(st.sampled_from(["yes", "no", ""])),
                padded(draw(st.sampled_from(["2020-01-05", "05.01.2020", "2021-06-01", "x", ""]))),
                padded(draw(st.sampled_from(["", "", "31.12.9999", "2026-12-31", "2026-01-31"]))),
            )
        )
    return rows


def plan_of(content: bytes) -> dict[str, Any]:
    """All that a plan says, in no order; or why the roster cannot be read."""
    settings_ = RosterSettings(**ROSTER)
    tables = {"place": pushed(SITES.encode(), "sites.csv")}
    try:
        people, _ = people_of({"t": SPEC}, pushed(content, "r.csv"), settings_, TODAY, TODAY, UTC_ZONE, tables=tables)
    except RosterError as exc:
        return {"unreadable": exc.message}
    accounts = [
        Account(f"a{number}", {"user_name": f"a{number}", "email": f"e{number}@example.com", "active": "true"})
        for number in range(4)
    ]
    accounts.append(Account("ana", {"user_name": "ANA", "email": "stranger@example.com", "active": "true"}))
    ledger = ledger_of([linked("E0", "a0"), linked("E1", "a1", state="left")], SPEC)
    names = [name for name, attribute in SPEC.attributes.items() if attribute.observed]
    plan = plan_target(
        SPEC,
        compile_target(SPEC, people.columns),
        people.frame,
        Observation(frame_of(accounts, names), True, BEGAN),
        ledger,
        Planning(now=NOW, today=TODAY, ends=True, snapshot="sha256:0"),
    )
    found: dict[str, Any] = {
        "operations": {
            one.id: (one.person, one.kind, one.before, one.after, one.hold, one.row) for one in plan.operations
        },
        "links": set(plan.links),
        "conflicts": {(one.person, one.accounts) for one in plan.conflicts},
        "todos": {(one.person, one.sentence) for one in plan.todos},
        "faults": {(one.person, one.where, one.reason) for one in plan.faults},
        "orphans": set(plan.orphans),
        "counts": (plan.linked, plan.adopted, plan.unchanged, plan.base),
        "present": people.present,
        "people": set(people.frame["_key"].to_list()),
    }
    return found


@pytest.mark.timeout(300)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rosters(), WRITINGS, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_the_writing_changes_a_plan(
    rows: list[tuple[str, ...]], writing: Writing, chance: random.Random
) -> None:
    first = plan_of(Writing().of(rows))
    event(f"{min(len(first.get('operations', ())), 3)} operations")
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert plan_of(writing.of(shuffled)) == first


def test_the_property_speaks_of_plans_that_do_something() -> None:
    base = ("E5", "Łucja", "Zoë", "E5@example.com", "E6", " 1", "active\u00a0", "yes", "05.01.2020", "")
    other = ("E6", "Jürgen", "Ana", "e6@example.com", "E5", "2", "on leave", "no", "2020-01-05", "")
    second = ("E6", "Jürgen", "Old", "e6@example.com", "E5", "2", "on leave", "no", "2019-01-05", "")
    found = plan_of(Writing().of([base, second, other]))
    assert "unreadable" not in found, found
    creates = {one[0]: one[3] for one in found["operations"].values() if one[1] == "create"}
    assert creates["E5"]["user_name"] == "lucjazoe"
    assert creates["E5"]["manager_email"] == "e6@example.com"
    assert creates["E5"]["groups"] == "Ana Łódź;Łódź"
    assert creates["E6"]["last_name"] == "Ana"
    assert found["orphans"] >= {"ana"}
