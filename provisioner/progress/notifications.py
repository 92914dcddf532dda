"""Who is told what: one notice when a state begins, one when it is over, and never one for what is known already.

A state is one of `notify.on`, of one target or of the roster. That it began is remembered in Redis, so that all
processes together tell it once. A notice names targets, runs and counts; nobody's data are in it. It waits in a list
until a worker sends it: telling never delays or fails work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Literal

import structlog

from provisioner.runtime.context import Deployment
from provisioner.store.admin.position import WENT_BACK
from provisioner.store.runs.counters import counts

log = structlog.get_logger(__name__)

State = Literal["held", "failed", "quarantined", "recovered", "rejected"]

#: What a state is about when it is no target.
ROSTER: Final = "roster"
#: Seconds for which one process sends, should it die meanwhile.
_HOLD: Final = 20
#: Notices that are sent at once, and tries of each.
_AT_ONCE: Final = 10
_TRIES: Final = 5
#: Seconds until the second try; each doubles it.
_PAUSE: Final = 30.0


async def begun(dep: Deployment, state: State, subject: str, text: str) -> bool:
    """A state began: tell it, unless it was told before and is not over since.

    Raises:
        StoreError: Redis does not answer.
    """
    new = await dep.notices.begin_state(state, subject, await dep.clock.now())
    if new:
        await _put(dep, state, text)
    return new


async def over(dep: Deployment, state: State, subject: str, text: str | None = None) -> bool:
    """A state is over, if it was told: tell that, too, where there is a text.

    Raises:
        StoreError: Redis does not answer.
    """
    known = await dep.notices.end_state(state, subject)
    if known and text:
        await _put(dep, "recovered", text)
    return known


async def quarantine_begun(dep: Deployment, target: str, *, unreachable: bool) -> None:
    """Writing to a target stopped."""
    why = "does not answer" if unreachable else "refuses our credentials or fails too often"
    text = f"{target} {why}; nothing is written to it until that is mended. See `provisioner check --connect`."
    await begun(dep, "quarantined", target, text)


async def redis_went_back(dep: Deployment, target: str) -> None:
    """Redis was put back to an earlier state, so a target has to be read before anything is sent to it."""
    text = f"{target}: {WENT_BACK}. Runs by schedule do so by themselves; `provisioner sync` does it now."
    await begun(dep, "quarantined", target, text)


async def quarantine_over(dep: Deployment, target: str) -> None:
    """Writing to a target goes on."""
    await over(dep, "quarantined", target, f"{target} is written to again; its work goes on by itself.")


async def roster_rejected(dep: Deployment, run: str) -> None:
    """A roster was not believed at all."""
    text = f"The roster of run {run} is rejected, so nothing is sent. See `provisioner show {run}`."
    await begun(dep, "rejected", ROSTER, text)


async def run_changed(dep: Deployment, run: str, changed: Mapping[str, str]) -> None:
    """Statuses of a run's parts changed.

    Args:
        changed: the new status by target.
    """
    request = await dep.runs.request(run)
    everybody = request is not None and request.people is None
    for target, status in changed.items():
        found = counts(await dep.runs.target(run, target), status)
        said = ", ".join(f"{count} {kind}" for kind, count in found.items())
        if status == "held":
            text = f"{target}: held for approval: {said}. See `provisioner show {run} --operations`."
            await begun(dep, "held", target, text)
        elif status == "failed":
            text = f"{target}: failed in run {run}{f': {said}' if said else ''}. See `provisioner show {run} --failed`."
            await begun(dep, "failed", target, text)
        # Only the newest plan about everybody knows that nothing is held or failed any more
        if not everybody or (await dep.health.list(target, "plan") or [run])[0] != run:
            continue
        if status == "succeeded":
            await over(dep, "held", target)
        if status in ("succeeded", "held"):
            await over(dep, "failed", target, f"{target}: nothing fails any more, since run {run}.")
    if everybody and changed:
        await over(dep, "rejected", ROSTER, f"The roster is believed again, since run {run}.")


async def _put(dep: Deployment, state: State, text: str) -> None:
    notify = dep.settings.notify
    if notify.urls and state in notify.on:
        await dep.notices.put({"state": state, "text": text, "tries": 0, "due": 0.0})


async def send_waiting(dep: Deployment) -> int:
    """Send the notices that wait; how many were sent. One process at a time does it.

    Raises:
        StoreError: Redis does not answer.
    """
    waiting = await dep.notices.waiting()
    if not waiting:
        return 0
    sent = 0
    async with dep.locks.sending_notices(seconds=_HOLD) as hold:
        for _ in range(min(waiting, _AT_ONCE) if hold else 0):
            notice = await dep.notices.take()
            if notice is None:
                break
            sent += await _send(dep, notice)
    return sent


async def _send(dep: Deployment, notice: dict[str, str | float]) -> bool:
    now, tries = await dep.clock.now(), int(notice["tries"]) + 1
    if now >= float(notice["due"]):
        urls = [url.get_secret_value() for url in dep.settings.notify.urls]
        title = f"provisioner: {notice['state']}"
        if await asyncio.to_thread(_tell, urls, title, str(notice["text"])):
            log.info("notified", state=notice["state"])
            return True
        if tries >= _TRIES:
            log.error("notice_dropped", state=notice["state"], tries=tries)
            return False
        log.warning("notice_not_sent", state=notice["state"], tries=tries)
        notice = {**notice, "tries": tries, "due": now + _PAUSE * 2.0 ** (tries - 1)}
    await dep.notices.put(notice)
    return False


def _tell(urls: list[str], title: str, text: str) -> bool:
    """Whether everyone took it."""
    # It takes a while to import, for which no command has to wait
    import apprise

    # Its lines hold the addresses, and so their secrets
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    service = apprise.Apprise()
    added = [service.add(url) for url in urls]
    if not all(added):
        # Not named: it holds secrets
        log.error("notify_url_wrong", remedy="Compare notify.urls with the text of apprise.")
    return bool(service.notify(body=text, title=title))
