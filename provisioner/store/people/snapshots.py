"""Columnar data in Redis: everybody's rows, observed accounts, rosters. Arrow, compressed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import polars as pl
from redis.exceptions import WatchError

from provisioner.store.people.frames import pack, rekeyed, unpack
from provisioner.store.people.past_snapshots import Keeping, superseded
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import Hold, commit


def roster_columns(names: Iterable[str]) -> list[str]:
    """The roster's own columns among these: what we know of each person besides them begins with an underscore."""
    return [name for name in names if not name.startswith("_")]


def unpack_people(content: bytes | memoryview, wanted: Collection[str] | None) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """People with what we know of each, but of the roster's columns only the wanted ones (None: all).

    Those take only their share of time and memory. Besides them the names of the others.
    """
    names = list(pl.read_ipc_schema(io.BytesIO(content)))
    unread = [] if wanted is None else [name for name in roster_columns(names) if name not in wanted]
    frame = pl.read_ipc(io.BytesIO(content), columns=[name for name in names if name not in unread])
    return frame, tuple(unread)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """People as a run sees them, with the facts of the roster that they came from.

    `renamed` maps earlier keys to present ones; `keys` are the asked people of a run that is not about everybody;
    `unread` are columns of the roster that were left where they are stored, since nobody asked for them. `alike` are
    people who may be others under a new key: old key, new key, what agrees, whether it is sure, whether the old row
    vanished. `unfamiliar` are leavers by a status that no clean roster held yet, with that status.
    """

    people: pl.DataFrame
    digest: str
    removals_wait: str | None
    taken: float
    renamed: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] | None = None
    unread: tuple[str, ...] = ()
    alike: tuple[tuple[str, str, str, bool, bool], ...] = ()
    unfamiliar: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The roster's own columns, read or not."""
        return (*roster_columns(self.people.columns), *self.unread)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A roster that an HR system pushed: its bytes, the `roster.url` of that time, and when (epoch seconds).

    `believed`: it passed the gate, or somebody accepted it; else it is degraded, and removals wait.
    """

    content: bytes = field(repr=False)
    url: str
    at: float
    believed: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """When observed accounts were read: `full` in full for the last time, by our clock, and `seen` at all, by the
    vendor's clock or ours, whichever was behind (both epoch seconds). `origin` is the address that they came from."""

    full: float
    seen: float
    origin: str


class FrameStore:
    """Snapshots of the roster and of the targets."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def observed(self, target: str) -> pl.DataFrame | None:
        """The accounts that a target was last seen to hold."""
        with redis_errors():
            content = await self._redis.get(keys.observed(target))
        return unpack(content) if content else None

    async def remembered(self, target: str) -> tuple[pl.DataFrame, Reading] | None:
        """The same with when they were read; None if either is unknown."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(keys.observed(target))
                pipe.hgetall(keys.reading(target))
                content, facts = await pipe.execute()
        if not content or not facts:
            return None
        return unpack(content), Reading(float(facts[b"full"]), float(facts[b"seen"]), facts[b"origin"].decode())

    async def keep_observed(self, target: str, frame: pl.DataFrame | None, reading: Reading) -> None:
        """Remember every account that a target holds; without a frame, that the remembered ones still hold good."""
        content = None if frame is None else pack(frame)
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                if content is not None:
                    pipe.set(keys.observed(target), content)
                pipe.hset(keys.reading(target), mapping=asdict(reading))
                await pipe.execute()

    async def known(self) -> pl.DataFrame | None:
        """Everybody's last clean row, absences included; None before the first clean snapshot."""
        with redis_errors():
            content = await self._redis.get(keys.PEOPLE)
        return unpack(content) if content else None

    async def known_without_rows(self) -> pl.DataFrame | None:
        """The same without the roster's own columns, which takes a fraction of the time and memory."""
        with redis_errors():
            content = await self._redis.get(keys.PEOPLE)
        return unpack_people(content, ())[0] if content else None

    async def labels(self, people: Collection[str]) -> dict[str, str]:
        """How `roster.label` shows some people, by key; nobody whom the last clean roster does not have."""
        known = await self.known_without_rows() if people else None
        if known is None or "_label" not in known.columns:
            return {}
        found = known.filter(pl.col("_key").is_in(list(people)), pl.col("_label").is_not_null())
        return dict(found.select("_key", "_label").iter_rows())

    async def roster(self) -> dict[str, bytes]:
        """Facts about the newest snapshots: digest, written, taken, baseline."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.ROSTER)
        return {key.decode(): value for key, value in raw.items()}

    async def newest(self) -> tuple[str, float]:
        """The digest of the newest clean roster and when it was taken (epoch seconds); empty and 0 before the first."""
        with redis_errors():
            digest, taken = await self._redis.hmget(keys.ROSTER, ["digest", "taken"])
        return (digest or b"").decode(), float(taken or 0)

    async def keep_clean(
        self,
        people: pl.DataFrame,
        facts: Mapping[str, str | bytes | float],
        hold: Hold | None = None,
        keeping: Keeping | None = None,
    ) -> bool:
        """Replace the last clean snapshot, all or nothing; False if one that was read later is there already.

        Args:
            keeping: how the replaced one is kept, if it is of an earlier day; None: not at all.

        Raises:
            HoldLostError: the lock is lost; the last clean snapshot stays.
        """
        content, taken = pack(people), float(facts.get("taken", 0.0))
        put_by: Callable[[Redis], None] | None = None

        async def newer(pipe: Redis) -> bool:
            nonlocal put_by
            there = await pipe.hget(keys.ROSTER, "taken")
            seconds, _ = await pipe.time()
            # A time to come is of a clock that was set back since, or every later snapshot would be refused
            if there is not None and taken < float(there) <= seconds + 1:
                return True
            put_by = await superseded(pipe, keeping, taken) if keeping is not None else None
            return False

        def write(pipe: Redis) -> None:
            if put_by is not None:
                put_by(pipe)
            pipe.set(keys.PEOPLE, content)
            pipe.hset(keys.ROSTER, mapping=dict(facts))

        watch = (keys.ROSTER, keys.PEOPLE, keys.PAST)
        return await commit(self._redis, hold, write, watch=watch, unless=newer)

    async def rekey(self, old: str, new: str, digest: str | None = None) -> None:
        """Let a person's last clean row go on under another key, or go where that key has one of its own.

        Args:
            digest: of the row with the new key, None if nobody knows it.
        """
        with redis_errors():
            while True:
                async with self._redis.pipeline(transaction=True) as pipe:
                    await pipe.watch(keys.PEOPLE, keys.ROSTER)
                    content = await pipe.get(keys.PEOPLE)
                    baseline = await pipe.hget(keys.ROSTER, "baseline")
                    pipe.multi()
                    if content:
                        pipe.set(keys.PEOPLE, pack(rekeyed(unpack(content), old, new, digest)))
                    if baseline:
                        pipe.hset(keys.ROSTER, "baseline", pack(rekeyed(unpack(baseline), old, new, digest)))
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return

    async def rekey_runs(self, old: str, new: str, digest: str | None = None) -> None:
        """The same in what runs that are not over plan from."""
        with redis_errors():
            names = [name.decode() async for name in self._redis.scan_iter(match=keys.run_people.pattern, count=1000)]
        for name in names:
            run = name.removeprefix(keys.run("")).removesuffix(":people")
            snapshot = await self.for_run(run)
            with redis_errors():
                left = int(await self._redis.ttl(name))
            if snapshot is None or left <= 0:
                continue
            changed = replace(
                snapshot,
                people=rekeyed(snapshot.people, old, new, digest),
                renamed={**snapshot.renamed, old: new},
                alike=tuple(pair for pair in snapshot.alike if pair[0] != old and pair[1] != new),
                keys=tuple(new if key == old else key for key in snapshot.keys) if snapshot.keys else snapshot.keys,
            )
            await self.keep_for_run(run, changed, left)

    async def statuses(self) -> dict[str, frozenset[str]]:
        """By column the texts by which clean rosters said who is employed."""
        with redis_errors():
            members = [member.decode() for member in await self._redis.smembers(keys.STATUSES)]
        pairs = [member.partition("\x1f") for member in members]
        return {name: frozenset(text for other, _, text in pairs if other == name) for name, _, _ in pairs}

    async def add_statuses(self, statuses: Mapping[str, Collection[str]]) -> None:
        """Remember such texts."""
        members = [f"{name}\x1f{text}" for name, texts in statuses.items() for text in texts]
        if members:
            with redis_errors():
                await self._redis.sadd(keys.STATUSES, *members)

    async def note_roster(self, facts: Mapping[str, str | bytes | float]) -> None:
        """Remember facts of a roster without making it the last clean one."""
        with redis_errors():
            await self._redis.hset(keys.ROSTER, mapping=dict(facts))

    async def keep_for_run(self, run: str, snapshot: Snapshot, ttl: int, hold: Hold | None = None) -> None:
        """Keep what a run plans from, until it is over, for at most `ttl` seconds.

        Raises:
            HoldLostError: the lock is lost; nothing is kept.
        """
        facts = {
            "digest": snapshot.digest,
            "removals_wait": snapshot.removals_wait,
            "taken": snapshot.taken,
            "renamed": dict(snapshot.renamed),
            "keys": snapshot.keys,
            "alike": snapshot.alike,
            "unfamiliar": dict(snapshot.unfamiliar),
        }
        head = json.dumps(facts).encode()
        content = len(head).to_bytes(4, "big") + head + pack(snapshot.people)
        await commit(self._redis, hold, lambda pipe: pipe.set(keys.run_people(run), content, ex=ttl))

    async def for_run(self, run: str, columns: Collection[str] | None = None) -> Snapshot | None:
        """What a run plans from; None if it is over or never got so far.

        Args:
            columns: those of the roster that are wanted (None: all); what we know of each person comes in any case.
        """
        with redis_errors():
            content = await self._redis.get(keys.run_people(run))
        if not content:
            return None
        size = int.from_bytes(content[:4], "big")
        head: dict[str, Any] = json.loads(content[4 : 4 + size])
        chosen, alike = head.pop("keys"), tuple((*pair,) for pair in head.pop("alike", ()))
        people, unread = unpack_people(memoryview(content)[4 + size :], columns)
        return Snapshot(people, **head, keys=tuple(chosen) if chosen is not None else None, unread=unread, alike=alike)

    async def has_for_run(self, run: str) -> bool:
        """Whether what a run plans from is kept still."""
        with redis_errors():
            return bool(await self._redis.exists(keys.run_people(run)))

    async def drop_for_run(self, run: str) -> None:
        """Forget what a run planned from."""
        with redis_errors():
            await self._redis.delete(keys.run_people(run), keys.run_content(run))

    async def pushed(self, url: str | None = None) -> Pushed | None:
        """The pushed roster that runs read: the newest that was kept.

        Args:
            url: `roster.url`: what was pushed under another one is used no longer.
        """
        found = []
        with redis_errors():
            for key in (keys.PUSHED, keys.PUSHED_WAITING):
                content, of, at = await self._redis.hmget(key, ["content", "url", "at"])
                if content is not None and url in (None, of.decode()):
                    found.append(Pushed(content, of.decode(), float(at), key == keys.PUSHED))
        return max(found, key=lambda one: one.at, default=None)

    async def pushed_since(self, url: str) -> tuple[float, bool] | None:
        """When the pushed roster that runs read was pushed, and whether it is believed; None if they read `url`."""
        found = []
        with redis_errors():
            for key in (keys.PUSHED, keys.PUSHED_WAITING):
                of, at = await self._redis.hmget(key, ["url", "at"])
                if at is not None and of.decode() == url:
                    found.append((float(at), key == keys.PUSHED))
        return max(found, default=None)

    async def keep_pushed(self, pushed: Pushed, hold: Hold | None = None) -> bool:
        """Keep a pushed roster, which is used until `roster.url` changes; False if a later one is there already.

        One that is not believed yet leaves the believed one before it where it is.

        Raises:
            HoldLostError: the lock is lost; nothing is kept.
        """
        place = keys.PUSHED if pushed.believed else keys.PUSHED_WAITING
        fields: dict[str, str | bytes | float] = {"content": pushed.content, "url": pushed.url, "at": pushed.at}

        async def newer(pipe: Redis) -> bool:
            ats = [await pipe.hget(key, "at") for key in (keys.PUSHED, keys.PUSHED_WAITING)]
            return any(at is not None and float(at) > pushed.at for at in ats)

        def write(pipe: Redis) -> None:
            pipe.delete(keys.PUSHED_WAITING)
            pipe.hset(place, mapping=fields)

        return await commit(self._redis, hold, write, watch=(keys.PUSHED, keys.PUSHED_WAITING), unless=newer)

    async def drop_pushed(self) -> Pushed | None:
        """Drop the pushed roster that runs read; which it was.

        Where it was a degraded one, runs read the believed one before it again, if there was one.
        """
        newest = await self.pushed()
        if newest is not None:
            with redis_errors():
                await self._redis.delete(keys.PUSHED if newest.believed else keys.PUSHED_WAITING)
        return newest
