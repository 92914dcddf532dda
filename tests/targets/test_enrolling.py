"""Enrolments and external knowledge from the roster to the portal: once each, and with as few requests as can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.dispatch import retry_policy
from provisioner.errors import ConfigurationError
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from provisioner.targets.tribal_habits import enrolments
from tests.support.harness import drain
from tests.support.redis_contents import RedisContents
from tests.targets.portal import PORTAL, Portal, person

TOPIC, SAFETY, PATHWAY, FIRST = "TH-4-77-NEW", "TH-4-78-NEW", "THP-4-22-NEW", "TH-4-16-NEW"
BATCH = "/papi/users/batch_save"
SINGLE = "/papi/topic_assignments"
KNOWLEDGE = "/papi/external_knowledges"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """Stand-ins without any state."""
    with SandboxServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(retry_policy, "_CAP", 0.0)


@pytest.fixture
def portal(sandbox: SandboxServer, redis_url: str, tmp_path: Path) -> Portal:
    """A portal in which Sales learn a topic, with a due date."""
    return Portal(
        sandbox, redis_url, tmp_path, enrolments=[{"code": TOPIC, "when": "team = 'Sales'", "due_in_days": 30}]
    )


def posts(portal: Portal) -> list[str]:
    """The paths of all writes since the run began."""
    return [one["path"] for one in portal.board.log(PORTAL) if one["method"] == "POST"]


def reads(portal: Portal, part: str) -> int:
    """How many reads there were whose path holds a text."""
    return sum(one["method"] == "GET" and part in one["path"] for one in portal.board.log(PORTAL))


def rules(*codes: str) -> list[dict[str, Any]]:
    """Everybody is enrolled in these."""
    return [{"code": code} for code in codes]


def test_a_joiner_and_their_courses_cost_one_request(portal: Portal) -> None:
    portal.roster([person(1), person(2, team="Support")])
    part = portal.sync()
    assert posts(portal) == [BATCH]
    assert part["planned"]["enrol"] == 1
    assert part["succeeded"] == {"create": 2, "enrol": 1}
    assert portal.enrolled() == [("E1", TOPIC)]
    assert portal.board.state(PORTAL)["enrolments"][0]["due_date"] is not None
    assert reads(portal, "_assignments/user/") == 0


def test_an_enrolment_is_made_once_ever(portal: Portal) -> None:
    portal.roster([person(1)])
    portal.sync()
    for team in ("Support", "Sales"):
        portal.roster([person(1, team=team)])
        assert portal.sync()["planned"]["enrol"] == 0
    assert portal.enrolled() == [("E1", TOPIC)]


def test_a_mover_is_enrolled_in_the_same_row(portal: Portal) -> None:
    portal.roster([person(1, team="Support")])
    portal.sync()
    portal.roster([person(1)])
    assert portal.sync()["succeeded"] == {"role": 1, "enrol": 1}
    assert posts(portal) == [BATCH]


def test_somebody_who_changes_nothing_else_is_enrolled_alone(portal: Portal) -> None:
    portal.target["enrolments"] = []
    portal.roster([person(1)])
    portal.sync()
    portal.target["enrolments"] = rules(TOPIC, PATHWAY)
    assert portal.sync()["succeeded"] == {"enrol": 2}
    assert posts(portal) == [SINGLE]
    assert portal.sync()["planned"]["enrol"] == 0


def test_five_ride_and_the_others_follow(portal: Portal) -> None:
    words = [f"TH-4-77-{word}" for word in ("NEW", "A", "B", "C", "D", "E", "F")]
    portal.target["enrolments"] = rules(*words)
    portal.roster([person(1)])
    assert portal.sync()["succeeded"] == {"create": 1, "enrol": 7}
    assert posts(portal) == [BATCH, SINGLE]
    assert sorted(portal.enrolled()) == sorted(("E1", word) for word in words)


def test_a_code_that_means_nothing_costs_nobody_the_account(portal: Portal) -> None:
    portal.target["enrolments"] = rules(TOPIC, "TH-4-999-NEW")
    portal.roster([person(1), person(2)])
    part = portal.sync()
    assert part["succeeded"] == {"create": 2, "enrol": 2}
    assert part["failed"] == {"enrol": 2}
    assert [one["user_name"] for one in portal.board.accounts(PORTAL)] == ["E1", "E2"]


def test_a_portal_whose_rows_carry_no_enrolments_gets_them_alone(portal: Portal) -> None:
    body = {"created": 1, "updated": 0, "unchanged": 0, "enrolled": 0, "errors": 0, "error_list": []}
    portal.board.fault(PORTAL, match={"path_prefix": BATCH}, status=200, body=body, times=1)
    portal.roster([person(1)])
    portal.board.seed(PORTAL, [])
    part = portal.sync()
    assert part["succeeded"] == {"create": 1}
    assert posts(portal)[:2] == [BATCH, SINGLE]


def test_a_row_of_which_a_field_fails_costs_nobody_their_enrolments(portal: Portal) -> None:
    portal.target["attributes"]["language"] = "'xx'"
    portal.roster([person(1)])
    part = portal.sync()
    assert part["failed"] == {"create": 1}
    assert part["succeeded"] == {"enrol": 1}
    assert portal.enrolled() == [("E1", TOPIC)]
    assert posts(portal)[-1] == SINGLE
    portal.target["attributes"].pop("language")
    assert portal.sync()["succeeded"] == {}


def test_what_rides_waits_for_the_same_approval(portal: Portal) -> None:
    portal.document["guards"] = {"creates": {"percent": 1, "absolute": 0}}
    portal.roster([person(1)])
    part = portal.sync()
    assert part["held"] == {"create": 1, "enrol": 1}
    assert posts(portal) == []

    async def approve(dep: Deployment) -> list[str]:
        (run,) = await dep.runs.recent(1)
        decided = await decide_about(dep, run, "approved", Choice(), by="test")
        await drain(dep)
        return [one["kind"] for one in decided.done]

    assert sorted(portal.run(approve)) == ["create", "enrol"]
    assert posts(portal) == [BATCH]
    assert portal.enrolled() == [("E1", TOPIC)]


def test_a_row_whose_answer_was_lost_is_looked_up(portal: Portal) -> None:
    portal.board.fault(PORTAL, match={"path_prefix": BATCH}, drop="after", times=1)
    portal.roster([person(1)])
    assert portal.sync()["succeeded"] == {"create": 1, "enrol": 1}
    assert portal.enrolled() == [("E1", TOPIC)]
    assert posts(portal) == [BATCH]


def test_what_exists_is_not_asked_for_again(portal: Portal) -> None:
    portal.target["enrolments"] = rules(TOPIC, PATHWAY)
    portal.roster([person(number) for number in range(3)])
    portal.sync()
    before = portal.enrolled()

    async def forget(dep: Any) -> None:
        RedisContents(dep).lose_everything()

    portal.run(forget)
    part = portal.sync()
    assert (part["adopted"], part["planned"]["enrol"]) == (3, 0)
    assert portal.enrolled() == before
    portal.sync()
    assert reads(portal, "_assignments/user/") == 0


def test_many_people_are_looked_up_by_one_listing(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolments, "FEW", 2)
    portal.target["enrolments"] = rules(TOPIC)
    portal.roster([person(number) for number in range(2)])
    portal.sync()

    async def forget(dep: Any) -> None:
        RedisContents(dep).lose_everything()

    portal.run(forget)
    portal.board.seed(
        PORTAL, [{"user_name": "E2", "first_name": "Ann", "last_name": "Lee2", "email": "e2@example.com"}]
    )
    portal.roster([person(number) for number in range(3)])
    part = portal.sync()
    assert part["succeeded"] == {"role": 1, "enrol": 1}
    assert reads(portal, "_assignments/user/") == 0
    assert portal.enrolled() == [("E0", TOPIC), ("E1", TOPIC), ("E2", TOPIC)]


def test_enrolments_that_cannot_be_read_hold_up_nothing_else(portal: Portal) -> None:
    portal.roster([person(1, team="Support"), person(2, team="Support")])
    portal.sync()
    portal.board.fault(PORTAL, match={"path_prefix": "/papi/topics"}, status=404, times=None)
    portal.roster([person(1), person(2, team="Support", last="New")])
    part = portal.sync()
    assert part["succeeded"] == {"role": 1, "update": 1}
    assert "1 enrolments wait for the next run" in part["notes"][0]
    portal.board.clear_faults(PORTAL)
    assert portal.sync()["succeeded"] == {"enrol": 1}


LICENCE = {
    "title": "'Forklift'",
    "provider": "'WorkSafe'",
    "knowledge_type": 4,
    "date_obtained": "obtained",
    "certificate_number": "licence",
    "total_time": 90,
    "when": "licence IS NOT NULL",
}


@pytest.fixture
def licences(portal: Portal) -> Portal:
    """A portal that is told of licences."""
    portal.target.update(enrolments=[], external_knowledge=[LICENCE])
    return portal


def records(portal: Portal) -> list[tuple[str, str, str]]:
    """What the portal knows of licences: user name, number and day."""
    known = portal.board.state(PORTAL)["external_knowledges"]
    return [(one["user_name"], one["certificate_number"], one["date_obtained"]) for one in known]


def test_a_licence_is_told_of_once(licences: Portal) -> None:
    licences.roster([person(1, licence="F-1", obtained="2024-06-01"), person(2)])
    part = licences.sync()
    assert part["succeeded"] == {"create": 2, "enrol": 1}
    assert records(licences) == [("E1", "F-1", "2024-06-01")]
    assert licences.board.state(PORTAL)["external_knowledges"][0]["total_time"] == 90
    assert licences.sync()["planned"]["enrol"] == 0
    licences.roster([person(1, licence="F-1", obtained="2026-06-01"), person(2, licence="F-2")])
    assert licences.sync()["succeeded"] == {"enrol": 1}
    assert records(licences) == [("E1", "F-1", "2024-06-01"), ("E1", "F-1", "2026-06-01")]


def test_a_licence_with_a_wrong_day_is_listed_and_not_told(licences: Portal) -> None:
    licences.roster([person(1, licence="F-1", obtained="1/6/24")])
    assert licences.sync()["planned"]["enrol"] == 0
    message = licences.plan()["targets"][PORTAL]["lists"]["todos"][0]["message"]
    assert message.startswith("targets.tribal_habits.external_knowledge[0].date_obtained: ")


def test_a_licence_of_which_no_answer_came_is_never_told_twice(licences: Portal) -> None:
    licences.roster([person(1)])
    licences.sync()
    licences.roster([person(1, licence="F-1", obtained="2024-06-01")])
    licences.board.fault(PORTAL, match={"path_prefix": KNOWLEDGE, "method": "POST"}, drop="after", times=1)
    assert licences.sync()["failed"] == {"enrol": 1}
    assert licences.sync()["planned"]["enrol"] == 0
    assert len(records(licences)) == 1


def test_a_licence_that_surely_did_not_arrive_is_told_again(licences: Portal) -> None:
    licences.board.fault(PORTAL, match={"path_prefix": KNOWLEDGE, "method": "POST"}, drop="before", times=1)
    licences.roster([person(1, licence="F-1", obtained="2024-06-01")])
    assert licences.sync()["succeeded"] == {"create": 1, "enrol": 1}
    assert len(records(licences)) == 1


@pytest.mark.parametrize(
    "entry",
    [
        {**LICENCE, "titel": "'x'"},
        {name: text for name, text in LICENCE.items() if name != "provider"},
        {**LICENCE, "title": "UPPER(title"},
        {**LICENCE, "when": "MAX(licence) = 'x'"},
    ],
)
def test_wrong_entries_are_refused_before_anything_is_sent(licences: Portal, entry: dict[str, Any]) -> None:
    licences.target["external_knowledge"] = [entry]
    licences.roster([person(1)])
    with pytest.raises(ConfigurationError, match=r"external_knowledge\[0\]"):
        licences.plan()
