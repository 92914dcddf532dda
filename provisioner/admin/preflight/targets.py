"""Each target as `check --connect` sees it: credentials, what the key may see, and the vendor's clock.

Everything here reads. Where Redis can be used, each request takes a slot like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import polars as pl

from provisioner.admin.preflight.recording import Recorder
from provisioner.admin.preflight.redis import clocks
from provisioner.errors import ConfigurationError, TargetError, UnreachableError
from provisioner.model.check_result import Line, failure
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE
from provisioner.runs.observe import accounts_of
from provisioner.runtime.context import Deployment, build_targets
from provisioner.runtime.rate_limit import Unpaced
from provisioner.settings import Settings
from provisioner.targets.base import Ask, Target
from provisioner.targets.capabilities import ChecksNames, LooksUp, tokens_of
from provisioner.targets.http import Heard, Http, Pace, new_client
from provisioner.targets.responses import Answer

#: Accounts that are looked at for what the key may see.
_LOOKED_AT: Final = 3
#: Seconds that a target is given for all of it, waiting for a slot included.
LONGEST: Final = 60.0
#: Seconds after which somebody who waits is informed, and how often from then on.
SAID_AFTER: Final = 3.0
_SAID_EVERY: Final = 10.0
_NAME_REMEDY: Final = "Make it in the product, or correct the settings."
_CLOCK_REMEDY: Final = "Set this machine's clock by NTP; if it is right, tell the vendor."


async def reach(
    settings: Settings, *, redis: bool, say: Callable[[str], None], recorder: Recorder | None = None
) -> list[Line]:
    """Look at every enabled target, all at once.

    Args:
        redis: whether Redis can be used; without it nobody counts the requests, which are few.
        say: takes a sentence for somebody who waits.
        recorder: notes the shapes of the answers.

    Raises:
        StoreError: Redis was there a moment ago, and is not any more.
    """
    async with AsyncExitStack() as stack:
        dep = (
            await stack.enter_async_context(Deployment.open(settings, reading=True, within=LONGEST)) if redis else None
        )
        targets = dep.targets if dep else build_targets(settings)[0]
        found = await asyncio.gather(*(_bounded(target, dep, say, recorder) for target in targets.values()))
    return [line for lines in found for line in lines]


async def _bounded(
    target: Target[Any], dep: Deployment | None, say: Callable[[str], None], recorder: Recorder | None
) -> list[Line]:
    """The findings about a target; one that does not answer is a finding too."""
    look = asyncio.create_task(_target(target, dep, recorder))
    began, due = time.monotonic(), SAID_AFTER
    while True:
        done, _ = await asyncio.wait({look}, timeout=max(0.0, min(due, LONGEST) - (time.monotonic() - began)))
        if done:
            return look.result()
        waited = time.monotonic() - began
        if waited >= LONGEST:
            break
        if waited >= due:
            say(f"Waiting for {target.name} at {target.origin}: no answer for {waited:.0f} s, {LONGEST:.0f} s at most.")
            due += _SAID_EVERY
    look.cancel()
    await asyncio.gather(look, return_exceptions=True)
    late = UnreachableError(target.name, f"{target.origin} did not answer within {LONGEST:.0f} s.")
    return [failure(target.name, late, "See whether its address is right, and whether a firewall is between.")]


async def _target(target: Target[Any], dep: Deployment | None, recorder: Recorder | None) -> list[Line]:
    pace: Pace = Unpaced() if dep is None else dep.pace_of(target.name, lane="urgent", patience=LONGEST)
    clock = _Clock()
    heard = None if recorder is None else await _heard(target, dep, recorder)
    async with new_client() as client:
        client.event_hooks = {"response": [clock.note]}
        size = target.settings.page_size
        http = Http(
            target.name,
            client,
            target.origin,
            target.headers(),
            pace,
            read_only=True,
            heard=heard,
            page_size=size,
            tokens=tokens_of(target),
        )
        lines: list[Line] = []
        try:
            said = await target.probe(http)
            lines.append(Line(target.name, "ok", " ".join(said) or "It answers, and the credentials are good."))
            if isinstance(target, ChecksNames):
                wrong = [ConfigurationError(one, remedy=_NAME_REMEDY) for one in await target.unknown_names(http)]
                lines += [failure(f"{target.name} names", one, _NAME_REMEDY) for one in wrong]
            if dep is not None:
                lines += await _rights(target, http, dep)
        except TargetError as exc:
            lines.append(failure(target.name, exc, "Look at its settings, and ask the vendor."))
    if clock.ahead is not None:
        lines.append(clocks(f"{target.name}'s clock", clock.ahead, _CLOCK_REMEDY))
    return lines


async def _heard(target: Target[Any], dep: Deployment | None, recorder: Recorder) -> Heard:
    """What notes each answer of a target, without the identifiers of accounts that are known."""
    frame = await dep.frames.observed(target.name) if dep else None
    known = frozenset() if frame is None else frozenset(frame[ACCOUNT].to_list())
    recorder.add(target.name, target.kind)

    def heard(path: str, params: Mapping[str, str | int], answer: Answer) -> None:
        recorder.note(target.name, path, params, answer, known=known)

    return heard


async def _rights(target: Target[Any], http: Http, dep: Deployment) -> list[Line]:
    """Whether accounts show by what they are recognised, seen at a few that are known.

    Raises:
        TargetError: they cannot be read.
    """
    if not isinstance(target, LooksUp):
        return []
    subject = f"{target.name} rights"
    frame = await dep.frames.observed(target.name)
    some = None if frame is None else frame.filter(pl.col(UNTOUCHABLE).is_null()).head(_LOOKED_AT)
    if some is None or some.is_empty():
        sentence = "No account is known yet. `provisioner plan` reads them all, and tells what the key may not see."
        return [Line(subject, "ok", sentence)]
    known = accounts_of(some)
    listing = await target.find(http, [Ask(account, account) for account in known], known)
    if listing is None or not listing.accounts:
        return []
    names = [name for name in target.settings.match if target.attribute(name).observed]
    dark = [name for name in names if not any(account.values.get(name) for account in listing.accounts)]
    if not dark:
        return [Line(subject, "ok", f"Accounts show {', '.join(names)}, by which people are recognised.")]
    sentence = f"None of {len(listing.accounts)} accounts shows {', '.join(dark)}, so nobody is recognised by it."
    return [Line(subject, "warn", sentence, "Give the key's owner the right to see it.")]


class _Clock:
    """Compares the Date of each answer with our own time; `ahead` is in seconds, None while no answer had a Date."""

    def __init__(self) -> None:
        self.ahead: float | None = None

    async def note(self, response: Any) -> None:
        """One answer, when its headers are there."""
        try:
            said = parsedate_to_datetime(response.headers.get("date", ""))
        except ValueError:
            return
        # A Date holds whole seconds
        ahead = (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() + 0.5 - time.time()
        if self.ahead is None or abs(ahead) < abs(self.ahead):
            self.ahead = ahead
