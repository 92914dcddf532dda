"""What makes a roster believed, at the edge of each limit."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from provisioner.roster import Baseline, People, Verdict, gate
from provisioner.roster.gate import limit
from provisioner.roster.values import TableFacts
from tests.roster.support import HEADER, people, people_of, settings, staff

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HUNDRED = Baseline.of(people(*staff(100)))
MAPPED = ("employee_id", "work_email")


def verdict(
    found: People, baseline: Baseline | None = HUNDRED, modified: datetime | None = NOW, **gates: object
) -> Verdict:
    return gate(found, baseline, settings(gate=gates), mapped=MAPPED, modified=modified, now=NOW)


@pytest.mark.parametrize(
    ("percent", "base", "expected"),
    [
        (10, 0, 1),
        (10, 9, 1),
        (10, 19, 1),
        (10, 20, 2),
        (10, 29, 2),
        (2, 500, 10),
        (0, 1000, 1),
        (100, 7, 7),
        (0.7, 1000, 7),
    ],
)
def test_a_limit_is_the_floor_of_the_share_but_at_least_one(percent: float, base: int, expected: int) -> None:
    assert limit(percent, base) == expected


def test_the_same_people_again_are_clean() -> None:
    assert verdict(people(*staff(100))) == Verdict("clean")


def test_a_first_roster_is_compared_with_nothing() -> None:
    assert verdict(people(*staff(3)), None).status == "clean"


@pytest.mark.parametrize(("left", "status"), [(90, "clean"), (89, "degraded")])
def test_shrinking(left: int, status: str) -> None:
    found = verdict(people(*staff(left)), max_leaving="100%")
    assert found.status == status
    if found.reasons:
        (reason,) = found.reasons
        assert reason.startswith("The roster shrank from 100 people to 89, by 11, more than roster.gate.max_shrink")
        assert reason.endswith("allows (10% of 100 is 10).")


@pytest.mark.parametrize(("bad", "status"), [(2, "clean"), (3, "rejected")])
def test_rejected_rows(bad: int, status: str) -> None:
    rows = [*staff(100 - bad), *(f"P{number:04d},N" for number in range(101 - bad, 101))]
    found = verdict(people(*rows))
    assert found.status == status
    if found.reasons:
        assert "3 of 100 rows are rejected" in found.reasons[0]
        assert "line 99 (P0098): has 2 cells" in found.reasons[0]


def test_both_rows_of_a_doubled_key_count() -> None:
    rows = [*staff(100), "P0001,N,,active,,", "P0002,N,,active,,"]
    assert verdict(people(*rows)).status == "rejected"


@pytest.mark.parametrize(("bad", "status"), [(1, "clean"), (2, "rejected")])
def test_one_bad_row_is_always_allowed(bad: int, status: str) -> None:
    assert verdict(people(*staff(3), *["x"] * bad), None).status == status


def test_nobody_is_rejected() -> None:
    assert verdict(people_of(HEADER)) == Verdict("rejected", ("No valid person is among 0 rows.",))


@pytest.mark.parametrize(("leaving", "status"), [(20, "clean"), (21, "degraded")])
def test_newly_leaving(leaving: int, status: str) -> None:
    rows = [*staff(100 - leaving), *staff(leaving, start=101 - leaving, status="left")]
    found = verdict(people(*rows))
    assert found.status == status
    assert all(f"{leaving} people are newly leaving" in reason for reason in found.reasons)


def test_the_vanished_count_as_leaving_too() -> None:
    rows = [*staff(75), *staff(15, start=76, status="left")]
    assert "25 people are newly leaving" in " ".join(verdict(people(*rows), max_shrink="50%").reasons)


def test_who_had_left_before_is_not_newly_leaving() -> None:
    rows = [*staff(60), *staff(40, start=61, status="left")]
    found = people(*rows)
    assert verdict(found, Baseline.of(found)).status == "clean"


def test_rejected_rows_neither_leave_nor_shrink() -> None:
    rows = [*staff(70), *(f"P{number:04d},N" for number in range(71, 101))]
    assert verdict(people(*rows), max_rejected="50%").status == "clean"


def test_the_renamed_do_not_leave() -> None:
    header = f"{HEADER},was"
    rows = [f"N{number},Name,,active,,,P{number:04d}" for number in range(1, 101)]
    assert verdict(people_of("\n".join([header, *rows]), previous_key="was")).status == "clean"


@pytest.mark.parametrize(("blank", "status"), [(20, "clean"), (21, "degraded")])
def test_a_column_that_loses_its_values(blank: int, status: str) -> None:
    rows = [*staff(100 - blank), *staff(blank, start=101 - blank, email=False)]
    found = verdict(people(*rows))
    assert found.status == status
    assert all("21 people lost their value in the column 'work_email'" in reason for reason in found.reasons)


def test_a_column_that_nobody_maps_may_lose_its_values() -> None:
    rows = [row.replace("Name", "") for row in staff(100)]
    assert verdict(people(*rows)).status == "clean"


def test_leavers_and_joiners_may_be_blank() -> None:
    baseline = Baseline.of(people(*staff(40)))
    rows = [*staff(32), *staff(8, start=33, status="left", email=False), *staff(30, start=41, email=False)]
    assert verdict(people(*rows), baseline).status == "clean"


@pytest.mark.parametrize(("days", "status"), [(7, "clean"), (8, "degraded")])
def test_age(days: int, status: str) -> None:
    found = verdict(people(*staff(100)), modified=NOW - timedelta(days=days))
    assert found.status == status
    assert found.reasons == (
        ()
        if status == "clean"
        else ("The roster was last written 2026-02-22 12:00 UTC, longer ago than roster.gate.max_age (7d).",)
    )


def test_an_unknown_age_is_no_age() -> None:
    assert verdict(people(*staff(100)), modified=None).status == "clean"


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (36, None),
        (35, "The file of roster.lookups.site shrank from 40 rows to 35, more than roster.gate.max_shrink allows (10%"),
        (0, "The file of roster.lookups.site is empty."),
        (400, None),
    ],
)
def test_a_look_up_s_file_that_shrank(rows: int, reason: str | None) -> None:
    def with_table(count: int) -> People:
        return replace(people(*staff(100)), tables={"site": TableFacts(count, f"sha256:{count}")})

    found = verdict(with_table(rows), Baseline.of(with_table(40)))
    assert found.status == ("degraded" if reason else "clean")
    assert [one.startswith(str(reason)) for one in found.reasons] == ([True] if reason else [])


def test_every_reason_is_told() -> None:
    found = verdict(people(*staff(50)), modified=NOW - timedelta(days=30))
    assert len(found.reasons) == 3


def test_a_baseline_survives_json() -> None:
    again = Baseline.from_json(json.loads(json.dumps(HUNDRED.to_json())))
    assert again.people == 100
    assert again.employed.equals(HUNDRED.employed)
    assert len(Baseline.of(people(*staff(2000))).to_bytes()) < 20_000
