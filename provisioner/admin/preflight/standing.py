"""What earlier runs left behind, as a check sees it: paused and quarantined targets, held operations, leavers who still
have an account, and outcomes that are not recorded yet. Reads only, and works in a Redis that takes no writes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from provisioner.dispatch.outcome_spool import Spool
from provisioner.errors import TargetError
from provisioner.model.check_result import Line
from provisioner.model.operation import Status
from provisioner.model.run_document import WAITS, Counts
from provisioner.model.wording import counted
from provisioner.progress.vitals import ago
from provisioner.settings import Settings
from provisioner.store.admin.position import WENT_BACK
from provisioner.store.people.receipts import Receipt
from provisioner.store.runs.counters import counts
from provisioner.store.runs.follow import UNPLANNED
from provisioner.store.runs.shapes import moment
from provisioner.store.runs.target_health import Health
from provisioner.store.stores import Stores

#: Runs that are looked through for the newest about everybody.
_LOOKED_AT: Final = 20
#: Leavers who are named.
_NAMED: Final = 3
_ON_ITS_WAY: Final = frozenset({Status.PENDING, Status.SENDING})


async def standing(stores: Stores, settings: Settings) -> list[Line]:
    """The findings about all targets; no line where all is well.

    Raises:
        StoreError: Redis does not answer any more.
    """
    now = await stores.server.now()
    health = {target: await stores.health.of(target) for target in settings.targets}
    found: list[Line] = []
    for target, one in health.items():
        unsent = (await stores.figures.left(target)).unsent
        if one.paused:
            found.append(_paused(target, one, unsent, now))
        if one.quarantined and not one.unseen:
            found.append(_quarantined(target, one, unsent, now))
        if settings.targets[target].enabled:
            found += await _newest_plan(stores, target, stopped=one.quarantined)
    if unseen := [target for target, one in health.items() if one.unseen]:
        found.append(went_back(unseen))
    return [*found, *await _leavers(stores, settings, health, now)]


def went_back(targets: Iterable[str]) -> Line:
    """The finding that Redis was put back, and which targets wait for a look since."""
    remedy = "`provisioner sync` reads them now; runs by schedule do so too."
    return Line("redis", "fail", f"{WENT_BACK}: {', '.join(targets)}.", remedy, TargetError.exit_code)


def _paused(target: str, health: Health, unsent: int, now: float) -> Line:
    since = f" {ago(now - health.paused_at)} ago" if health.paused_at else ""
    why = f": {health.paused_why.rstrip('.')}" if health.paused_why else ""
    waits = f"{_operations(unsent)} for it." if unsent else "Nothing waits for it so far."
    message = f"{target} was paused{since} by {health.paused_by or 'somebody'}{why}. {waits}"
    return Line("paused", "warn", message, f"Go on writing: provisioner resume {target}", WAITS if unsent else 0)


def _quarantined(target: str, health: Health, unsent: int, now: float) -> Line:
    state = "cannot be reached" if health.unreachable else "is quarantined"
    reason = health.reason.removeprefix(f"{target}: ").rstrip(".")
    looked = f"It is looked at again in {ago(health.probe_at - now)}." if health.probe_at > now else ""
    waits = f"{_operations(unsent)} for it." if unsent else "Nothing waits for it so far."
    remedy = f"It ends by itself when {target} answers as it should. To end it now: provisioner resume {target}"
    message = " ".join(filter(None, (f"{target} {state}, so nothing is written there: {reason}.", waits, looked)))
    return Line("quarantine", "fail", message, remedy, TargetError.exit_code)


def _operations(count: int) -> str:
    return counted(count, "operation waits", "operations wait")


async def _newest_plan(stores: Stores, target: str, *, stopped: bool) -> list[Line]:
    """What the newest run about everybody holds of a target, what failed of it, and why it could not be planned.

    A sync finds the same unless the roster or the target has changed since.

    Args:
        stopped: the target is quarantined, which has a line of its own.
    """
    run, fields = await _newest(stores, target)
    found: list[Line] = []
    if held := counts(fields, Status.HELD):
        remedy = (
            f"See them: provisioner show {run}\nThen: provisioner approve {run} --all (or reject; or --person for some)"
        )
        message = f"{target}: {_by_kind(held)} of run {run} wait for an approval."
        found.append(Line("held", "warn", message, remedy, WAITS))
    if failed := counts(fields, Status.FAILED):
        remedy = f"The next sync tries again. See why: provisioner show {run} --failed"
        message = f"{target}: {_by_kind(failed)} failed in run {run}."
        found.append(Line("failed", "warn", message, remedy, TargetError.exit_code))
    # A quarantine ends by itself, so one that is over says nothing of the next sync
    over = fields.get("outcome") in ("quarantined", "unreachable")
    if fields.get("stage") in ("refused", "unbelieved") and not (over and stopped):
        error = json.loads(fields.get("error") or "{}")
        said = str(error.get("message", "")).removeprefix(f"{target}: ")
        message = f"{target} could not be planned in run {run}: {said}"
        code = 0 if over else TargetError.exit_code
        found.append(Line("failed", "warn", message, "The next sync reads the target again.", code))
    return found


async def _newest(stores: Stores, target: str) -> tuple[str, Mapping[str, str]]:
    """The newest run about everybody that planned a target, or tried to, and its part; empty where there is none."""
    for run in await stores.runs.recent(_LOOKED_AT):
        request = await stores.runs.request(run)
        if request is None or request.people is not None:
            continue
        fields = await stores.runs.target(run, target)
        if fields.get("stage", "") not in UNPLANNED | {"skipped"}:
            return run, fields
    plan = await stores.health.list(target, "plan")
    return (plan[0], await stores.runs.target(plan[0], target)) if plan else ("", {})


def _by_kind(found: Counts) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in found.items())


async def _leavers(stores: Stores, settings: Settings, health: Mapping[str, Health], now: float) -> list[Line]:
    """Whoever left and has an account that they should not have, unless it is being dealt with in time."""
    enabled = [target for target, own in settings.targets.items() if own.enabled]
    receipts = await stores.receipts.unfinished(enabled)
    if not receipts:
        return []
    todos = {target: {one["person"] for one in await stores.health.list(target, "todos")} for target in enabled}
    named: list[str] = []
    codes: set[int] = set()
    undo: tuple[str, str] | None = None
    for person, receipt in receipts.items():
        for target in receipt.unfinished:
            state, code = _state(target, receipt, stopped=health[target].blocked, todo=person in todos[target])
            codes.add(code)
            if state == Status.REJECTED and undo is None:
                undo = receipt.leaves[target].run, person
            if len(named) < _NAMED:
                named.append(f"{person} in {target} ({await _said(stores, receipt, target, state)})")
    oldest = now - min(since for receipt in receipts.values() for since in receipt.unfinished.values())
    code = max(codes)
    late = oldest > settings.slo.leaver.total_seconds()
    if not code and not late:
        return []
    total = sum(len(receipt.unfinished) for receipt in receipts.values())
    more = f", and {total - len(named)} more" if total > len(named) else ""
    people = counted(len(receipts), "person left and still has", "people left and still have")
    message = f"{people} an account: {', '.join(named)}{more}. The oldest has had one for {ago(oldest)}."
    remedy = f"`provisioner todos` lists them; `provisioner why {next(iter(receipts))}` says what was tried."
    if undo:
        remedy += f"\nTake a rejection back: provisioner reject {undo[0]} --undo --person {undo[1]}"
    return [Line("leavers", "warn", message, remedy, code)]


def _state(target: str, receipt: Receipt, *, stopped: bool, todo: bool) -> tuple[str, int]:
    """What became of a leave, and the exit code of a sync that leaves it so."""
    leave = receipt.leaves.get(target)
    status = leave.status if leave is not None else None
    if status in (Status.HELD, Status.REJECTED):
        return str(status), WAITS
    if status is Status.FAILED:
        return "failed", TargetError.exit_code
    if stopped or status in _ON_ITS_WAY:
        # A stopped target has its own line
        return "waits" if stopped else "on its way", 0
    return ("to be settled by hand", WAITS) if todo else ("waits for the next run", 0)


async def _said(stores: Stores, receipt: Receipt, target: str, state: str) -> str:
    """Who said no, and why, where somebody did."""
    if state != Status.REJECTED:
        return state
    made = (await stores.health.decisions(target)).get(receipt.leaves[target].operation)
    if made is None:
        return state
    because = f": {made['reason']}" if made.get("reason") else ""
    return f"rejected by {made['by']} on {(moment(made['at']) or '')[:10]}{because}"


async def spool(folder: Path) -> list[Line]:
    """Outcomes in this machine's `data_dir` that Redis has not recorded; no line where there are none."""
    return await asyncio.to_thread(_spool, folder)


def _spool(folder: Path) -> list[Line]:
    try:
        waiting = Spool(folder).look()
    except OSError as exc:
        message = f"Outcomes in data_dir {folder} cannot be read: {exc.strerror or type(exc).__name__}."
        return [Line("spool", "warn", message, "Run the check as the user of the workers.")]
    found: list[Line] = []
    if waiting is not None and waiting.since is not None:
        wait = counted(waiting.outcomes, "outcome waits", "outcomes wait")
        since = ago(time.time() - waiting.since)
        message = f"{wait} in data_dir {folder} to be recorded in Redis, the oldest for {since}."
        remedy = "A worker with this data_dir records them before anything else: keep the folder, and start one."
        found.append(Line("spool", "warn", message, remedy))
    if waiting is not None and waiting.refused:
        some = counted(waiting.refused, "outcome")
        message = f"{some} could not be recorded: refused-outcomes.jsonl in data_dir {folder}."
        remedy = "What they were about was looked up before it was sent again. Report it, then delete the file."
        found.append(Line("spool", "warn", message, remedy))
    return found
