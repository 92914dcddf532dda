"""What a sync runs on, as a check sees it: Redis and its clock, the disk, beat and the last run. Changes nothing."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from provisioner.admin.preflight.answers import changed as changed_answers
from provisioner.admin.preflight.paces import lowered
from provisioner.admin.preflight.standing import standing, went_back
from provisioner.admin.preflight.web import proxies
from provisioner.dispatch.redis_loss import other_deployment, unnoticed
from provisioner.errors import (
    ConfigurationError,
    OriginError,
    StoreError,
    StoreRefusedError,
    TargetError,
    UnexpectedError,
    WorkerError,
)
from provisioner.model.check_result import Line, failure
from provisioner.progress.vitals import Sign, ago, scheduled, vitals
from provisioner.runtime.origins import changed, check_origin, ownerless
from provisioner.settings import Settings
from provisioner.store.people.snapshots import Pushed
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import check_server, connect
from provisioner.store.redis.schema import ensure_schema
from provisioner.store.redis.server import Server
from provisioner.store.redis.server_version import ServerVersion
from provisioner.store.stores import Stores

#: Seconds that two clocks may be apart: less than a request takes says nothing.
APART: Final = 5.0
#: Seconds after which runs that should begin by themselves have plainly stopped; the full one comes every day.
_RUN_LATE: Final = 2 * 86_400.0
#: Seconds in which Redis has to answer each question.
ANSWERS_WITHIN: Final = 4.0
#: Share of Redis's memory above which it is short.
_MEMORY: Final = 0.9
#: Bytes that should be free for the spool, tables and Redis's own files, and those without which nothing can be kept.
_ROOM: Final = 1024**3
_LEAST_ROOM: Final = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Store:
    """Redis: the server's state, whether it can be used, and the pushed roster that runs read, if there is one."""

    lines: tuple[Line, ...]
    usable: bool
    pushed: Pushed | None = None


async def store(settings: Settings, *, needed: bool) -> Store:
    """Look at Redis.

    Args:
        needed: whether it is a fault that the server of `up`, which has an address without any setting, does not run.
            Any other server that does not answer is one.
    """
    address = RedisAddress.of(settings)
    client = connect(address, within=ANSWERS_WITHIN)
    answered = False
    try:
        stores = Stores.on(client, address)
        info = await stores.server.info()
        answered = True
        check_server(info)
        writes = await _writes(stores.server)
        await ensure_schema(client, reading=True)
        ahead = await _ahead(stores.server)
        pushed = await stores.frames.pushed(settings.roster.url)
        going = (
            *await _ledgers(stores, settings),
            *await _put_back(stores, settings),
            *await standing(stores, settings),
            *await lowered(stores.pace, settings),
            *await changed_answers(stores.answer_shapes, settings.targets, await stores.server.now()),
            *await proxies(stores.web_sessions, settings),
            *await _going(stores, settings),
            *await _faults(stores, settings),
        )
    except StoreError as exc:
        fault = needed or answered or not address.own
        finding = failure("redis", exc, "Look at the server and at redis_url.")
        return Store((finding if fault else replace(finding, verdict="warn", exit_code=0),), usable=False)
    finally:
        await client.aclose()
    version = Line("redis", "ok", f"{ServerVersion.of_info(info)} answers at {address.redacted}.")
    clock = clocks("Redis's clock", ahead, "Days, rates and ages are counted by Redis's clock: set both by NTP.")
    lines = (version, writes, persistence(info), memory(info, own=address.own), clock, *going)
    return Store(lines, usable=True, pushed=pushed)


async def _ledgers(stores: Stores, settings: Settings) -> list[Line]:
    """Whether the ledger in this Redis is about the targets of these settings; no line where all is well."""
    found: list[Line] = []
    if (other := await other_deployment(stores.mark, settings.data_dir)) is not None:
        found.append(failure("data_dir", other, "Look at data_dir and redis_url."))
    for target in settings.targets:
        try:
            await check_origin(stores.origins, settings, target)
        except OriginError as exc:
            found.append(failure("ledger", exc, "Look at redis_url."))
            continue
        said = await changed(stores.origins, settings, target)
        found += [Line("ledger", "warn", sentence, "See `provisioner plan` for what it would do.") for sentence in said]
    for sentence in ownerless(settings, await stores.origins.ledgers()):
        found.append(Line("ledger", "fail", sentence, "Correct the targets.", ConfigurationError.exit_code))
    return found


async def _put_back(stores: Stores, settings: Settings) -> list[Line]:
    """Whether Redis was put back and no worker has noted it yet: they do within seconds, where any is running."""
    behind = await unnoticed(stores.mark, stores.position, settings.data_dir)
    enabled = [target for target, own in settings.targets.items() if own.enabled]
    return [went_back(enabled)] if behind else []


async def _writes(server: Server) -> Line:
    """Whether it takes writes.

    Raises:
        StoreError: it does not answer any more.
    """
    try:
        await server.takes_writes()
    except StoreRefusedError as exc:
        return failure("redis writes", exc, "Look at its log.")
    return Line("redis writes", "ok", "Redis takes writes.")


def persistence(info: Mapping[str, Any]) -> Line:
    """Whether what Redis knows outlives it, by its answer to INFO as redis-py parses it."""
    subject, remedy = "redis persistence", "Set appendonly to yes."
    if int(info.get("loading", 0)):
        return Line(subject, "warn", "Redis is still loading its data.", "Wait, then look again.")
    if not int(info.get("aof_enabled", 0)):
        return Line(subject, "warn", "Redis may forget the latest changes when it stops (appendonly no).", remedy)
    for name, what in (("aof_last_write_status", "write"), ("aof_last_bgrewrite_status", "rewrite")):
        if str(info.get(name, "ok")) != "ok":
            message = f"Redis could not {what} its append-only file the last time it tried."
            return Line(subject, "fail", message, "Look at its disk and its log.", StoreError.exit_code)
    return Line(subject, "ok", "Every change is written to an append-only file.")


def memory(info: Mapping[str, Any], *, own: bool = False) -> Line:
    """Whether Redis keeps what it knows when memory is short, and how near that is.

    Args:
        own: whether it is the server of `up`, which has the machine's memory.
    """
    subject, policy = "redis memory", str(info.get("maxmemory_policy", "noeviction"))
    bound = int(info.get("maxmemory", 0))
    used, limit = int(info.get("used_memory", 0)), bound or int(info.get("total_system_memory", 0))
    usage = f"{used / 1024**2:.0f} MiB" + (f" of {limit / 1024**2:.0f} MiB are used" if limit else " are used")
    if policy != "noeviction":
        message = f"Redis may throw away the ledger when memory is short (maxmemory-policy {policy}); {usage}."
        return Line(subject, "fail", message, "Set maxmemory-policy to noeviction.", StoreError.exit_code)
    if limit and used > _MEMORY * limit:
        remedy = "Give Redis more memory, or shorten retention.operations."
        return Line(subject, "warn", f"Memory is short: {usage}.", remedy)
    if not bound and not own:
        message = f"Redis has no maxmemory, so it may be killed before anybody is warned; {usage}."
        return Line(subject, "warn", message, "Set maxmemory to half of what its machine or container lets it have.")
    return Line(subject, "ok", f"Nothing is thrown away (maxmemory-policy noeviction); {usage}.")


async def _ahead(server: Server) -> float:
    """Seconds by which Redis's clock is ahead of ours."""
    before = time.time()
    now = await server.now()
    return now - (before + time.time()) / 2


def clocks(whose: str, ahead: float, remedy: str) -> Line:
    """Whether another clock and this machine's agree.

    Args:
        whose: the other clock, as the beginning of a sentence.
        ahead: seconds by which it is ahead of ours.
    """
    if abs(ahead) <= APART:
        return Line("clock", "ok", f"{whose} and this machine's agree within {APART:.0f} s.")
    side = "ahead of" if ahead > 0 else "behind"
    return Line("clock", "warn", f"{whose} is {abs(ahead):.0f} s {side} this machine's.", remedy)


async def _going(stores: Stores, settings: Settings) -> tuple[Line, ...]:
    signs = await vitals(stores.heartbeats, settings)
    last, good = await stores.figures.last_runs()
    run = last_run(last, good, await stores.server.now(), scheduled=scheduled(settings))
    return alive(signs.beat, "beat"), alive(signs.worker, "workers"), run


def alive(sign: Sign, subject: str) -> Line:
    """The judgement on one kind of process as a finding. A sync without it would exit so too."""
    code = WorkerError.exit_code if sign.verdict == "fail" else 0
    return Line(subject, sign.verdict, sign.message, sign.remedy, code)


async def _faults(stores: Stores, settings: Settings) -> list[Line]:
    """What fails in the workers in a way that nobody thought of."""
    own = {f"delivering to {target}": (await stores.health.of(target)).fault for target in settings.targets}
    found = {**own, **await stores.faults.standing()}
    return [
        Line(
            "worker",
            "fail" if fault.lasting else "warn",
            f"{work} ended with {fault.reason} {fault.count} times in a row.",
            "See the worker's log for where, and report it.",
            # A run's part for such a target is `failed`
            (TargetError if work in own else UnexpectedError).exit_code if fault.lasting else 0,
        )
        for work, fault in found.items()
        if fault.count
    ]


def last_run(last: float | None, good: float | None, now: float, *, scheduled: bool) -> Line:
    """How old the last run is, and the last good one. Times are epoch seconds by Redis's clock; None: never."""
    if last is None:
        return Line("last run", "ok", "There was none yet.")
    sentence = f"The last one ended {ago(now - last)} ago"
    if good is None:
        return Line("last run", "warn", f"{sentence}; none succeeded so far.", "See `provisioner runs`.")
    sentence += f", the last one that succeeded {ago(now - good)} ago."
    if scheduled and now - good > _RUN_LATE:
        return Line("last run", "warn", sentence, "See `provisioner runs` for why.")
    return Line("last run", "ok", sentence)


async def disk(settings: Settings) -> Line:
    """Whether `data_dir` can be written to, and how much room it has; it is not made here."""
    return await asyncio.to_thread(_disk, settings.data_dir)


def _disk(folder: Path) -> Line:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        # Rights alone do not tell of a full disk, a quota, or one that is mounted to be read only
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"0")
            file.flush()
        free = shutil.disk_usage(there).free
    except OSError as exc:
        message = f"data_dir {folder} cannot be written to: {exc.strerror or type(exc).__name__}."
        remedy = "Give this user the right to, or name another data_dir."
        return Line("disk", "fail", message, remedy, ConfigurationError.exit_code)
    sentence = f"{free / 1024**3:.1f} GiB are free in data_dir {folder}."
    if free < _LEAST_ROOM:
        return Line("disk", "fail", f"The disk is full: {sentence}", "Make room.", StoreError.exit_code)
    if free < _ROOM:
        return Line("disk", "warn", sentence, "Make room: outcomes, tables and Redis's files are kept there.")
    return Line("disk", "ok", sentence)
