"""Addresses that change hands: the portal refuses one that somebody has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.dispatch import retry_policy
from provisioner.sandbox import SandboxServer
from tests.targets.portal import PORTAL, Portal, person


@pytest.fixture
def portal(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    """A portal whose emails, and managers, come from columns of the roster."""
    monkeypatch.setattr(retry_policy, "_CAP", 0.0)
    with SandboxServer() as sandbox:
        made = Portal(sandbox, redis_url, tmp_path)
        made.document["guards"]["window"] = "0s"
        made.target["match"] = ["user_name"]
        made.target["attributes"] |= {"email": "licence", "manager_email": {"from": "obtained", "empty": "keep"}}
        yield made


def emails(portal: Portal) -> dict[str, str]:
    return {one["user_name"]: one["email"] for one in portal.board.accounts(PORTAL)}


def staff(*addresses: str, first: int = 1) -> list[dict[str, str]]:
    return [person(first + place, licence=f"{address}@x.org") for place, address in enumerate(addresses)]


@pytest.mark.parametrize("shift", [("b", "c"), ("c", "a")])
def test_an_address_freed_and_taken_in_one_batch_goes_over_at_once(portal: Portal, shift: tuple[str, str]) -> None:
    portal.roster(staff("a", "b"))
    portal.sync()
    portal.roster(staff(*shift))
    part = portal.sync()
    assert (part["succeeded"], part["failed"]) == ({"update": 2}, {})
    assert emails(portal) == {f"E{place + 1}": f"{address}@x.org" for place, address in enumerate(shift)}
    assert sum(portal.sync()["planned"].values()) == 0


def test_a_joiner_who_gets_a_freed_address_settles(portal: Portal) -> None:
    portal.roster(staff("a", "b"))
    portal.sync()
    portal.roster([*staff("a", first=0), *staff("c", "b")])
    part = portal.sync()
    assert (part["succeeded"], part["failed"]) == ({"create": 1, "update": 1}, {})
    assert emails(portal) == {"E0": "a@x.org", "E1": "c@x.org", "E2": "b@x.org"}


@pytest.mark.parametrize(("before", "after"), [("ab", "ba"), ("abc", "bca"), ("abcd", "badc")])
def test_who_swap_are_a_to_do_and_fail_in_no_run(portal: Portal, before: str, after: str) -> None:
    portal.roster(staff(*before))
    portal.sync()
    rows = staff(*after)
    rows[0]["last"] = "Renamed"
    portal.roster(rows)
    part = portal.sync()
    # What else changes goes on
    assert (part["succeeded"], part["failed"]) == ({"update": 1}, {})
    assert portal.held("E1")["last_name"] == "Renamed"
    todos = portal.run(lambda dep: dep.health.list(PORTAL, "todos"))
    assert len(todos) == len(before)
    assert "has it, and waits for another in turn" in str(todos)
    for _ in range(2):
        part = portal.sync()
        assert (sum(part["planned"].values()), part["failed"]) == (0, {})
    # Once a person has changed one, the others follow
    portal.board.seed(PORTAL, [{**portal.held("E1"), "email": "elsewhere@x.org"}])
    for _ in before:
        portal.sync()
    wanted = {f"E{place + 1}": f"{address}@x.org" for place, address in enumerate(after)}
    assert {name: emails(portal)[name] for name in ("E1", "E2")} == {name: wanted[name] for name in ("E1", "E2")}


def test_a_manager_who_is_made_in_the_same_batch_is_found(portal: Portal) -> None:
    """The text says nothing of it; a portal may refuse a manager whom it does not know."""
    refused = {"user_name": "E1", "error_reason": "Manager email is unknown"}
    body = {"created": 1, "updated": 0, "unchanged": 0, "errors": 1, "error_list": [refused]}
    portal.board.fault(PORTAL, match={"method": "POST"}, status=200, body=body, after=True)
    portal.roster([person(1, licence="a@x.org", obtained="b@x.org"), person(2, licence="b@x.org")])
    part = portal.sync()
    assert (part["succeeded"], part["failed"]) == ({"create": 2}, {})
    assert portal.writes() == 2
