"""A target that is ill is left alone and looked at ever more slowly, while the others go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.dispatch.pool import deliver
from provisioner.model.outcome import Done, Permanent, Temporary, Unauthorised, Unclear
from provisioner.model.run_document import exit_code
from provisioner.progress.quarantine import PROBE_FIRST, PROBE_LAST, judge, wait_for_probe, weighed
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, due_now, sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio
TWO = ("traitly", "mtribes")


async def due_for_a_look(dep: Deployment, target: str) -> None:
    RedisContents(dep).let_probe_be_due(target)


def test_the_first_look_comes_after_a_minute_and_later_ones_after_hours() -> None:
    waits = [wait_for_probe(looks) for looks in range(12)]
    assert waits[:4] == [PROBE_FIRST, 120.0, 240.0, 480.0]
    assert waits == sorted(waits)
    assert waits[-1] == PROBE_LAST


def test_a_request_that_failed_as_one_counts_once() -> None:
    refused = Permanent("invalid", "no")
    assert weighed([refused] * 100) == (0, 1)
    assert weighed([refused, Done(), Permanent("invalid", "other")]) == (1, 2)
    assert weighed([Done()] * 3) == (3, 0)
    assert weighed([Temporary("rate_limited", "429", limited=True), Unauthorised("401")]) == (0, 0)
    assert weighed([Unclear("server_error", "500")]) == (0, 1)


async def test_refused_credentials_stop_one_target_at_once_and_the_work_waits(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(5))
    switchboard.fault("traitly", match={"method": "POST"}, status=401, times=None)
    async with opened(only=TWO) as dep:
        run = await sync_once(dep)
        assert run["targets"]["mtribes"]["status"] == "succeeded"
        ill = run["targets"]["traitly"]
        assert ill["status"] == "quarantined"
        assert ill["waiting"] == {"create": 5, "event": 5}
        assert (run["status"], exit_code(run)) == ("failed", 5)
        assert run["finished_at"] is not None
        tried = switchboard.counts("traitly")["writes"]
        assert (await deliver(dep, "traitly")).seconds == 60.0
        assert switchboard.counts("traitly")["writes"] == tried
        assert (await dep.health.of("traitly")).probes == 0, "many senders were refused, but nobody looked yet"

        switchboard.clear_faults("traitly")
        await due_for_a_look(dep, "traitly")
        assert (await deliver(dep, "traitly")).seconds is not None
        await due_now(dep, "traitly")
        await drain(dep)
        assert len(switchboard.accounts("traitly")) == 5
        after = await dep.runs.document(run["run"])
        assert after is not None
        assert after["status"] == "succeeded"


async def test_a_look_in_vain_doubles_the_wait_and_so_does_a_relapse(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(1))
    async with opened(only=("traitly",)) as dep:
        for expected in (60.0, 120.0, 240.0):
            health = await dep.health.of("traitly")
            if not health.quarantined:
                switchboard.fault("traitly", status=401, times=None)
                await sync_once(dep)
            else:
                await due_for_a_look(dep, "traitly")
                await deliver(dep, "traitly")
            health = await dep.health.of("traitly")
            assert health.probe_at - await dep.clock.now() == pytest.approx(expected, abs=5.0)
        switchboard.clear_faults("traitly")
        await sync_once(dep)
        assert not (await dep.health.of("traitly")).quarantined
        switchboard.fault("traitly", status=401, times=None)
        await sync_once(dep)
        assert (await dep.health.of("traitly")).probe_at - await dep.clock.now() == pytest.approx(480.0, abs=5.0)


async def test_more_failures_than_successes_among_enough_outcomes(opened: Opened) -> None:
    async with opened(only=("traitly",)) as dep:
        for _ in range(9):
            assert await judge(dep, "traitly", [Done()]) is None
        for number in range(10):
            assert await judge(dep, "traitly", [Permanent("invalid", f"{number}")]) is None
        assert await judge(dep, "traitly", [Permanent("invalid", "11")]) is not None
        assert (await dep.health.of("traitly")).status == "quarantined"


async def test_no_connection_several_times_in_a_row(opened: Opened) -> None:
    away = Temporary("unreachable", "no connection", unreached=True)
    async with opened(only=("traitly",)) as dep:
        for _ in range(4):
            assert await judge(dep, "traitly", [away] * 50) is None
        await judge(dep, "traitly", [Done()])
        for _ in range(4):
            assert await judge(dep, "traitly", [away]) is None
        assert await judge(dep, "traitly", [away]) == "no connection"
        assert (await dep.health.of("traitly")).status == "unreachable"


async def test_a_paused_target_takes_nothing_and_ends_its_part_of_the_run(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(company(3))
    async with opened(only=TWO) as dep:
        await dep.health.pause("mtribes", paused=True)
        run = await sync_once(dep)
        assert run["targets"]["mtribes"]["status"] == "paused"
        assert run["targets"]["mtribes"]["waiting"] == {"create": 3}
        assert (run["status"], exit_code(run)) == ("held", 4)
        assert switchboard.counts("mtribes")["writes"] == 0
        await dep.health.pause("mtribes", paused=False)
        await drain(dep)
        after = await dep.runs.document(run["run"])
        assert after is not None
        assert after["status"] == "succeeded"
        assert len(switchboard.accounts("mtribes")) == 3
