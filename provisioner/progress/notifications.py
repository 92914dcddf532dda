"""Notices: one when a state begins, one when it is over, and never one for what is known already.

A state is one of `notify.on`, of one target or of the roster. What it consists of is remembered in Redis, so that all
processes together tell it once, and tell it again when there is more of it. A notice names targets, runs and counts;
nobody's data are in it. It waits in a list until a worker sends it: telling never delays or fails work.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final, Literal

import structlog

from provisioner.model.event_lists import Notice
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.admin.notices import NoticeStore
from provisioner.store.admin.position import WENT_BACK_WAY_OUT
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.runs.counters import counts
from provisioner.store.runs.documents import RunStore

log = structlog.get_logger(__name__)

State = Literal["held", "failed", "quarantined", "recovered", "rejected", "degraded", "changed"]

#: What a state is about when it is no target.
ROSTER: Final = "roster"
#: Seconds for which one process sends, should it die meanwhile.
_HOLD: Final = 20
#: Notices that are sent at once, and tries of each.
_AT_ONCE: Final = 10
_TRIES: Final = 5
#: Seconds until the second try; each doubles it.
_PAUSE: Final = 30.0
#: Operations of one status that are remembered one by one.
_MOST: Final = 5000
#: People whom a notice shows.
_SHOWN: Final = 3
_FIGURE: Final = re.compile(r"\d[\d.,]*")


async def begun(dep: Deployment, state: State, subject: str, text: str) -> bool:
    """Report that a state began, unless it was reported before and has not ended since.

    Raises:
        StoreError: Redis does not answer.
    """
    return await dep.notices.begin_state(
        state, subject, await dep.clock.now(), notice=lambda _new, _known: _notice(dep.settings, state, text)
    )


async def over(notices: NoticeStore, settings: Settings, state: State, subject: str, text: str | None = None) -> bool:
    """A state is over, if it was reported: report that too, where there is a text.

    Raises:
        StoreError: Redis does not answer.
    """
    notice = _notice(settings, "recovered", text) if text else None
    return await notices.end_state(state, subject, notice)


async def quarantine_begun(dep: Deployment, target: str, *, unreachable: bool) -> None:
    """Writing to a target stopped."""
    why = "does not answer" if unreachable else "refuses our credentials or fails too often"
    text = f"{target} {why}; nothing is written to it until that is fixed. See `provisioner check --connect`."
    await begun(dep, "quarantined", target, text)


async def redis_went_back(dep: Deployment, target: str) -> None:
    """Redis was put back to an earlier state, so a target has to be read before anything is sent to it."""
    await begun(dep, "quarantined", target, f"{target}: {WENT_BACK_WAY_OUT}")


async def quarantine_over(notices: NoticeStore, settings: Settings, target: str) -> None:
    """Writing to a target goes on."""
    await over(notices, settings, "quarantined", target, f"{target} is written to again; its work goes on by itself.")


async def answers_changed(dep: Deployment, target: str, sentences: Sequence[str], facts: Sequence[str]) -> None:
    """A target answers otherwise than before.

    Args:
        facts: what each sentence is known by.
    """
    text = f"{' '.join(sentences[:_SHOWN])} See `provisioner check`."
    now = await dep.clock.now()
    await dep.notices.begin_state(
        "changed", target, now, facts=facts, notice=lambda *_: _notice(dep.settings, "changed", text)
    )


async def roster_rejected(dep: Deployment, run: str) -> None:
    """A roster was not believed at all."""
    text = f"The roster of run {run} is rejected, so nothing is sent. See `provisioner show {run}`."
    await begun(dep, "rejected", ROSTER, text)


async def roster_read(dep: Deployment, run: str, reasons: Sequence[str], *, everybody: bool) -> None:
    """A roster was read and not rejected.

    Args:
        reasons: the gate's sentences, where it is degraded and nobody accepted it.
        everybody: the run is about everybody; only then an undoubted roster ends the doubts about earlier ones.
    """
    if reasons:
        text = (
            f"The roster of run {run} is degraded, so removals wait: {' '.join(reasons)} See `provisioner show {run}`."
        )
        # The same doubt with other figures is no news
        facts = [_digest(_FIGURE.sub("#", reason)) for reason in reasons]
        notice = partial(_counted, dep, "degraded", text)
        await dep.notices.begin_state("degraded", ROSTER, await dep.clock.now(), facts=facts, notice=notice)
    elif everybody:
        await over(
            dep.notices, dep.settings, "degraded", ROSTER, f"Removals wait no more for the roster, since run {run}."
        )


async def run_changed(dep: Deployment, run: str, changed: Mapping[str, str]) -> None:
    """Statuses or figures of a run's parts changed.

    Each is looked at for everything that it may be at once: what is held is reported though something fails too.

    Args:
        changed: the status by target.
    """
    request = await dep.runs.request(run)
    everybody = request is not None and request.people is None
    for target, status in changed.items():
        fields = await dep.runs.target(run, target)
        plan = (await dep.health.list(target, "plan") or [run])[0]
        if run < plan:
            # Run ids begin with their time; what became of an older plan is no news
            continue
        newest = everybody and plan == run
        if status != "running" or "installed" in fields:
            await _held(dep, run, target, fields, newest=newest)
        if status != "running":
            await _failed(dep, run, target, status, fields, newest=newest)
    if everybody and any(status != "running" for status in changed.values()):
        await over(dep.notices, dep.settings, "rejected", ROSTER, f"The roster is believed again, since run {run}.")


async def _held(dep: Deployment, run: str, target: str, fields: Mapping[str, str], *, newest: bool) -> None:
    count = sum(counts(fields, "held").values())
    left = int(fields.get("leavers_left") or 0)
    facts = await _facts(dep.runs, run, target, "held", count)
    # More who are left are news, whoever they are
    facts += [f"left:{number}" for number in range(min(left, _MOST))]
    if facts:
        parts = [f"held for approval: {_said(fields, 'held')}."] if count else []
        parts += [f"{left} who left keep their account, and nothing is planned for it."] if left else []
        see = " and ".join(
            [f"`provisioner show {run} --operations`"] * bool(count) + ["`provisioner todos`"] * bool(left)
        )
        text = f"{target}: {' '.join(parts)} See {see}."
        notice = partial(_counted, dep, "held", text, people=await _people(dep.runs, dep.settings, run, target, "held"))
        await dep.notices.begin_state("held", target, await dep.clock.now(), facts=facts, notice=notice)
    # Only the newest plan about everybody knows that something is held no more
    if newest and fields.get("stage") == "delivering":
        if facts:
            await dep.notices.forget_facts_but("held", target, facts)
        else:
            await over(dep.notices, dep.settings, "held", target)


async def _failed(
    dep: Deployment, run: str, target: str, status: str, fields: Mapping[str, str], *, newest: bool
) -> None:
    facts = await _facts(dep.runs, run, target, "failed", sum(counts(fields, "failed").values()))
    if status == "failed" and not facts:
        # It could not be read, or is not believed
        facts = [str(json.loads(fields.get("error") or "{}").get("code", "failed"))]
    if facts:
        said = _said(fields, "failed")
        text = f"{target}: failed in run {run}{f': {said}' if said else ''}. See `provisioner show {run} --failed`."
        notice = partial(
            _counted, dep, "failed", text, people=await _people(dep.runs, dep.settings, run, target, "failed")
        )
        await dep.notices.begin_state("failed", target, await dep.clock.now(), facts=facts, notice=notice)
    elif newest and status in ("succeeded", "held"):
        await over(dep.notices, dep.settings, "failed", target, f"{target}: nothing fails any more, since run {run}.")


async def _facts(runs: RunStore, run: str, target: str, status: str, count: int) -> list[str]:
    """The ids of operations of a status, by which it is known which of them were reported."""
    if not count:
        return []
    found = await runs.ids_of(run, target, status, _MOST)
    # Of very many the first are looked at, and it is reported again when they double
    return found if count <= _MOST else [*found, f"more:{count.bit_length()}"]


def _said(fields: Mapping[str, str], status: str) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts(fields, status).items())


async def _people(runs: RunStore, settings: Settings, run: str, target: str, status: str) -> list[str]:
    """The first few whom operations of a status are about, where people are to be shown."""
    if settings.roster.label is None or not settings.notify.urls:
        return []
    ids = await runs.ids_of(run, target, status, _SHOWN)
    rows = [await runs.operation(run, target, one) for one in ids]
    return list(dict.fromkeys(row["person"] for row in rows if row))


def _counted(
    dep: Deployment, state: State, text: str, new: int, known: int, *, people: Sequence[str] = ()
) -> Notice | None:
    """A notice of something of which a part was reported already."""
    return _notice(dep.settings, state, f"{text} New since the last notice: {new}." if known else text, people)


def _notice(settings: Settings, state: State, text: str, people: Sequence[str] = ()) -> Notice | None:
    """A notice as it waits; None where nobody asked for this state."""
    notify = settings.notify
    if not notify.urls or state not in notify.on:
        return None
    made: Notice = {"state": state, "text": text, "tries": 0, "due": 0.0}
    return {**made, "people": list(people)} if people else made


async def _text(frames: FrameStore, settings: Settings, notice: Notice) -> str:
    """What is sent: the notice, and how `roster.label` shows people."""
    people = notice.get("people") or []
    labels = await frames.labels(people) if settings.roster.label is not None else {}
    shown = [f"{labels[key]} ({key})" for key in people if key in labels]
    return f"{notice['text']} Among them: {', '.join(shown)}." if shown else str(notice["text"])


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
            notice = await dep.notices.first()
            if notice is None:
                break
            rest = await _send(dep, notice)
            await dep.notices.replace(notice, rest)
            sent += rest is None
    return sent


async def _send(dep: Deployment, notice: Notice) -> Notice | None:
    """Send a notice to the addresses that have not received it. Returns it with those still missing, None if none
    is."""
    now, tries = await dep.clock.now(), int(notice["tries"]) + 1
    if now < float(notice["due"]):
        return notice
    urls = {_digest(url.get_secret_value()): url.get_secret_value() for url in dep.settings.notify.urls}
    left = [name for name in notice.get("left") or urls if name in urls]
    title = f"provisioner: {notice['state']}"
    text = await _text(dep.frames, dep.settings, notice)
    # Each by itself, so that one that is dead repeats nothing to the others
    took = await asyncio.gather(*(asyncio.to_thread(_tell, urls[name], title, text) for name in left))
    left = [name for name, good in zip(left, took, strict=True) if not good]
    if not left:
        log.info("notified", state=notice["state"])
        return None
    if tries >= _TRIES:
        log.error("notice_dropped", state=notice["state"], tries=tries, addresses=len(left))
        return None
    log.warning("notice_not_sent", state=notice["state"], tries=tries, addresses=len(left))
    return {**notice, "left": left, "tries": tries, "due": now + _PAUSE * 2.0 ** (tries - 1)}


def _tell(url: str, title: str, text: str) -> bool:
    """Whether an address took it."""
    # It takes a while to import, for which no command has to wait
    import apprise

    # Its lines hold the addresses, and so their secrets
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    service = apprise.Apprise()
    if not service.add(url):
        # Not named: it holds secrets
        log.error("notify_url_wrong", remedy="Compare notify.urls with the text of apprise.")
        return False
    return bool(service.notify(body=text, title=title))


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
