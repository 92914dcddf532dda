"""A process that was suspended before or among its requests sends none of them once others have its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from provisioner.dispatch import leases, pool, record
from provisioner.dispatch.leases import FRESH, LEASE, Lease
from provisioner.dispatch.pool import deliver
from provisioner.errors import ClaimLostError
from provisioner.model.outcome import Outcome
from provisioner.runs import lifecycle
from provisioner.runtime.clock import since_boot
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.queue.operations import Claim
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio

TARGET = "traitly"


async def planned(dep: Deployment) -> None:
    run = await lifecycle.request_run(dep, Request(trigger="manual"))
    for target in await lifecycle.begin(dep, run):
        await lifecycle.plan(dep, run, target)


async def expire(dep: Deployment) -> None:
    """What the time of a suspension does."""
    RedisContents(dep).end_leases(TARGET)
    await dep.queue.reap(TARGET)


def suspended_once(
    dep: Deployment, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Awaitable[object]], seconds: float
) -> None:
    """Let the process be suspended right before the first request of a claim leaves."""
    made = dep.targets[TARGET]
    write = made.write
    asleep = 0.0

    async def slow(*arguments: Any) -> Sequence[Outcome]:
        nonlocal asleep
        if not asleep:
            asleep = seconds
            await meanwhile()
        return await write(*arguments)

    monkeypatch.setattr(made, "write", slow)
    for module in (leases, pool, record):
        monkeypatch.setattr(module, "since_boot", lambda: since_boot() + asleep)


async def test_the_first_request_does_not_leave_after_others_took_over(
    opened: Opened, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(1))
    async with opened(only=(TARGET,)) as dep:
        await planned(dep)
        others: list[Claim] = []

        async def taken_over() -> None:
            await expire(dep)
            others.extend(await dep.queue.claim(TARGET, lease=LEASE, token="other", limits={"*": 1}))

        suspended_once(dep, monkeypatch, taken_over, FRESH)
        with structlog.testing.capture_logs() as logs:
            await deliver(dep, TARGET)
        assert switchboard.counts(TARGET)["writes"] == 0
        assert [one["event"] for one in logs if one["event"] == "claim_lost"] == ["claim_lost"]
        assert len(others) == 1
        assert await dep.queue.give_back(others[0]), "it is the other one's still"
        await drain(dep)
        assert len(switchboard.accounts(TARGET)) == 1


async def test_a_long_suspension_in_which_nobody_took_over_loses_nothing(
    opened: Opened, roster: Path, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.write_text(company(1))
    async with opened(only=(TARGET,)) as dep:
        await planned(dep)
        asked: list[int] = []
        renew = dep.queue.renew

        async def counted(*arguments: Any) -> int:
            asked.append(await renew(*arguments))
            return asked[-1]

        async def nobody() -> None:
            monkeypatch.setattr(type(dep.queue), "renew", lambda _self, *arguments: counted(*arguments))

        suspended_once(dep, monkeypatch, nobody, 10 * LEASE)
        await drain(dep)
        assert switchboard.counts(TARGET)["writes"] == 2
        assert asked == [1]


async def test_a_renewal_that_renewed_nothing_stops_the_work(opened: Opened, roster: Path) -> None:
    roster.write_text(company(2))
    async with opened(only=(TARGET,)) as dep:
        await planned(dep)
        asked = since_boot()
        claims = await dep.queue.claim(TARGET, lease=LEASE, token="t", limits={"*": 2})
        lease = Lease(dep.queue, TARGET, claims, asked)
        await lease.renew()
        await lease.ensure()
        assert await dep.queue.give_back(claims[0])
        with pytest.raises(ClaimLostError, match="sends nothing more"):
            await lease.renew()
        # At once, however fresh the last answer is
        with pytest.raises(ClaimLostError):
            await lease.ensure()


async def test_what_was_given_back_is_asked_for_no_more(opened: Opened, roster: Path) -> None:
    roster.write_text(company(2))
    async with opened(only=(TARGET,)) as dep:
        await planned(dep)
        claims = await dep.queue.claim(TARGET, lease=LEASE, token="t", limits={"*": 2})
        lease = Lease(dep.queue, TARGET, claims, since_boot())
        assert await dep.queue.give_back(claims[0])
        lease.narrow(claims[1:])
        await lease.renew()
        lease.ending()
        assert await dep.queue.done(claims[1], {"account": "W0001"}, "W0001")
        await lease.renew()
        assert not lease.lost
