"""Between full listings only what changed is read, and nothing is overlooked or corrected twice for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from provisioner.model.account import Account
from provisioner.runs import lifecycle, observe
from provisioner.runs.observe import accounts_of, frame_of
from provisioner.sandbox import SandboxServer
from provisioner.store.runs.documents import Request
from tests.support.redis_contents import RedisContents
from tests.targets.portal import PORTAL, Portal, person

PEOPLE = 25
FULL = 3  #: pages of ten
LONG_AGO = "2020-01-01T00:00:00.000+00:00"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """Stand-ins without any state."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def portal(sandbox: SandboxServer, redis_url: str, tmp_path: Path) -> Portal:
    """Everybody has an account, made long ago, and the portal was listed once."""
    made = Portal(sandbox, redis_url, tmp_path)
    made.roster([person(number) for number in range(PEOPLE)])
    made.sync()
    accounts = [{"user_name": one["user_name"], "updated_at": LONG_AGO} for one in made.board.accounts(PORTAL)]
    made.board.seed(PORTAL, accounts)
    made.sync(full=True)
    RedisContents(redis_url).age_links(PORTAL, 3600)
    return made


def filters(portal: Portal) -> list[bool]:
    """Of each request for users: whether it asked for changes only."""
    return ["updated_at" in query for query in portal.listings()]


def is_delta(portal: Portal) -> bool:
    """Whether the last run asked for changes and for how many accounts there are, and for nothing else."""
    return filters(portal) == [True, False]


def is_full(portal: Portal) -> bool:
    """Whether the last run listed everybody."""
    return filters(portal)[-FULL:] == [False] * FULL


def test_a_frame_gives_back_its_accounts() -> None:
    accounts = [Account("1", {"a": "x", "b": None}), Account("2", {"a": None, "b": "y"}, "a bot")]
    frame = frame_of(accounts, ["b"]).with_columns(pl.lit(1.0).alias("_read"))
    assert list(accounts_of(frame).values()) == accounts
    assert accounts_of(None) == {}


def test_nothing_changed_takes_two_requests(portal: Portal) -> None:
    part = portal.sync()
    assert is_delta(portal)
    assert (part["observed"], part["unchanged"]) == (PEOPLE, PEOPLE)
    assert portal.writes() == 0


def test_a_change_behind_our_back_is_seen_and_corrected_once(portal: Portal) -> None:
    portal.board.seed(PORTAL, [{"user_name": "E3", "last_name": "Else"}])
    assert portal.sync()["succeeded"] == {"update": 1}
    assert is_delta(portal)
    assert portal.held("E3")["last_name"] == "Lee3"
    for _ in range(2):
        assert portal.sync()["unchanged"] == PEOPLE
        assert portal.writes() == 0


def test_our_own_changes_are_not_made_again(portal: Portal) -> None:
    portal.roster([person(number, last="New") for number in range(PEOPLE - 5)])
    part = portal.sync()
    assert part["succeeded"] == {"update": PEOPLE - 5, "leave": 5}
    for _ in range(3):
        part = portal.sync()
        assert (part["unchanged"], part["planned"]["update"]) == (PEOPLE, 0)
        assert portal.writes() == 0
    assert portal.sync(full=True)["unchanged"] == PEOPLE


def test_a_change_of_ours_that_the_vendor_does_not_call_one_is_no_drift(portal: Portal) -> None:
    portal.roster([person(number, last="New" if number == 3 else f"Lee{number}") for number in range(PEOPLE)])
    portal.sync()
    portal.board.seed(PORTAL, [{"user_name": "E3", "updated_at": LONG_AGO}])
    for full in (False, True):
        assert portal.sync(full=full)["unchanged"] == PEOPLE
        assert portal.writes() == 0


def test_what_a_delta_cannot_show_is_found_by_the_next_full_listing(portal: Portal) -> None:
    portal.board.seed(PORTAL, [{"user_name": "E3", "last_name": "Else", "updated_at": LONG_AGO}])
    assert portal.sync()["unchanged"] == PEOPLE
    assert portal.sync(full=True)["succeeded"] == {"update": 1}
    assert portal.sync()["unchanged"] == PEOPLE


def test_an_account_that_is_gone_makes_a_full_listing(portal: Portal) -> None:
    portal.board.remove(PORTAL, "E3")
    assert portal.sync()["succeeded"] == {"create": 1}
    assert is_full(portal)
    assert portal.sync()["unchanged"] == PEOPLE
    assert is_delta(portal)


def test_one_gone_and_another_made_is_noticed(portal: Portal) -> None:
    portal.board.remove(PORTAL, "E3")
    portal.board.seed(PORTAL, [{"user_name": "X1", "email": "x1@example.com"}])
    part = portal.sync()
    assert is_full(portal)
    assert (part["succeeded"], part["orphans"]) == ({"create": 1}, 1)


def test_somebody_made_by_hand_is_adopted_from_a_delta(portal: Portal) -> None:
    portal.board.seed(
        PORTAL,
        [
            {
                "user_name": "E99",
                "first_name": "Ann",
                "last_name": "Lee99",
                "email": "e99@example.com",
                "role_1": "Sales",
            }
        ],
    )
    portal.roster([person(number) for number in (*range(PEOPLE), 99)])
    part = portal.sync()
    assert is_delta(portal)
    assert (part["adopted"], part["unchanged"]) == (1, PEOPLE + 1)


def test_everything_is_listed_when_asked_and_when_it_is_too_long_ago(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal.sync(full=True)
    assert is_full(portal)
    portal.sync()
    assert is_delta(portal)
    monkeypatch.setattr(observe, "_FULL_EVERY", 0.0)
    portal.sync()
    assert is_full(portal)


@pytest.mark.parametrize("hours", [-3, 3])
def test_the_vendors_clock_may_go_wrong(sandbox: SandboxServer, redis_url: str, tmp_path: Path, hours: int) -> None:
    portal = Portal(sandbox, redis_url, tmp_path)
    portal.board.options(PORTAL, clock_offset_seconds=hours * 3600)
    portal.roster([person(number) for number in range(PEOPLE)])
    portal.sync()
    portal.sync()
    portal.board.seed(PORTAL, [{"user_name": "E3", "last_name": "Else"}])
    assert portal.sync()["succeeded"] == {"update": 1}
    assert "updated_at" in portal.listings()[0]


def test_another_portal_and_another_mapping_are_listed_anew(portal: Portal, sandbox: SandboxServer) -> None:
    portal.target["attributes"]["X-Planet"] = "team"
    portal.plan()
    assert is_full(portal)
    del portal.target["attributes"]["X-Planet"]
    portal.target["base_url"] = sandbox.url_of(f"{PORTAL}-other")
    plan = portal.plan()
    assert plan["targets"][PORTAL]["observed"] == 0


def test_a_plan_reads_changes_and_remembers_nothing(portal: Portal) -> None:
    async def reading(dep: Any) -> Any:
        return (await dep.frames.remembered(PORTAL))[1]

    before = portal.run(reading)
    portal.board.seed(PORTAL, [{"user_name": "E3", "last_name": "Else"}])
    for _ in range(2):
        assert portal.plan()["targets"][PORTAL]["planned"]["update"] == 1
        assert is_delta(portal)
    assert portal.run(reading) == before


def test_protection_reads_what_is_remembered(portal: Portal) -> None:
    portal.board.seed(PORTAL, [{"user_name": "E3", "org_admin": True}])
    portal.sync()
    portal.target["protect"] = "org_admin"
    portal.roster([person(number) for number in range(PEOPLE) if number != 3])
    part = portal.sync()
    assert is_delta(portal)
    assert (part["planned"]["leave"], part["todo"]) == (0, 1)


def test_one_persons_run_looks_up_that_person(portal: Portal) -> None:
    portal.board.seed(PORTAL, [{"user_name": "E3", "last_name": "Else", "updated_at": LONG_AGO}])
    assert portal.sync(people=("E3",))["succeeded"] == {"update": 1}
    assert portal.listings() == []


def test_a_daily_run_does_not_join_one_that_reads_less(portal: Portal) -> None:
    async def ask(dep: Any) -> list[str]:
        return [
            await lifecycle.request_run(dep, Request(trigger="schedule", full=full)) for full in (False, True, False)
        ]

    plain, full, again = portal.run(ask)
    assert plain != full
    assert again in (plain, full)
