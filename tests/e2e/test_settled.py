"""What targets show of what they accepted: late, never, or otherwise. By the commands, with a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.site import KINDS, Site, with_worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

#: Longer than `guards.settle`.
LATER = 3600.0


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One deployment and its worker for all tests of this file; whatever is missing is believed to be."""
    with with_worker(tmp_path_factory.mktemp("settled"), guards={"missing": {"percent": 100}}) as site:
        yield site


@pytest.fixture
def site(live: Site) -> Site:
    """The deployment, with nothing done yet."""
    live.empty()
    return live


def planned(document: dict[str, Any], kind: str) -> dict[str, int]:
    return {name: target["planned"][kind] for name, target in document["targets"].items()}


def test_an_account_that_a_listing_does_not_show_yet_is_not_made_again(site: Site) -> None:
    for kind in KINDS:
        site.switchboard.options(kind, listing_lag_seconds=LATER)
    first = site.call("sync", "--wait")
    assert all(count > 0 for count in planned(first, "create").values())
    accounts = {kind: len(site.switchboard.accounts(kind)) for kind in KINDS}
    events = site.switchboard.state("traitly")["events"]
    assert events
    site.forget_requests()
    second = site.call("sync", "--wait")
    assert second["status"] == "succeeded"
    assert {kind: sum(target["planned"].values()) for kind, target in second["targets"].items()} == dict.fromkeys(
        KINDS, 0
    )
    assert site.writes() == dict.fromkeys(KINDS, 0)
    assert {kind: len(site.switchboard.accounts(kind)) for kind in KINDS} == accounts
    assert site.switchboard.state("traitly")["events"] == events
    for kind in KINDS:
        count = planned(first, "create")[kind]
        assert f"does not show {count} new accounts yet" in " ".join(second["targets"][kind]["notes"])

    # Leavers among them leave nevertheless, but where nobody can see yet whether they are protected
    site.write("day_two.csv")
    third = site.call("sync", "--wait", code=4)
    assert all(count > 0 for kind, count in planned(third, "leave").items() if kind != "tribal_habits")
    assert any("protected" in one["message"] for one in site.call("todos", "--target", "tribal_habits")["todos"])

    # Shown at last; what is removed after the time of grace is missing as ever
    for kind in KINDS:
        site.switchboard.options(kind, listing_lag_seconds=0.0)
        site.contents.age_links(kind, LATER)
    made = next(one for one in site.call("show", first["run"], "--operations")["operations"] if one["kind"] == "create")
    gone = next(
        one["customer_id"]
        for one in site.switchboard.accounts("traitly")
        if one["customer_id"] == made["person"] and one["plan"] == "Employee"
    )
    site.switchboard.remove("traitly", gone)
    fourth = site.call("sync", "--wait")
    assert planned(fourth, "create") == {**dict.fromkeys(KINDS, 0), "traitly": 1}
    # Made again by right, so it was onboarded again
    assert site.wrong("day_two.csv") == [f"traitly: {gone} has 2 events 'Onboarded', not 1."]


@pytest.mark.parametrize("kind", ["tribal_habits", "mtribes"])
def test_what_is_accepted_and_never_kept_fails_by_name_after_the_second_time(site: Site, kind: str) -> None:
    one_target = ("--target", kind, "--wait")
    site.switchboard.options(kind, forget_creates=True)
    first = site.call("sync", *one_target)
    count = planned(first, "create")[kind]
    assert first["targets"][kind]["succeeded"]["create"] == count > 0
    site.contents.age_links(kind, LATER)
    second = site.call("sync", *one_target)
    assert second["targets"][kind]["succeeded"]["create"] == count
    site.contents.age_links(kind, LATER)

    site.forget_requests()
    foretold = site.call("plan", "--target", kind, code=5)
    assert foretold["targets"][kind]["failed"]["create"] == count
    third = site.call("sync", *one_target, code=5)
    assert third["targets"][kind]["failed"] == {"create": count}
    assert third["targets"][kind]["planned"]["create"] == count
    assert site.writes()[kind] == 0
    todos = [one for one in site.call("todos", "--target", kind)["todos"] if one.get("code") == "not_kept"]
    assert len(todos) == count
    assert f"{kind} accepted a new account for this person 2 times in a row" in todos[0]["message"]
    failed = site.call("show", third["run"], "--failed")["operations"]
    assert {one["error"]["code"] for one in failed} == {"not_kept"}
    assert {one["person"] for one in failed} == {one["person"] for one in todos}
    why = site.call("why", todos[0]["person"])
    assert todos[0]["message"] in why["targets"][kind]["todos"]

    # Once the target keeps what it accepts, somebody says so
    site.switchboard.options(kind, forget_creates=False)
    site.call("retry", third["run"], "--wait")
    last = site.call("sync", *one_target)
    assert sum(last["targets"][kind]["planned"].values()) == 0
    assert [one for one in site.call("todos", "--target", kind)["todos"] if one.get("code")] == []
    assert site.wrong("roster.csv", kind) == []


def loops(site: Site, kind: str) -> list[dict[str, Any]]:
    return [one for one in site.call("todos", "--target", kind)["todos"] if one.get("code") == "rewrite_loop"]


def test_a_change_that_does_not_stay_is_written_no_more_and_holds_up_nothing(site: Site) -> None:
    kind = "tribal_habits"
    one_target = ("--target", kind, "--wait")
    site.switchboard.options(kind, stubborn={"X-Country": "AU"})
    first = site.call("sync", *one_target)
    count = planned(first, "create")[kind]
    for _ in range(2):
        again = site.call("sync", *one_target)
        # More than half of all, and yet no guard holds what was written like that before
        assert again["targets"][kind]["succeeded"]["update"] >= count
        assert again["targets"][kind]["held"] == {}
        assert loops(site, kind) == []
    site.write("day_two.csv")
    site.forget_requests()
    third = site.call("sync", *one_target)
    assert third["status"] == "succeeded"
    assert 0 < planned(third, "update")[kind] < count
    found = loops(site, kind)
    assert len(found) > 0.8 * count
    assert {(one["attribute"], one["observed"]) for one in found} == {("X-Country", "AU")}
    person, since = found[0]["person"], found[0]["since"]
    assert f"X-Country was written as '{found[0]['written']}' and accepted, and shows 'AU'" in found[0]["message"]
    why = site.call("why", person)["targets"][kind]
    assert found[0]["message"] in why["todos"]
    assert list(why["link"]["unkept"]) == ["X-Country"]
    quiet = site.call("sync", *one_target)
    # Of those who came or moved on the second day it is not known yet
    assert sum(quiet["targets"][kind]["planned"].values()) < 0.3 * count
    written = {one["person"] for one in site.call("show", quiet["run"], "--operations")["operations"]}
    assert person not in written
    assert {one["since"] for one in loops(site, kind) if one["person"] == person} == {since}
    changes = next(row for row in site.call("drift", "--target", kind)["drift"] if row["person"] == person)
    assert (changes["then"], changes["attributes"][0]["because"].endswith("see the to-dos.")) == ("report", True)

    # Another value over there ends it, and what is written stays now
    site.switchboard.options(kind, stubborn={})
    site.switchboard.seed(kind, [{"user_name": why["link"]["account"], "X-Country": "NZ"}])
    last = site.call("sync", *one_target)
    assert person in {one["person"] for one in site.call("show", last["run"], "--operations")["operations"]}
    assert person not in {one["person"] for one in loops(site, kind)}
    site.call("sync", *one_target)
    assert site.call("why", person)["targets"][kind]["link"]["unkept"] == {}


def test_a_leave_that_was_acknowledged_and_does_not_show_is_not_done(site: Site) -> None:
    kind = "traitly"
    one_target = ("--target", kind, "--wait")
    site.call("sync", *one_target)
    site.switchboard.options(kind, stubborn={"plan": "Employee"})
    site.write("day_two.csv")
    left = site.call("sync", *one_target)
    assert left["targets"][kind]["succeeded"]["leave"] > 0
    operations = site.call("show", left["run"], "--operations")["operations"]
    person = next(one["person"] for one in operations if one["kind"] == "leave")
    assert site.call("why", person)["receipt"]["targets"][kind]["status"] == "done"
    for _ in range(2):
        # Nobody may take it for done while it is tried again
        site.call("sync", *one_target, code=4)
        receipt = site.call("why", person)["receipt"]
        assert receipt["finished_at"] is None
        assert receipt["targets"][kind]["status"] == "waiting"
        assert "shows otherwise" in receipt["targets"][kind]["message"]
    stopped = site.call("sync", *one_target, code=5)
    assert stopped["targets"][kind]["failed"]["update"] == left["targets"][kind]["succeeded"]["leave"]
    assert person in {one["person"] for one in loops(site, kind)}
    failed = site.call("show", stopped["run"], "--failed")["operations"]
    assert {one["error"]["code"] for one in failed} == {"rewrite_loop"}

    # Somebody settles it over there
    site.switchboard.options(kind, stubborn={})
    accounts = [
        one for one in site.switchboard.accounts(kind) if one["customer_id"] in {row["person"] for row in failed}
    ]
    site.switchboard.seed(kind, [{**one, "plan": "Leaver"} for one in accounts])
    assert site.call("sync", *one_target)["status"] == "succeeded"
    assert site.call("why", person)["receipt"]["targets"][kind]["status"] == "done"
    assert loops(site, kind) == []


def test_groups_that_others_added_wait_for_approval_and_stay_where_they_are_merged(site: Site) -> None:
    kind = "tribal_habits"
    one_target = ("--target", kind, "--wait")
    site.call("sync", *one_target)
    accounts = [one for one in site.switchboard.accounts(kind) if one["active"] and one["groups"]]
    by_hand = {one["user_name"]: f"{one['groups']};Choir" for one in accounts[: len(accounts) // 2]}
    site.switchboard.seed(kind, [{"user_name": name, "groups": groups} for name, groups in by_hand.items()])
    site.forget_requests()
    held = site.call("sync", *one_target, code=4)
    count = held["targets"][kind]["held"]["update"]
    assert 0 < count <= len(by_hand)
    (guard,) = held["targets"][kind]["guards"]
    assert f"groups 'Choir' of {count}" in guard
    assert site.writes()[kind] == 0
    # With what the mapping says of groups merged, nothing is left to do, and nothing was taken away
    config = yaml.safe_load(site.config.read_text(encoding="utf-8"))
    rule = config["targets"][kind]["attributes"]["groups"]
    config["targets"][kind]["attributes"]["groups"] = {"from": rule, "set": "merge"}
    site.config.write_text(yaml.safe_dump(config), encoding="utf-8")
    plan = site.call("plan", "--target", kind)
    assert plan["operations"] == []
    shown = {one["user_name"]: one["groups"] for one in site.switchboard.accounts(kind)}
    assert {name: shown[name] for name in by_hand} == by_hand


def test_a_leaver_whose_tags_stay_is_not_done_and_is_named(site: Site) -> None:
    one_target = ("--target", "mtribes", "--wait")
    site.switchboard.options("mtribes", tags_merge=True)
    site.call("sync", *one_target)
    site.write("day_two.csv")
    left = site.call("sync", *one_target)
    gone = sorted(
        one["person"]
        for one in site.call("show", left["run"], "--operations")["operations"]
        if one["kind"] == "leave" and one["target"] == "mtribes"
    )
    assert gone
    held = {one["id"]: one["tags"] for one in site.switchboard.accounts("mtribes")}
    assert all(len(held[person]) > 1 for person in gone)
    site.call("sync", *one_target, code=4)
    site.call("sync", *one_target, code=4)
    site.call("sync", *one_target, code=5)
    named = {one["person"] for one in loops(site, "mtribes")}
    assert named >= set(gone)
