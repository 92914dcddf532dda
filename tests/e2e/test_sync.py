"""Roster to stand-ins and back, by the commands that an operator uses and a worker that really runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.site import KINDS, Site, with_worker

pytestmark = pytest.mark.timeout(180)

IDENTITY = ("id", "target", "person", "kind", "account", "before", "after", "drift")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One deployment and its worker for all tests of this file."""
    with with_worker(tmp_path_factory.mktemp("sync")) as site:
        yield site


@pytest.fixture
def site(live: Site) -> Site:
    """The deployment, with nothing done yet."""
    live.empty()
    return live


def total(document: dict[str, Any], figure: str) -> int:
    return sum(sum(target[figure].values()) for target in document["targets"].values())


def assert_balanced(document: dict[str, Any]) -> None:
    for name, target in document["targets"].items():
        planned = target["planned"]
        changing = sum(planned[kind] for kind in ("update", "role", "leave", "rejoin"))
        assert target["linked"] == target["unchanged"] + changing + target["conflicts"] + target["todo"], name
        ends = ("succeeded", "failed", "held", "waiting", "superseded", "rejected")
        for kind, count in planned.items():
            assert count == sum(target[end].get(kind, 0) for end in ends), (name, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_each_target_alone_comes_to_hold_the_roster(site: Site, kind: str) -> None:
    document = site.call("sync", "--target", kind, "--wait")
    assert document["status"] == "succeeded"
    assert list(document["targets"]) == [kind]
    assert site.wrong("roster.csv", kind) == []
    assert_balanced(document)
    others = {name: count for name, count in site.writes().items() if name != kind}
    assert set(others.values()) == {0}


def test_all_targets_at_once_and_then_nothing_more(site: Site) -> None:
    first = site.call("sync", "--wait")
    assert first["status"] == "succeeded"
    assert site.wrong("roster.csv") == []
    assert_balanced(first)
    site.forget_requests()
    second = site.call("sync", "--wait")
    assert second["status"] == "succeeded"
    assert total(second, "planned") == 0
    assert set(site.writes().values()) == {0}
    assert_balanced(second)

    site.write("day_two.csv")
    planned = site.call("plan")
    assert set(site.writes().values()) == {0}
    third = site.call("sync", "--wait")
    assert site.wrong("day_two.csv") == []
    assert total(third, "failed") == 0
    assert_balanced(third)
    done = site.call("show", third["run"], "--operations")["operations"]
    assert performed(done) == performed(planned["operations"])
    site.forget_requests()
    assert total(site.call("sync", "--wait"), "planned") == 0
    assert set(site.writes().values()) == {0}


def performed(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What identifies operations; an event tells the moment at which it was planned, and a joiner's has no id yet."""
    found = []
    for one in operations:
        kept = {name: one[name] for name in IDENTITY}
        kept["after"] = {name: value for name, value in one["after"].items() if name != "created_at"}
        if one["kind"] in ("create", "event", "enrol"):
            del kept["account"]
        found.append(kept)
    return sorted(found, key=lambda one: str((one["target"], one["person"], one["kind"], one["id"])))


def test_a_plan_changes_nothing_and_is_what_the_sync_then_does(site: Site) -> None:
    before = site.contents.dumps()
    planned = site.call("plan")
    assert planned["run"] is None
    assert set(site.writes().values()) == {0}
    assert site.contents.dumps() == before
    assert total(planned, "planned") == len(planned["operations"])
    document = site.call("sync", "--wait")
    done = site.call("show", document["run"], "--operations")["operations"]
    assert performed(done) == performed(planned["operations"])
    for name, target in document["targets"].items():
        assert target["planned"] == planned["targets"][name]["planned"]
        assert target["adopted"] == planned["targets"][name]["adopted"]

    kept = site.contents.dumps()
    site.forget_requests()
    assert site.call("plan")["operations"] == []
    assert set(site.writes().values()) == {0}
    after = site.contents.dumps()
    # Some keys end by themselves
    assert {key: kept.get(key) for key in after} == after


def test_one_person_is_synced_without_the_others(site: Site) -> None:
    site.call("sync", "--wait")
    site.write("day_two.csv")
    site.forget_requests()
    document = site.call("sync", "--person", "W10136", "--wait")
    assert document["status"] == "succeeded"
    people = {one["person"] for one in site.call("show", document["run"], "--operations")["operations"]}
    assert people == {"W10136"}
    assert not [fault for fault in site.wrong("day_two.csv") if "W10136" in fault]
    assert site.wrong("day_two.csv")
