"""When writing to a target stops, how its recovery is probed, and when writing resumes.

Three things begin a quarantine: refused credentials at once, several requests in a row without a connection, and more
failures than successes among the newest outcomes. It ends by itself when a harmless read succeeds. The first look comes
after a minute; each that fails doubles the time to the next one, up to hours, and so does a relapse soon after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from provisioner.errors import ProvisionerError, TargetError
from provisioner.model.outcome import Done, Outcome, Temporary, Unauthorised
from provisioner.progress.notifications import quarantine_begun, quarantine_over
from provisioner.runtime.context import Deployment

log = structlog.get_logger(__name__)

#: Requests in a row without a connection that mean the target is away.
UNREACHABLE_AFTER: Final = 5
#: Outcomes within `WINDOW` that make a judgement possible, and the share of failures among them that is too much.
JUDGED_FROM: Final = 20
TOO_MANY: Final = 0.5
#: Seconds over which outcomes are counted.
WINDOW: Final = 300.0
#: Seconds until the first look, and at most until any later one.
PROBE_FIRST: Final = 60.0
PROBE_LAST: Final = 4 * 3600.0
#: Seconds for which a quarantine that begins again goes on with the waits of the last one.
RELAPSE: Final = 3600.0


def wait_for_probe(looks: int) -> float:
    """Seconds until the next look at a target that was looked at in vain so many times."""
    return min(PROBE_LAST, PROBE_FIRST * 2.0 ** min(looks, 20))


def weighed(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """(good, bad) outcomes of one request, as the share of failures counts them.

    A request that failed as one counts once, however many people it was about. What says nothing about the target's
    health (a 429, a connection that was never made, which is counted by itself) does not count.
    """
    judged = [one for one in outcomes if not (isinstance(one, Temporary) and (one.limited or one.unreached))]
    good = sum(isinstance(one, Done) for one in judged)
    bad = [one for one in judged if not isinstance(one, (Done, Unauthorised))]
    if bad and not good and all(one == bad[0] for one in bad):
        return 0, 1
    return good, len(bad)


async def judge(
    dep: Deployment, target: str, outcomes: Sequence[Outcome], now: float | None = None, *, earlier: int = 0
) -> str | None:
    """Note the outcomes of one request; why writing has to stop, or None if it may go on.

    Args:
        now: epoch seconds by Redis's clock, if the caller knows them.
        earlier: successes of other requests that are still to be noted.
    """
    if outcomes and all(isinstance(one, Temporary) and one.unreached for one in outcomes):
        if await dep.health.failed(target) < UNREACHABLE_AFTER:
            return None
        last = outcomes[-1]
        reason = last.message if isinstance(last, Temporary) else "no connection"
        await quarantine(dep, target, reason, unreachable=True)
        return reason
    good, bad = weighed(outcomes)
    good += earlier
    if not good and not bad:
        await dep.health.reached(target)
        return None
    goods, bads = await dep.health.count_outcomes(target, good, bad, window=WINDOW, now=now)
    if goods + bads < JUDGED_FROM or bads <= TOO_MANY * (goods + bads):
        return None
    reason = f"{bads} of the last {goods + bads} outcomes were failures"
    await quarantine(dep, target, reason, unreachable=False)
    return reason


async def quarantine(
    dep: Deployment, target: str, message: str, now: float | None = None, *, unreachable: bool, probed: bool = False
) -> None:
    """Stop writing to a target, or, if that is so already and a look has just failed, look again later.

    Args:
        now: epoch seconds, if the caller knows them.
        probed: a look found it still ill; without, an existing quarantine is left as it is.
    """
    moment = await dep.clock.now() if now is None else now
    health = await dep.health.of(target)
    relapsed = moment - health.eased < RELAPSE
    looks = health.probes + 1 if health.quarantined or relapsed else 0
    begun = await dep.health.quarantine(
        target,
        message,
        probe_at=moment + wait_for_probe(looks),
        unreachable=unreachable,
        probes=looks,
        again=probed,
    )
    if begun:
        log.error("quarantined", target=target, unreachable=unreachable)
        await quarantine_begun(dep, target, unreachable=unreachable)


async def recovers(dep: Deployment, target: str) -> bool:
    """Look at a quarantined target if the time for it has come; whether it may be written to again.

    A look says nothing where a run about everybody has to read the target first.
    """
    health, now = await dep.health.of(target), await dep.clock.now()
    if health.unseen or now < health.probe_at:
        return False
    try:
        await dep.targets[target].probe(dep.reading(target))
    except TargetError as exc:
        await quarantine(dep, target, exc.message, unreachable=health.unreachable, probed=True)
        return False
    except ProvisionerError as exc:
        log.warning("probe_failed", target=target, code=exc.code)
        return False
    await recover(dep, target)
    return True


async def recover(dep: Deployment, target: str) -> None:
    """End a quarantine, because the target answered as it should or because a person says so."""
    if await dep.health.recovered(target, await dep.clock.now()):
        log.info("recovered", target=target)
        await quarantine_over(dep.notices, dep.settings, target)


async def looked(dep: Deployment, target: str, unseen: float) -> None:
    """A run about everybody that began after `unseen` has read a target and taken the place of what waited for it."""
    if unseen and await dep.health.seen(target, unseen):
        log.info("looked_after_redis_went_back", target=target)
        await quarantine_over(dep.notices, dep.settings, target)
