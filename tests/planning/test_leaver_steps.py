"""Leavers in steps: what is due on which day, what one leave brings, and that no timeline ends otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.model.account import Account, LedgerEntry
from provisioner.model.operation import ACCOUNT_KINDS, AccountChange, Kind
from provisioner.model.outcome import Done
from provisioner.planning.leaver_steps import days_of_leaving, next_step
from provisioner.planning.ledger_update import ledger_patch
from provisioner.planning.target_plan import TargetPlan
from tests.planning.support import TODAY, World, held_by, kinds_of, ledger_of, linked, person, spec_of

STEPS: Final[list[dict[str, Any]]] = [
    {"role_1": "'Guest'"},
    {"after": "30d", "active": "FALSE"},
    {"after": "90d", "role_1": "'None'", "groups": {"from": "NULL", "empty": "clear"}},
]
SPEC: Final = spec_of(leaver=STEPS)
SYDNEY: Final = ZoneInfo("Australia/Sydney")


def world(entry: LedgerEntry, *, held: Mapping[str, str] | None = None, verdict: str = "leaver", **cells: Any) -> World:
    """P1 with an account that holds these."""
    return World(SPEC, [person("P1", verdict, **cells)], [held_by("P1", **(held or {}))], [entry])


def only(plan: TargetPlan) -> AccountChange:
    """The one operation of a plan, of an account."""
    (operation,) = plan.operations
    assert isinstance(operation, AccountChange)
    return operation


def ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def test_the_first_step_is_a_leave_and_names_its_day() -> None:
    operation = only(world(linked("P1")).plan())
    assert (operation.kind, operation.after) == (Kind.LEAVE, {"role_1": "Guest"})
    assert (operation.left_on, operation.step, operation.further) == (TODAY.isoformat(), 1, False)
    patch = ledger_patch(operation, Done())
    assert (patch["state"], patch["left"], patch["step"]) == ("left", TODAY.isoformat(), 1)


@pytest.mark.parametrize(
    ("days", "after"),
    [(29, None), (30, {"active": "false"}), (89, {"active": "false"}), (90, {"active": "false", "role_1": "None"})],
)
def test_a_step_is_due_on_its_day_and_is_one_leave(days: int, after: dict[str, str] | None) -> None:
    entry = linked("P1", state="left", left=ago(days), step=1)
    plan = world(entry, held={"role_1": "Guest"}).plan()
    if after is None:
        assert plan.operations == ()
        assert plan.leavers == frozenset()
        return
    operation = only(plan)
    assert operation.kind is Kind.LEAVE
    assert {name: operation.after[name] for name in after} == after
    assert operation.further
    # It is unfinished as long as it is not acknowledged, and counts as any leave
    assert plan.leavers == {"P1"}
    assert plan.leavers_left == 0
    assert operation.counted


def test_who_was_gone_long_ago_goes_all_steps_at_once() -> None:
    recently = datetime(2026, 3, 1, tzinfo=SYDNEY).timestamp()
    for entry in (linked("P1"), linked("P1", state="left", recorded=recently)):
        operation = only(world(entry, ends=TODAY - timedelta(days=100)).plan())
        assert operation.kind is Kind.LEAVE
        assert operation.after == {"active": "false", "role_1": "None", "groups": None}
        assert (operation.left_on, operation.step) == (ago(99), 3)


def test_a_step_that_a_guard_holds_is_unfinished() -> None:
    people = [person(f"P{number}", "leaver") for number in range(3)] + [person("P9")]
    accounts = [held_by(f"P{number}", role_1="Guest") for number in range(3)] + [held_by("P9")]
    ledger = [linked(f"P{number}", state="left", left=ago(40), step=1) for number in range(3)] + [linked("P9")]
    spec = spec_of(leaver=STEPS, guards={"leavers": {"percent": 10}})
    plan = World(spec, people, accounts, ledger).plan()
    assert [one.planned_status.value for one in plan.operations] == ["held"] * 3
    assert plan.leavers == {"P0", "P1", "P2"}
    (trip,) = plan.guards
    assert "3 leavers are more than the limit of 1 (of 1 linked accounts)" in trip.sentence


def test_a_rehire_between_ends_it_and_gives_everything_back() -> None:
    entry = linked("P1", state="left", left=ago(40), step=2)
    operation = only(world(entry, held={"role_1": "Guest", "active": "false"}, verdict="employed").plan())
    assert (operation.kind, operation.after) == (Kind.REJOIN, {"role_1": "Learner", "active": "true"})
    assert "left" not in ledger_patch(operation, Done())


def test_the_fact_that_somebody_left_is_told_once() -> None:
    spec = spec_of("traitly", leaver=[{"plan": "'Leaver'"}, {"after": "30d", "plan": "'None'"}])
    account = Account("P1", {"customer_id": "P1", "name": "Ana Silva", "email": "p1@example.com", "plan": "Employee"})
    first = World(spec, [person("P1", "leaver")], [account], [linked("P1")])
    assert kinds_of(first.plan()) == {"P1": ["leave", "event"]}
    gone = replace(account, values={**account.values, "plan": "Leaver"})
    second = World(spec, [person("P1", "leaver")], [gone], [linked("P1", state="left", left=ago(30), step=1)])
    assert kinds_of(second.plan()) == {"P1": ["leave"]}
    # All at once is told, too
    late = World(spec, [person("P1", "leaver", ends=TODAY - timedelta(days=50))], [account], [linked("P1")])
    assert kinds_of(late.plan()) == {"P1": ["leave", "event"]}


def test_drift_of_a_step_that_was_done_is_no_leave() -> None:
    entry = linked("P1", state="left", left=ago(40), step=2, values={"active": "false", "role_1": "Guest"})
    operation = only(world(entry, held={"role_1": "Guest", "active": "true"}).plan())
    assert (operation.kind, operation.after, operation.drift) == (Kind.UPDATE, {"active": "false"}, True)


def test_an_entry_without_a_day_gets_one_that_stays() -> None:
    recorded = datetime(2026, 2, 20, tzinfo=SYDNEY).timestamp()
    entry = linked("P1", state="left", recorded=recorded)
    one = world(entry, held={"role_1": "Guest"})
    left = days_of_leaving(ledger_of([entry], SPEC), {}, SYDNEY)
    (link,) = one.plan(left=left).links
    assert (link.state, link.left, link.step) == ("left", "2026-02-20", 1)
    # With it in the ledger there is nothing more to record, however often it is read
    one.ledger = [linked("P1", state="left", left=link.left, step=1)]
    assert one.plan(left=days_of_leaving(ledger_of(one.ledger, SPEC), {}, SYDNEY)).links == ()


def test_a_held_leave_counts_from_when_it_was_noted() -> None:
    noted = datetime(2026, 2, 1, 23, 30, tzinfo=SYDNEY).timestamp()
    left = days_of_leaving(ledger_of([linked("P1")], SPEC), {"P1": noted}, SYDNEY)
    assert left == {"P1": date(2026, 2, 1)}
    operation = only(world(linked("P1")).plan(left=left))
    assert operation.after == {"role_1": "Guest", "active": "false"}
    assert (operation.left_on, operation.step, operation.further) == ("2026-02-01", 2, False)


def test_the_next_step_is_named_until_there_is_none() -> None:
    after = (0, 30, 90)
    assert next_step(after, TODAY, TODAY) == TODAY + timedelta(days=30)
    assert next_step(after, TODAY - timedelta(days=30), TODAY) == TODAY + timedelta(days=60)
    assert next_step(after, TODAY - timedelta(days=90), TODAY) is None


@pytest.mark.parametrize("day", [date(2026, 4, 4), date(2026, 10, 3)])
def test_days_are_counted_over_a_change_of_the_clock(day: date) -> None:
    """In Sydney a night in April has an hour more, one in October an hour less."""
    late = datetime(day.year, day.month, day.day, 23, 45, tzinfo=SYDNEY).timestamp()
    left = days_of_leaving(ledger_of([linked("P1")], SPEC), {"P1": late}, SYDNEY)
    assert left == {"P1": day}
    for days, due in ((29, 1), (30, 2)):
        today = day + timedelta(days=days)
        assert only(world(linked("P1")).plan(left=left, today=today)).step == due


Day = tuple[str, int, bool]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["employed", "leaver", "leaver", "unchanged"]), st.integers(0, 45), st.booleans()),
        max_size=6,
    )
)
def test_any_timeline_ends_as_if_computed_at_once(days: list[Day]) -> None:
    """Each day: the verdict of the roster, how many days later, and whether what is planned is acknowledged.

    After the last day everything is acknowledged. Then the account is what the days since the last leave say.
    """
    today, account, entry, noted = TODAY, held_by("P1"), linked("P1", recorded=0.0), dict[str, float]()
    left: date | None = None
    verdict = "employed"
    for said, later, acknowledged in [*days, ("unchanged", 0, True)]:
        today += timedelta(days=later)
        if said != "unchanged":
            verdict = said
        if said == "leaver" and left is None:
            left = today
        # A rehire that never reached the account ends nothing there
        if verdict == "employed" and (acknowledged or entry.state != "left"):
            left = None
        # As `note_leavers` does when a roster is accepted
        if said == "employed":
            noted = {}
        elif said == "leaver" and entry.state != "left" and not noted:
            noted = {"P1": datetime(today.year, today.month, today.day, 12, tzinfo=SYDNEY).timestamp()}
        known = days_of_leaving(ledger_of([entry], SPEC), noted, SYDNEY)
        plan = World(SPEC, [person("P1", verdict)], [account], [entry]).plan(today=today, left=known)
        for operation in plan.operations if acknowledged else ():
            if operation.kind in ACCOUNT_KINDS:
                patch = ledger_patch(operation, Done())
                account = replace(account, values={**account.values, **operation.after})
                entry = as_recorded(entry, patch)
                noted = noted if entry.state != "left" else {}
        if acknowledged:
            for link in plan.links:
                entry = as_recorded(entry, {"state": link.state, "left": link.left, "step": link.step})
    assert kinds_of(World(SPEC, [person("P1", verdict)], [account], [entry]).plan(
        today=today, left=days_of_leaving(ledger_of([entry], SPEC), noted, SYDNEY))) == {}  # fmt: skip
    wanted = {"role_1": "Learner", "active": "true", "groups": "Sales"}
    if left is not None:
        wanted["role_1"] = "Guest"
        if (today - left).days >= 30:
            wanted["active"] = "false"
        if (today - left).days >= 90:
            wanted |= {"role_1": "None", "groups": ""}
    assert {name: account.values[name] or "" for name in wanted} == wanted


def as_recorded(entry: LedgerEntry, patch: Mapping[str, Any]) -> LedgerEntry:
    """What lua/queue_common.lua makes of it."""
    state = patch.get("state", entry.state)
    day, step = (patch["left"], patch["step"]) if patch.get("left") else (entry.left, entry.step)
    if patch.get("state") == "active":
        day, step = "", 1
    values = {**entry.values, **patch.get("values", {})}
    return replace(entry, state=state, left=day, step=step, values=values)
