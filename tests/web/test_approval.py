"""The page of what a run holds: one row a person over all targets, a filter, and exactly what was confirmed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

import msgspec
import pytest

from provisioner.admin.held import HeldFilter, held_people
from provisioner.model.held_document import HeldDocument
from provisioner.web.run_requests import known_run
from tests.web.conftest import VIEWER, Site, csrf_in

LABEL = {"label": "'Label of ' || first_name"}


def confirmed_in(page: str) -> str:
    """What has to come back with the confirmation."""
    found = re.search(r'name="confirmed" value="([0-9a-f]{32})"', page)
    assert found, page
    return found[1]


def decide(site: Site, run: str, fields: Mapping[str, Any]) -> Any:
    """Choose, look, and confirm."""
    page = f"/runs/{run}/approval"
    asked = site.send(page, page, fields)
    assert asked.status_code == 200, asked.text
    return site.send(page, page, {**fields, "confirmed": confirmed_in(asked.text)})


def held(site: Site, run: str) -> dict[str, Any]:
    """What the API says that is held, by target."""
    return {name: part["held"] for name, part in site.get(f"/api/runs/{run}").json()["targets"].items()}


def two_targets(make_site: Callable[..., Site]) -> tuple[Site, str]:
    """A site whose run holds five leavers in each of two targets."""
    site = make_site(only=("tribal_habits", "traitly"), reading=LABEL)
    run = site.held()["run"]
    site.sign_in()
    return site, run


def test_choosing_some_confirming_and_seeing_what_became_of_it(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    page = f"/runs/{run}/approval"
    text = site.client.get(page).text
    assert text.count('name="who"') == 5
    assert "5 leavers are more than the limit of 2" in text
    chosen = {"who": [f"W000{number}" for number in range(3)], "act": "approve", "reason": "known"}
    assert site.send(page, page, {"act": "approve"}).status_code == 409
    assert site.send(page, page, {"who": chosen["who"]}).status_code == 422
    asked = site.send(page, page, chosen)
    assert "Approve 3 operations of 3 people?" in asked.text
    assert held(site, run) == {"tribal_habits": {"leave": 5}}
    done = site.send(page, page, {**chosen, "confirmed": confirmed_in(asked.text)})
    assert "Approved: 3 operations" in done.text
    assert held(site, run) == {"tribal_habits": {"leave": 2}}
    site.drain()
    left = {one["user_name"] for one in site.switchboard.accounts("tribal_habits") if not one["active"]}
    assert left == {"W0000", "W0001", "W0002"}
    trail = site.work(lambda dep: dep.audit.newest(10))
    assert (trail[0]["by"], trail[0]["action"], trail[0]["people"], trail[0]["reason"]) == (
        "web:operator",
        "approved",
        ["W0000", "W0001", "W0002"],
        "known",
    )
    assert "W0002" in site.client.get("/audit").text


def test_a_person_is_one_row_over_all_targets(make_site: Callable[..., Site]) -> None:
    site, run = two_targets(make_site)
    text = unescape(site.client.get(f"/runs/{run}/approval").text)
    assert text.count('name="who"') == 5
    row = text.partition('value="W0001"')[2].partition("</tr>")[0]
    assert "Label of First1" in row
    assert 'data-label="tribal_habits"' in row
    assert 'data-label="traitly"' in row
    assert "5 people, 15 operations" in text
    done = decide(site, run, {"who": "W0001", "act": "approve"})
    # A leave in each, and the event that follows it
    assert "Approved: 3 operations" in done.text
    assert held(site, run) == {"tribal_habits": {"leave": 4}, "traitly": {"leave": 4, "event": 4}}


def test_a_filter_shows_some_and_these_are_decided_about(make_site: Callable[..., Site]) -> None:
    site, run = two_targets(make_site)
    page, action = f"/runs/{run}/approval", f"/runs/{run}/held"
    for text, rows in (("label of first3", 1), ("w0004", 1), ("LEAVER", 5), ("nobody", 0)):
        found = site.send(page, action, {"text": text}).text
        assert found.count('name="who"') == rows, text
    assert "Nothing that is held is of that choice" in site.send(page, action, {"text": "nobody"}).text
    assert "5 people, 5 operations by this filter" in site.client.get(f"{page}?target=tribal_habits").text
    # Only what the filter showed, though the person has more that is held
    fields = {"text": "first3", "target": "tribal_habits", "act": "approve_these"}
    assert "Approved: 1 operation" in decide(site, run, fields).text
    assert held(site, run) == {"tribal_habits": {"leave": 4}, "traitly": {"leave": 5, "event": 5}}
    assert "Rejected: 4 operations" in decide(site, run, {"target": "tribal_habits", "act": "reject_these"}).text
    assert held(site, run) == {"tribal_habits": {}, "traitly": {"leave": 5, "event": 5}}


def test_what_was_confirmed_is_what_is_done(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    page = f"/runs/{run}/approval"
    everybody = {"act": "approve_these"}
    confirmed = confirmed_in(site.send(page, page, everybody).text)
    site.post(f"/api/runs/{run}/reject", {"people": ["W0004"]})
    again = site.send(page, page, {**everybody, "confirmed": confirmed})
    assert "What is held changed meanwhile" in again.text
    assert "Approve 4 operations of 4 people?" in again.text
    assert held(site, run) == {"tribal_habits": {"leave": 4}}
    # A number of people is no proof of who they are
    assert "What is held changed meanwhile" in site.send(page, page, {**everybody, "confirmed": "4"}).text
    assert held(site, run) == {"tribal_habits": {"leave": 4}}


def test_a_viewer_filters_and_does_not_decide(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in(VIEWER)
    page = f"/runs/{run}/approval"
    found = site.send(page, f"/runs/{run}/held", {"text": "W0003"}).text
    assert "1 person, 1 operation by this filter" in found
    assert "Only an operator can decide" in found
    assert 'name="who"' not in found
    assert site.send(page, page, {"act": "approve_these"}).status_code == 403
    assert site.client.post(f"/runs/{run}/held", data={"text": "W0003"}).status_code == 403


def test_many_people_are_listed_page_by_page(site: Site) -> None:
    run = site.held(people=130, gone=tuple(range(104)))["run"]
    site.sign_in()
    first = site.client.get(f"/runs/{run}/approval").text
    assert first.count('name="who"') == 100
    assert "1 to 100 of 104 people" in first
    second = site.client.post(f"/runs/{run}/held", data={"csrf": csrf_in(first), "offset": "100"}).text
    assert second.count('name="who"') == 4
    asked = site.send(f"/runs/{run}/approval", f"/runs/{run}/approval", {"act": "approve_these"}).text
    assert "Approve 104 operations of 104 people?" in asked
    assert "and 4 more people" in asked


def test_people_are_shown_by_their_label_and_never_logged_by_it(
    make_site: Callable[..., Site], capfd: pytest.CaptureFixture[str]
) -> None:
    site = make_site(reading=LABEL)
    run = site.held()["run"]
    site.sign_in()
    page = f"/runs/{run}/approval"
    assert "Label of First1" in site.client.get(page).text
    chosen = {"who": ["W0001"], "act": "approve", "reason": "known"}
    confirm = site.send(page, page, chosen).text
    assert "Label of First1" in confirm
    assert "Label of First2" not in confirm
    assert "1 person, 1 operation" in site.send(page, f"/runs/{run}/held", {"text": "Label of First1"}).text
    assert "Label of First1" in site.client.get(f"/runs/{run}").text
    assert "Label of First1" in site.client.get("/people?key=W0001").text
    assert "Label of First1" in site.client.get("/todos").text
    assert site.get("/api/people/W0001").json()["label"] == "Label of First1"
    assert site.get("/api/todos").json()["labels"]["W0001"] == "Label of First1"
    told = capfd.readouterr()
    assert "Label of" not in told.out + told.err


def test_the_document_is_what_its_type_says(make_site: Callable[..., Site]) -> None:
    site, run = two_targets(make_site)

    async def read(dep: Any) -> Any:
        return await held_people(dep, run, await known_run(dep.runs, run), HeldFilter())

    found = site.work(read)
    assert msgspec.to_builtins(msgspec.convert(found, HeldDocument)) == found
    assert [(one["target"], one["count"], one["read"]) for one in found["targets"]] == [
        ("traitly", 10, 10),
        ("tribal_habits", 5, 5),
    ]
    assert found["kinds"] == ["leave", "event"]
