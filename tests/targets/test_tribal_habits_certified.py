"""Certified, lapsed and taken again: what is kept of an enrolment, whichever way it was told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.events.poll import read_back
from provisioner.planning.routes import known_by
from provisioner.sandbox import SandboxServer
from provisioner.targets.tribal_habits import events
from tests.targets.portal import PORTAL, Portal, person

DONE = "2024-04-09T09:39:32.353+10:00"
UNTIL = "2025-04-09T23:59:59.999+10:00"


def hooked(event: str, what: str = "topic", **more: Any) -> dict[str, str | None]:
    """What a webhook tells."""
    data = {"user_name": "E1", "knowledge_type": what, "knowledge_id": 16, "knowledge_title": "First aid",
            "updated_date": DONE, **more}  # fmt: skip
    (fact,) = events.event("t", {"event": event, "enrolment_id": 7, "enrolment_data": data}).facts
    return {"_name": fact.name, **fact.shows, **{f"+{name}": value for name, value in fact.gathers.items()}}


def listed(what: str = "topic", kind: int = 0, **more: Any) -> dict[str, str | None]:
    """What a list of assignments tells."""
    item = {"id": 16, "title": "First aid", **({"knowledge_type": kind} if what == "topic" else {})}
    record = {"id": 7, "updated_at": DONE, "person": {"user_name": "E1"}, what: item, **more}
    told = events.assignment(record, what)
    assert told is not None
    fact = told[1].fact()
    return {"_name": fact.name, **fact.shows, **{f"+{name}": value for name, value in fact.gathers.items()}}


def test_a_certificate_is_kept_with_its_date_either_way() -> None:
    by_hook = hooked("enrolment_completed", progress="completed", status="current", completed_date=DONE,
                     certified_date=UNTIL)  # fmt: skip
    by_list = listed(status="Conquered", completed_topic_at=DONE, certified_date=UNTIL)
    for told in (by_hook, by_list):
        assert told["certified.topic.16"] == UNTIL
        assert told["completed.topic.16"] == DONE
        assert told["progress.topic.16"] == "completed"
        assert told["+completed"] == "First aid"
    assert (by_hook["status.topic.16"], by_list["status.topic.16"]) == ("current", "conquered")


@pytest.mark.parametrize("status", ["lapsed", "expired", "Lapsed"])
def test_what_lapsed_is_not_completed(status: str) -> None:
    for told in (
        hooked("enrolment_lapsed", progress="completed", status=status, completed_date=DONE, certified_date=UNTIL),
        listed(status=status, completed_topic_at=DONE, certified_date=UNTIL),
    ):
        assert told["progress.topic.16"] == status.lower()
        assert told["completed.topic.16"] == DONE
        assert "+completed" not in told
        assert "last_completed" not in told


def test_who_takes_it_again_is_not_completed() -> None:
    assert (
        hooked("enrolment_updated", progress="exploring", status="current", completed_date=DONE)["progress.topic.16"]
        == "exploring"
    )
    for status in ("Exploring", "Unexplored", "Pre-enrolled"):
        told = listed(status=status, completed_topic_at=DONE)
        assert told["progress.topic.16"] == status.lower()
        assert "+completed" not in told
    assert listed("pathway", status="Conquered", conquered_at=DONE)["progress.pathway.16"] == "completed"


def test_a_record_without_a_status_goes_by_its_date() -> None:
    assert listed(completed_topic_at=DONE)["progress.topic.16"] == "completed"
    assert listed()["progress.topic.16"] is None
    assert hooked("enrolment_completed")["+completed"] == "First aid"


def test_an_article_is_one_item_by_webhook_and_by_list() -> None:
    by_list = listed(kind=1, status="Conquered", completed_topic_at=DONE)
    names = {
        by_list["_name"],
        hooked("enrolment_completed", "article")["_name"],
        hooked("enrolment_completed")["_name"],
    }
    assert names == {"enrolment.topic.7"}
    assert by_list["progress.article.16"] == by_list["progress.topic.16"] == "completed"
    assert hooked("enrolment_completed", "article")["completed.article.16"] == DONE
    assert listed("pathway")["_name"] == "enrolment.pathway.7"


@pytest.mark.parametrize("limit", [50, 0])
def test_whoever_is_adopted_later_gets_their_older_enrolments(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """One by one, and for many by reading everything again."""
    monkeypatch.setattr("provisioner.events.poll._ONE_BY_ONE", limit)
    with SandboxServer() as sandbox:
        portal = Portal(sandbox, redis_url, tmp_path)
        portal.board.seed(PORTAL, [{"user_name": "E2", "email": "e2@example.com", "first_name": "A", "last_name": "B"}])
        portal.board.options(PORTAL, clock_offset_seconds=-86_400 * 30)
        portal.board.act(PORTAL, "complete", user_name="E2", code="TH-4-78")
        portal.board.options(PORTAL, clock_offset_seconds=0)
        portal.roster([person(1)])
        portal.sync()
        assert portal.run(read_back).new == {PORTAL: 0}
        portal.roster([person(1), person(2)])
        assert portal.sync()["adopted"] == 1
        assert portal.run(read_back).new == {PORTAL: 1}
        facts = portal.run(lambda dep: dep.inbound.facts(["E2"]))
        assert known_by(facts["E2"][PORTAL])["completed"] == "Safety at work"
        # A new account of ours has nothing older
        portal.roster([person(1), person(2), person(3)])
        portal.sync()
        portal.board.clear_log(PORTAL)
        portal.run(read_back)
        assert not any(one["path"].endswith("/user/E3") for one in portal.board.log(PORTAL))


def test_what_was_read_before_a_page_failed_is_kept_and_the_next_reading_goes_on(
    redis_url: str, tmp_path: Path
) -> None:
    """Seven pages, of which the last two fail."""
    people = [person(number) for number in range(1, 8)]
    with SandboxServer() as sandbox:
        portal = Portal(sandbox, redis_url, tmp_path, page_size=1)
        portal.roster(people)
        portal.sync()
        for number in range(1, 8):
            portal.board.act(PORTAL, "complete", user_name=f"E{number}", code="TH-4-78")
        match = {"method": "GET", "path_prefix": "/papi/topic_assignments"}
        portal.board.fault(PORTAL, match=match, skip=5, times=None, status=500, body={"message": "no"})
        result = portal.run(read_back)
        assert "500" in result.failed[PORTAL]
        assert result.new[PORTAL] == 5
        portal.board.clear_faults(PORTAL)
        again = portal.run(read_back)
        assert (again.failed, again.new[PORTAL]) == ({}, 2)
        facts = portal.run(lambda dep: dep.inbound.facts([f"E{number}" for number in range(1, 8)]))
        assert {known_by(one[PORTAL])["completed"] for one in facts.values()} == {"Safety at work"}
