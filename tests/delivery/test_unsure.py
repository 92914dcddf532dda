"""A change whose answer was lost, of something that no listing shows, and that nobody wants any more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.attributes import Attribute, Type, canonical, members
from provisioner.model.operation import Kind
from provisioner.model.operation_record import OperationRecord
from provisioner.model.unconfirmed import at_stake, marked, parted
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once

BOARDS = ("Engineering", "Finance", "People", "Sales")
NAMES = st.lists(st.sampled_from(BOARDS), unique=True).map(lambda names: canonical(names, Type.SET))


def boards_of(switchboard: Switchboard, email: str) -> set[str]:
    msid = next(one["msid"] for one in switchboard.accounts("habitate") if one["email"] == email)
    return {name for name, those in switchboard.state("habitate")["boards"].items() if msid in those}


def lose_board_answers(switchboard: Switchboard, how: str) -> None:
    """From now on every change of a board is done, and the answer to it is lost, or bad."""
    match = {"method": "PUT", "path_prefix": "/api/v1/boards/"}
    if how == "dropped":
        switchboard.fault("habitate", match=match, drop="after", times=None)
    else:
        switchboard.fault("habitate", match=match, status=500, body={"error": "oops"}, after=True, times=None)


OPEN_GUARDS = {"leavers": {"percent": 100}, "updates": {"percent": 100}}


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["dropped", "500"])
@pytest.mark.parametrize("then", ["leaves", "moves back", "moves on"])
async def test_a_lost_change_of_boards_leaves_nobody_inside_or_outside(
    opened: Opened, switchboard: Switchboard, roster: Path, how: str, then: str
) -> None:
    ada = 1
    email = f"p{ada}@example.com"
    roster.write_text(company(3))
    async with opened(only=("habitate",), guards=OPEN_GUARDS) as dep:
        await sync_once(dep)
        assert boards_of(switchboard, email) == {"Engineering"}

        lose_board_answers(switchboard, how)
        roster.write_text(company(3, changes={ada: {"department": "Sales"}}))
        await sync_once(dep)
        assert "Sales" in boards_of(switchboard, email)
        switchboard.clear_faults("habitate")

        # Nobody knows of it, and nobody wants it any more
        now, wanted = {
            "leaves": (company(3, gone=(ada,)), set()),
            "moves back": (company(3), {"Engineering"}),
            "moves on": (company(3, changes={ada: {"department": "People"}}), {"People"}),
        }[then]
        roster.write_text(now)
        await sync_once(dep)
        await sync_once(dep)
        assert boards_of(switchboard, email) == wanted

        switchboard.clear_log("habitate")
        done = await sync_once(dep)
        assert done["targets"]["habitate"]["planned"]["update"] == 0
        assert switchboard.counts("habitate")["writes"] == 0


@pytest.mark.anyio
async def test_a_new_member_whose_boards_are_unsure_can_still_leave_them(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(2))
    async with opened(only=("habitate",), guards=OPEN_GUARDS) as dep:
        lose_board_answers(switchboard, "dropped")
        done = await sync_once(dep)
        assert done["targets"]["habitate"]["succeeded"].get("create", 0) == 0
        assert boards_of(switchboard, "p1@example.com") == {"Engineering"}
        switchboard.clear_faults("habitate")

        # The plan finds both accounts, but nobody can say who is on which board
        roster.write_text(company(2, gone=(1,)))
        await sync_once(dep)
        await sync_once(dep)
        assert boards_of(switchboard, "p0@example.com") == {"Engineering"}
        assert boards_of(switchboard, "p1@example.com") == set()


def tags_of(switchboard: Switchboard, person: str) -> set[str]:
    return next(set(one["tags"]) for one in switchboard.accounts("mtribes") if one["id"] == person)


@pytest.mark.anyio
@pytest.mark.parametrize("gone", [True, False])
async def test_tags_of_a_lost_change_are_ours(
    opened: Opened, switchboard: Switchboard, roster: Path, *, gone: bool
) -> None:
    roster.write_text(company(2))
    async with opened(only=("mtribes",), guards=OPEN_GUARDS) as dep:
        switchboard.fault("mtribes", match={"method": "POST"}, drop="after", times=None)
        await sync_once(dep)
        assert "department/engineering" in tags_of(switchboard, "W0001")
        switchboard.clear_faults("mtribes")
        # Somebody adds one by hand, which stays
        account = next(one for one in switchboard.accounts("mtribes") if one["id"] == "W0001")
        switchboard.seed("mtribes", [{**account, "tags": [*account["tags"], "by/hand"]}])

        roster.write_text(company(2, gone=(1,) if gone else (), changes={1: {"department": "Sales"}}))
        await sync_once(dep)
        await sync_once(dep)
        tags = tags_of(switchboard, "W0001")
        assert "by/hand" in tags
        assert "department/engineering" not in tags
        assert ("department/sales" in tags) is not gone
        assert ("employment/left" in tags) is gone
        switchboard.clear_log("mtribes")
        await sync_once(dep)
        assert switchboard.counts("mtribes")["writes"] == 0


@pytest.mark.anyio
async def test_a_change_that_failed_for_good_leaves_its_boards_unsure(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(2))
    async with opened(only=("habitate",), guards=OPEN_GUARDS) as dep:
        await sync_once(dep)
        # The name is refused, but the boards are changed all the same
        refusal = {"id": "x", "status": 400, "message": "ERR_V1"}
        switchboard.fault(
            "habitate", match={"method": "PUT", "path_prefix": "/api/v1/users/"}, status=400, body=refusal
        )
        roster.write_text(company(2, changes={1: {"department": "Sales", "last_name": "New"}}))
        done = await sync_once(dep)
        assert done["targets"]["habitate"]["failed"] == {"update": 1}
        switchboard.clear_faults("habitate")

        roster.write_text(company(2))
        await sync_once(dep)
        await drain(dep)
        assert boards_of(switchboard, "p1@example.com") == {"Engineering"}


@given(before=NAMES, doubts=st.sets(st.sampled_from([name.lower() for name in BOARDS])))
def test_marking_keeps_every_name_once(before: str | None, doubts: set[str]) -> None:
    value = marked(before, doubts)
    sure, unsure = parted(value)
    assert set(unsure) == doubts
    assert set(sure) == {name.lower() for name in members(before)} - doubts
    assert marked(value, ()) == value
    assert marked(value, doubts) == value


@given(before=NAMES, doubts=st.sets(st.sampled_from([name.lower() for name in BOARDS])), after=NAMES)
def test_whoever_is_not_at_stake_is_surely_in_or_out(before: str | None, doubts: set[str], after: str | None) -> None:
    value = marked(before, doubts)
    one = OperationRecord(
        "i", "habitate", "P", Kind.UPDATE, "1.x", {"boards": value, "lang": "en"}, {"boards": after}
    ).operation()
    attributes = {"boards": Attribute("boards", Type.SET, observed=False), "lang": Attribute("lang", observed=False)}
    stake = at_stake(one, attributes)
    assert set(stake) == {"boards"}
    sure = set(parted(value)[0])
    wanted = {name.lower() for name in members(after)}
    assert {name.lower() for name in BOARDS} - set(stake["boards"]) == (sure & wanted) | (
        {name.lower() for name in BOARDS} - sure - doubts - wanted
    )
