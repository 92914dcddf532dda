"""Redis is put back to an earlier state: nothing of before is sent until a run about everybody has looked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from provisioner.admin.decisions import resume
from provisioner.admin.leaver_receipts import receipt
from provisioner.dispatch.leases import LEASE, Lease
from provisioner.dispatch.outcome_spool import Spool
from provisioner.dispatch.pool import deliver
from provisioner.dispatch.redis_loss import QUIET, note_position, remembers
from provisioner.errors import ClaimLostError, RedisBehindError, StoreError
from provisioner.runs import lifecycle
from provisioner.runtime.clock import since_boot
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.store.admin.position import WENT_BACK
from provisioner.store.queue.operations import QueueStore
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import company
from tests.support.harness import drain, due_now, load_settings, settings_document, sync_once
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio

PEOPLE = 12


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(append_only=True) as server:
        yield server


@pytest.fixture
def opened(
    sandbox: SandboxServer, switchboard: Switchboard, server: RedisServer, roster: Path, tmp_path: Path
) -> Callable[..., Any]:
    del switchboard

    @asynccontextmanager
    async def open_it(target: str, **changes: Any) -> AsyncIterator[Deployment]:
        document = settings_document(sandbox.url, server.url, roster, tmp_path / "data", **changes)
        document["targets"] = {target: document["targets"][target]}
        async with Deployment.open(load_settings(tmp_path, document)) as dep:
            yield dep

    return open_it


async def put_back(
    server: RedisServer, dep: Deployment, copy: Path, meanwhile: Callable[[], Awaitable[object]]
) -> None:
    """Let something happen, and Redis forget that it did."""
    copy.mkdir()
    server.copy_files(copy)
    await meanwhile()
    await remembers(dep)
    server.kill()
    server.put_back(copy)
    server.start()


async def two_left_and_redis_forgot(server: RedisServer, dep: Deployment, roster: Path, folder: Path) -> None:
    """Two of a company leave Traitly, after which Redis is put back to before, and that is noticed."""
    roster.write_text(company(PEOPLE))
    await sync_once(dep)

    async def left() -> None:
        roster.write_text(company(PEOPLE, gone=(1, 2)))
        assert (await sync_once(dep))["targets"]["traitly"]["succeeded"]["leave"] == 2

    await put_back(server, dep, folder / "copy", left)
    await remembers(dep)


def plans(switchboard: Switchboard) -> dict[str, str]:
    return {account["customer_id"]: account["plan"] for account in switchboard.accounts("traitly")}


async def test_a_leave_that_was_given_up_since_is_not_sent(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        switchboard.fault("traitly", match={"method": "POST"}, status=503, times=None)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)

        async def stays() -> None:
            roster.write_text(company(PEOPLE))
            await sync_once(dep)
            switchboard.clear_faults("traitly")

        await put_back(server, dep, tmp_path / "copy", stays)
        await due_now(dep, "traitly")
        with structlog.testing.capture_logs() as logs:
            await drain(dep)
        assert plans(switchboard)["W0001"] == "Employee"
        (said,) = [one for one in logs if one["event"] == "redis_went_back"]
        assert said["changes"] > 0
        health = await dep.health.of("traitly")
        assert (health.quarantined, health.reason) == (True, WENT_BACK)
        assert QUIET - 10 < (await remembers(dep)).quiet <= QUIET
        # Neither a person nor a run about one lets it go
        await resume(dep, "traitly", by="test")
        roster.write_text(company(PEOPLE, changes={2: {"last_name": "Changed"}}))
        document = await sync_once(dep, people=("W0002",))
        part = document["targets"]["traitly"]
        assert (part["status"], part["notes"]) == ("running", [f"{WENT_BACK}."])
        await drain(dep)
        assert plans(switchboard)["W0001"] == "Employee"
        whole = await sync_once(dep)
        assert whole["status"] == "succeeded"
        assert f"{WENT_BACK}." in whole["targets"]["traitly"]["notes"]
        assert plans(switchboard)["W0001"] == "Employee"
        assert not (await dep.health.of("traitly")).quarantined
        again = await sync_once(dep)
        assert (again["status"], again["targets"]["traitly"]["notes"]) == ("succeeded", [])


async def test_what_was_told_since_is_not_told_again(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """An event that was owed then was sent since; no listing shows it."""
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        switchboard.fault("traitly", match={"method": "POST", "path_prefix": "/api/v1/event"}, status=503, times=None)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)

        async def told() -> None:
            switchboard.clear_faults("traitly")
            await due_now(dep, "traitly")
            await drain(dep)

        before = len(switchboard.state("traitly")["events"])
        await put_back(server, dep, tmp_path / "copy", told)
        assert len(switchboard.state("traitly")["events"]) == before + 1
        await sync_once(dep)
        await due_now(dep, "traitly")
        await drain(dep)
        assert len(switchboard.state("traitly")["events"]) == before + 1


async def test_who_was_enrolled_since_is_not_enrolled_again(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    async with opened("tribal_habits") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)

        async def enrolled() -> None:
            roster.write_text(company(PEOPLE, changes={1: {"department": "Sales"}}))
            assert (await sync_once(dep))["targets"]["tribal_habits"]["succeeded"]["enrol"] == 1

        await put_back(server, dep, tmp_path / "copy", enrolled)
        there = switchboard.state("tribal_habits")["enrolments"]
        await drain(dep)
        await sync_once(dep)
        assert switchboard.state("tribal_habits")["enrolments"] == there


async def test_a_process_that_has_seen_more_takes_nothing(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """Redis is put back between two of its requests, before anybody looked."""
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        await dep.health.pause("traitly", paused=True)
        roster.write_text(company(PEOPLE, gone=(1,)))
        await sync_once(dep)
        await dep.health.pause("traitly", paused=False)

        async def sent() -> None:
            await drain(dep)

        await put_back(server, dep, tmp_path / "copy", sent)
        writes = switchboard.counts("traitly")["writes"]
        with pytest.raises(RedisBehindError):
            await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 1})
        assert (await deliver(dep, "traitly")).seconds is not None
        assert switchboard.counts("traitly")["writes"] == writes


@pytest.mark.parametrize("alone", [False, True], ids=["by the look", "by a run that comes before it"])
async def test_the_guard_counts_leaves_that_redis_forgot(
    opened: Callable[..., Any],
    server: RedisServer,
    roster: Path,
    switchboard: Switchboard,
    tmp_path: Path,
    alone: bool,
) -> None:
    async with opened("traitly", guards={"leavers": {"percent": 100, "absolute": 2}}) as dep:
        await two_left_and_redis_forgot(server, dep, roster, tmp_path)
        if alone:
            # It finds them in leaver state and records that, before the look
            await sync_once(dep, people=("W0001", "W0002"))
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        document = await sync_once(dep)
        assert document["targets"]["traitly"]["held"]["leave"] == 1, document
        assert plans(switchboard)["W0003"] == "Employee"
        assert "2 sent or decided" in str(document["targets"]["traitly"])
        assert "and 2 sent or decided" in str(document["targets"]["traitly"])


@pytest.mark.parametrize("alone", [False, True], ids=["the look", "a run about some before it"])
async def test_the_guard_counts_forgotten_leaves_that_no_listing_shows_whole(
    opened: Callable[..., Any],
    server: RedisServer,
    roster: Path,
    switchboard: Switchboard,
    tmp_path: Path,
    *,
    alone: bool,
) -> None:
    """They are sent once more, since nobody knows of their boards; whoever leaves besides them is held."""
    guest = 5

    def guests() -> set[str]:
        return {one["email"] for one in switchboard.accounts("habitate") if one["role_id"] == guest}

    guards = {"leavers": {"percent": 100, "absolute": 3}, "updates": {"percent": 100}}
    async with opened("habitate", guards=guards) as dep:
        roster.write_text(company(2 * PEOPLE))
        await sync_once(dep)

        async def left() -> None:
            roster.write_text(company(2 * PEOPLE, gone=(1, 2)))
            assert (await sync_once(dep))["targets"]["habitate"]["succeeded"]["leave"] == 2

        await put_back(server, dep, tmp_path / "copy", left)
        await remembers(dep)
        roster.write_text(company(2 * PEOPLE, gone=(1, 2, 3, 4)))
        if alone:
            await sync_once(dep, people=("W0003",))
        document = await sync_once(dep)
        figures = document["targets"]["habitate"]
        assert (figures["planned"]["leave"], figures["held"]) == (4, {"leave": 2}), figures
        assert "2 leavers and 2 sent or decided" in str(figures)
        assert guests() == {"p1@example.com", "p2@example.com"}
        # Each of them alone would be within the limit; together they would not
        await sync_once(dep, people=("W0003",))
        document = await sync_once(dep, people=("W0004",))
        assert document["targets"]["habitate"]["held"] == {"leave": 1}
        assert guests() == {"p1@example.com", "p2@example.com", "p3@example.com"}


async def _look_of_a_roster_read_before(
    dep: Deployment, roster: Path, read: str, meanwhile: str, person: str
) -> dict[str, Any]:
    """The look of a roster that was read before a newer one and a run about one person; the document of the look."""
    (target,) = dep.targets
    roster.write_text(read)
    look = await lifecycle.request_run(dep, Request(trigger="manual"))
    await lifecycle.begin(dep, look)
    roster.write_text(meanwhile)
    alone = await sync_once(dep, people=(person,))
    assert alone["status"] == "running"
    assert WENT_BACK in str(alone["targets"][target]["notes"])
    await lifecycle.plan(dep, look, target)
    await drain(dep)
    # What waited for the look goes on by itself
    await lifecycle.plan(dep, alone["run"], target)
    await drain(dep)
    document = await dep.runs.document(look)
    assert document is not None
    return dict(document)


async def test_who_leaves_before_the_look_is_counted_by_it(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """The limit was used up by what Redis forgot, which a run about one person cannot know."""
    async with opened("traitly", guards={"leavers": {"percent": 100, "absolute": 2}}) as dep:
        await two_left_and_redis_forgot(server, dep, roster, tmp_path)
        await _look_of_a_roster_read_before(
            dep, roster, company(PEOPLE, gone=(1, 2)), company(PEOPLE, gone=(1, 2, 3)), "W0003"
        )
        assert plans(switchboard)["W0003"] == "Employee"
        held = await sync_once(dep)
        assert held["targets"]["traitly"]["held"]["leave"] == 1


async def test_who_leaves_before_the_look_leaves_every_board_that_redis_forgot(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """A move that Redis forgot put them on a board of which a run about one person cannot know."""

    moves = {1: {"department": "Sales"}}
    async with opened("habitate") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)

        async def moved() -> None:
            roster.write_text(company(PEOPLE, changes=moves))
            await sync_once(dep)
            assert boards_of(switchboard, "p1@example.com") == {"Sales"}

        await put_back(server, dep, tmp_path / "copy", moved)
        await remembers(dep)
        others = company(PEOPLE, changes=moves)
        await _look_of_a_roster_read_before(dep, roster, others, company(PEOPLE, changes=moves, gone=(1,)), "W0001")
        assert boards_of(switchboard, "p1@example.com") == set()
        found = await receipt(dep, "W0001")
        assert found is not None
        assert found["finished_at"] is not None


@pytest.mark.parametrize("known", [False, True])
async def test_the_guard_counts_leaves_whose_outcomes_were_kept_on_disk(
    opened: Callable[..., Any],
    server: RedisServer,
    roster: Path,
    switchboard: Switchboard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    known: bool,
) -> None:
    """Redis goes while leaves are sent, and comes back in a state from before, which may know their plan."""

    async def gone(*_: object, **__: object) -> list[bool]:
        raise StoreError("Redis does not answer.")

    async with opened("traitly", guards={"leavers": {"percent": 100, "absolute": 2}}) as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        RedisContents(dep).forget_sent("traitly", "leavers")

        async def plan() -> None:
            roster.write_text(company(PEOPLE, gone=(1, 2)))
            run = await lifecycle.request_run(dep, Request(trigger="manual"))
            for target in await lifecycle.begin(dep, run):
                await lifecycle.plan(dep, run, target)

        async def left() -> None:
            if not known:
                await plan()
            with monkeypatch.context() as patched:
                patched.setattr(QueueStore, "record", gone)
                with pytest.raises(StoreError):
                    await deliver(dep, "traitly")

        if known:
            await plan()
        await put_back(server, dep, tmp_path / "copy", left)
        await remembers(dep)
        assert [plans(switchboard)[f"W000{number}"] for number in (1, 2)] == ["Leaver", "Leaver"]
        assert await Spool(dep.settings.data_dir).replay(dep.queue) == 2
        assert await dep.health.sent("traitly", "leavers", 0) == 2
        roster.write_text(company(PEOPLE, gone=(1, 2, 3)))
        document = await sync_once(dep)
        assert document["targets"]["traitly"]["held"]["leave"] == 1, document
        assert plans(switchboard)["W0003"] == "Employee"


def boards_of(switchboard: Switchboard, email: str) -> set[str]:
    msid = next(one["msid"] for one in switchboard.accounts("habitate") if one["email"] == email)
    return {name for name, those in switchboard.state("habitate")["boards"].items() if msid in those}


@pytest.mark.parametrize("copied", ["since", "before"])
async def test_boards_that_redis_forgot_are_left(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path, copied: str
) -> None:
    """No listing shows them, and the ledger knows an older board, or nobody's."""
    everything = {"leavers": {"percent": 100}, "updates": {"percent": 100}}
    async with opened("habitate", guards=everything) as dep:
        roster.write_text(company(PEOPLE))
        if copied == "since":
            await sync_once(dep)
        else:
            roster.write_text(company(1))
            await sync_once(dep)

        async def moved() -> None:
            sales = {1: {"department": "Sales"}, 2: {"department": "Sales"}, 3: {"department": "Sales"}}
            roster.write_text(company(PEOPLE, changes=sales))
            await sync_once(dep)
            roster.write_text(company(PEOPLE, gone=(3,), changes=sales))
            await sync_once(dep)

        await put_back(server, dep, tmp_path / "copy", moved)
        assert boards_of(switchboard, "p1@example.com") == boards_of(switchboard, "p2@example.com") == {"Sales"}
        await remembers(dep)
        # Of Sales nobody is left but a leaver
        roster.write_text(company(PEOPLE, gone=(1, 3), changes={3: {"department": "Sales"}}))
        document = await sync_once(dep)
        assert document["status"] == "succeeded", document
        assert [boards_of(switchboard, f"p{one}@example.com") for one in (0, 1, 2, 3)] == [
            {"Engineering"},
            set(),
            {"Engineering"},
            set(),
        ]
        roles = {one["email"]: one["role_id"] for one in switchboard.accounts("habitate")}
        assert roles["p1@example.com"] == roles["p3@example.com"] != roles["p0@example.com"]
        writes = switchboard.counts("habitate")["writes"]
        again = await sync_once(dep)
        assert (again["status"], switchboard.counts("habitate")["writes"]) == ("succeeded", writes)


async def test_what_was_claimed_before_is_claimed_no_more(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """The copy is of a moment at which a worker that is suspended since had an update; the person left meanwhile."""
    async with opened("traitly") as dep:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, changes={1: {"last_name": "Changed"}}))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        claims = await dep.queue.claim("traitly", lease=LEASE, token="frozen", limits={"*": 1})
        suspended = Lease(dep.queue, "traitly", claims, since_boot())

        async def left() -> None:
            RedisContents(dep).end_leases("traitly")
            await dep.queue.reap("traitly")
            await drain(dep)
            roster.write_text(company(PEOPLE, gone=(1,)))
            assert (await sync_once(dep))["targets"]["traitly"]["succeeded"]["leave"] == 1

        await put_back(server, dep, tmp_path / "copy", left)
        writes = switchboard.counts("traitly")["writes"]
        slots = dep.pace_of("traitly")
        # Nobody has noted it yet, but this process knows of more
        with pytest.raises(ClaimLostError):
            await slots.try_slot(1.0, suspended)
        await remembers(dep)
        # By now it holds for processes that knew of nothing
        dep.queue.position = 0
        again = Lease(dep.queue, "traitly", claims, since_boot())
        with pytest.raises(ClaimLostError):
            await slots.try_slot(1.0, again)
        with pytest.raises(ClaimLostError):
            await again.renew()
        assert (await sync_once(dep))["status"] == "succeeded"
        await due_now(dep, "traitly")
        await drain(dep)
        assert switchboard.counts("traitly")["writes"] == writes
        assert plans(switchboard)["W0001"] == "Leaver"


async def test_a_mark_of_an_earlier_version_says_nothing_of_a_position(
    opened: Callable[..., Any], roster: Path, tmp_path: Path
) -> None:
    async with opened("traitly") as dep:
        roster.write_text(company(2))
        await sync_once(dep)
        path = tmp_path / "data" / "redis-mark"
        mark, position = path.read_text().split()
        assert int(position) > 0
        path.write_text(mark)
        memory = await remembers(dep)
        assert not memory.went_back
        assert path.read_text().split()[0] == mark


@pytest.mark.parametrize("copy", [True, False], ids=["data_dir kept", "data_dir emptied too"])
async def test_a_redis_that_lost_everything_was_not_put_back(
    opened: Callable[..., Any], roster: Path, tmp_path: Path, copy: bool
) -> None:
    """Another process notices first and gives Redis a new mark; this one remembers a position of the old."""
    async with opened("traitly") as dep, opened("traitly") as other:
        roster.write_text(company(2))
        await sync_once(dep)
        assert dep.queue.position > 0
        RedisContents(dep).delete_ours()
        if not copy:
            (tmp_path / "data" / "redis-mark").unlink()
        assert (await remembers(other)).lost is copy
        memory = await remembers(dep)
        assert memory.lost is copy
        assert not memory.went_back


async def test_a_redis_that_is_brought_back_from_before_its_loss_was_put_back(
    opened: Callable[..., Any], server: RedisServer, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    """Somebody finds it empty, and brings back the last copy of its volume."""
    async with opened("traitly") as dep, opened("traitly") as other:
        roster.write_text(company(PEOPLE))
        await sync_once(dep)
        roster.write_text(company(PEOPLE, gone=(1,)))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
        await remembers(dep)

        async def lost() -> None:
            RedisContents(dep).delete_ours()
            assert (await remembers(dep)).lost

        # Nothing was changed between the copy and the loss, so its position is the greatest that is known
        await put_back(server, dep, tmp_path / "copy", lost)
        with pytest.raises(RedisBehindError):
            await dep.queue.claim("traitly", lease=60, token="t", limits={"*": 9})
        assert (await remembers(dep)).went_back
        assert (await dep.health.of("traitly")).unseen
        await deliver(dep, "traitly")
        assert plans(switchboard)["W0001"] == "Employee"
        position = (await dep.position.read()).number
        assert (await remembers(other)).went_back
        assert (await remembers(dep)).went_back
        assert (await dep.position.read()).number == position, "noted once"
        await sync_once(dep)
        assert plans(switchboard)["W0001"] == "Leaver"


async def test_a_position_of_before_a_loss_is_not_kept_for_the_new_redis(
    opened: Callable[..., Any], roster: Path
) -> None:
    """Another process notices the loss while this one delivers."""
    async with opened("traitly") as dep, opened("traitly") as other:
        roster.write_text(company(2))
        await sync_once(dep)
        RedisContents(dep).delete_ours()
        await remembers(other)
        await note_position(dep)
        assert not (await remembers(other)).went_back
