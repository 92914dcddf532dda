"""How a target is: paused by a person, quarantined by us, or fine; and the lists that a person looks after."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from provisioner.model.decision_document import KeptDecision
from provisioner.model.operation import REMOVALS
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.lock import commit
from provisioner.store.runs.faults import FIELDS, Fault

#: Parts into which a window of outcomes is cut, so that it moves on without a record of each.
_SLICES: Final = 10
#: Operations that are read in one go.
_CHUNK: Final = 500
#: Seconds for which it is known what went out without approval, see lua/queue_common.lua.
_SENT_KEPT: Final = 31 * 86400


@dataclass(frozen=True, slots=True)
class Health:
    """`paused`: someone stopped writing, at `paused_at` for the reason `paused_why`, which may be empty.

    `quarantined`: we did, for `reason`, and probe again at `probe_at` (epoch seconds). `unseen` is since when the
    target waits for a run about everybody to read it, because Redis was put back to an earlier state; 0 if it does not.
    `read` says whether a run about everybody has read it at all, as far as this Redis knows.
    `failures` are connection failures in a row, `probes` looks in vain, `eased` the end of the last one, and `fault` is
    what delivering ended with unexpectedly.
    """

    paused: bool = False
    paused_by: str = ""
    paused_at: float = 0.0
    paused_why: str = ""
    quarantined: bool = False
    unreachable: bool = False
    reason: str = ""
    probe_at: float = 0.0
    probes: int = 0
    failures: int = 0
    eased: float = 0.0
    unseen: float = 0.0
    read: bool = False
    fault: Fault = field(default_factory=Fault)

    @property
    def blocked(self) -> bool:
        """Whether nothing may be written now."""
        return self.paused or self.quarantined

    @property
    def status(self) -> str | None:
        """The status of a run's part for such a target, None for a healthy one."""
        if self.quarantined:
            return "unreachable" if self.unreachable else "quarantined"
        if self.paused:
            return "paused"
        return "failed" if self.fault.lasting else None


class HealthStore:
    """The health of all targets."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def of(self, target: str) -> Health:
        """The health of one target."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.health(target))
        fields = {key.decode(): value.decode() for key, value in raw.items()}
        return Health(
            paused=fields.get("paused") == "1",
            paused_by=fields.get("paused_by", ""),
            paused_at=float(fields.get("paused_at", 0)),
            paused_why=fields.get("paused_why", ""),
            quarantined=fields.get("quarantined") == "1",
            unreachable=fields.get("unreachable") == "1",
            reason=fields.get("reason", ""),
            probe_at=float(fields.get("probe_at", 0)),
            probes=int(fields.get("probes", 0)),
            failures=int(fields.get("failures", 0)),
            eased=float(fields.get("eased", 0)),
            unseen=float(fields.get("unseen", 0)),
            read="read" in fields,
            fault=Fault.read(fields),
        )

    async def pause(self, target: str, *, paused: bool, by: str = "", at: float = 0.0, why: str = "") -> None:
        """Stop or resume writing.

        Args:
            at: epoch seconds by Redis's clock.
        """
        fields = {"paused": int(paused), "paused_by": by, "paused_at": at, "paused_why": why}
        with redis_errors():
            await self._redis.hset(keys.health(target), mapping=fields)

    async def quarantine(
        self, target: str, reason: str, *, probe_at: float, unreachable: bool, probes: int, again: bool
    ) -> bool:
        """Stop writing until a probe succeeds; True if this began it, False if it already was.

        Args:
            probes: how many probes in vain the time of the next one counts for.
            again: the target was probed in vain, so one that was in quarantine already gets the new times too.
        """
        fields = {"unreachable": int(unreachable), "reason": reason, "probe_at": probe_at, "probes": probes}
        with redis_errors():
            begun = bool(await self._redis.hsetnx(keys.health(target), "quarantined", 1))
            if begun or again:
                await self._redis.hset(keys.health(target), mapping=fields)
        return begun

    async def recovered(self, target: str, now: float | None = None) -> bool:
        """End a quarantine; True if there was one. What was counted before counts no more.

        One that waits for a run about everybody stays, see `seen`.

        Args:
            now: when it ended by itself, so that a relapse soon after is known for one; None: a person ended it.
        """
        with redis_errors():
            if await self._redis.hexists(keys.health(target), "unseen"):
                return False
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hget(keys.health(target), "quarantined")
                pipe.hdel(keys.health(target), "quarantined", "unreachable", "reason", "probe_at", "failures")
                before, _ = await pipe.execute()
            if now is None:
                await self._redis.hdel(keys.health(target), "probes", "eased", *FIELDS)
            elif before == b"1":
                await self._redis.hset(keys.health(target), "eased", now)
            if before == b"1":
                await self._redis.delete(keys.outcomes(target))
        return bool(before == b"1")

    async def seen(self, target: str, unseen: float) -> bool:
        """A run about everybody that began after `unseen` has read the target; True if that ended its quarantine."""
        key = keys.health(target)

        async def newer(pipe: Redis) -> bool:
            found = await pipe.hget(key, "unseen")
            return found is None or float(found) > unseen

        def write(pipe: Redis) -> None:
            pipe.hdel(key, "quarantined", "unreachable", "reason", "probe_at", "failures", "unseen")
            pipe.delete(keys.outcomes(target))

        return await commit(self._redis, None, write, watch=(key,), unless=newer)

    async def note_unread(self, targets: Collection[str], asked: Collection[str]) -> None:
        """Note which targets were to be read, and no run about everybody has read them so far.

        Args:
            targets: all that are enabled; of others nothing is noted.
            asked: those of a run that begins; what earlier runs noted stays.
        """
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for target in targets:
                    pipe.hexists(keys.health(target), "read")
                pipe.smembers(keys.UNREAD)
                *known, names = await pipe.execute()
            before = {name.decode() for name in names}
            found = {target for target, read in zip(targets, known, strict=True) if not read}
            unread = found & (before | set(asked))
            if unread == before:
                return
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(keys.UNREAD)
                if unread:
                    pipe.sadd(keys.UNREAD, *unread)
                await pipe.execute()

    async def note_read(self, target: str) -> None:
        """A run about everybody has read the target: who has no entry in its ledger has no account there."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keys.health(target), "read", 1)
                pipe.srem(keys.UNREAD, target)
                await pipe.execute()

    async def count_outcomes(
        self, target: str, good: int, bad: int, *, window: float, now: float | None = None
    ) -> tuple[int, int]:
        """The target answered: add outcomes to those of the last `window` seconds; (good, bad) of them all.

        Args:
            now: epoch seconds by Redis's clock, if the caller knows them.
        """
        key = keys.outcomes(target)
        with redis_errors():
            seconds = (await self._redis.time())[0] if now is None else now
            span = window / _SLICES
            place = int(int(seconds) // span)
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hdel(keys.health(target), "failures")
                pipe.hincrby(key, f"{place}:good", good)
                pipe.hincrby(key, f"{place}:bad", bad)
                pipe.expire(key, int(window) + 1)
                pipe.hgetall(key)
                *_, raw = await pipe.execute()
            counts = {"good": 0, "bad": 0}
            old = []
            for field, count in raw.items():
                when, _, what = field.decode().partition(":")
                if int(when) > place - _SLICES:
                    counts[what] += int(count)
                else:
                    old.append(field)
            if old:
                await self._redis.hdel(key, *old)
        return counts["good"], counts["bad"]

    async def failed(self, target: str) -> int:
        """Count a connection failure; how many there are in a row now."""
        with redis_errors():
            return int(await self._redis.hincrby(keys.health(target), "failures", 1))

    async def reached(self, target: str) -> None:
        """The target answered."""
        with redis_errors():
            await self._redis.hdel(keys.health(target), "failures")

    async def keep_lists(self, target: str, lists: Mapping[str, Sequence[Any]]) -> None:
        """Keep the newest plan's conflicts, to-dos, drift and orphans."""
        with redis_errors():
            await self._redis.hset(
                keys.lists(target), mapping={name: json.dumps(list(rows)) for name, rows in lists.items()}
            )

    async def replace_in_lists(
        self, target: str, people: Sequence[str], lists: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        """Replace what some lists say of these people; what they say of others stays."""
        key = keys.lists(target)

        async def replace(pipe: Any) -> None:
            texts = [await pipe.hget(key, name) for name in lists]
            pipe.multi()
            for text, (name, rows) in zip(texts, lists.items(), strict=True):
                others = [one for one in (json.loads(text) if text else []) if one["person"] not in people]
                pipe.hset(key, name, json.dumps([*others, *rows]))

        with redis_errors():
            await self._redis.transaction(replace, key)

    async def list(self, target: str, name: str) -> list[Any]:
        """One of those lists."""
        with redis_errors():
            text = await self._redis.hget(keys.lists(target), name)
        found: list[Any] = json.loads(text) if text else []
        return found

    async def sent(self, target: str, guard: str, since: float) -> int:
        """How many operations of a guard went out without approval since a moment."""
        with redis_errors():
            return int(await self._redis.zcount(keys.sent(target, guard), since, "+inf"))

    async def sent_ids(self, target: str, guard: str, since: float, most: int) -> tuple[str, ...]:
        """Which they were, up to a number: operation ids, or what is counted in their place."""
        with redis_errors():
            found = await self._redis.zrangebyscore(keys.sent(target, guard), since, "+inf", start=0, num=most)
        return tuple(name.decode() for name in found)

    async def note_sent(self, target: str, guard: str, names: Sequence[str], now: float) -> bool:
        """Count what went out and was forgotten for a guard, each once; whether anything was new.

        Args:
            names: what is counted, in place of operation ids.
            now: epoch seconds.
        """
        if not names:
            return False
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(keys.sent(target, guard), dict.fromkeys(names, now), nx=True)
                pipe.expire(keys.sent(target, guard), _SENT_KEPT)
                new, _ = await pipe.execute()
        return bool(new)

    async def unsent(self, target: str, guard: str, but: Sequence[str] = ()) -> int:
        """How many operations of a guard (values, for `removals`) are decided without approval and wait to be sent.

        Args:
            but: people whose account operations do not count, since a plan about them takes their place.
        """
        with redis_errors():
            count = int(await self._redis.scard(keys.unsent(target, guard))) + await self._coming(target, guard, but)
            if not count or not but:
                return count
            slots = [f"{person}\x1faccount" for person in but]
            members = [one for one in await self._redis.hmget(keys.slots(target), slots) if one]
            own = await self._of(target, guard, members)
        return count - own

    async def in_place(self, target: str, guard: str, read: float, digest: str) -> int:
        """How many unsent operations of a guard a plan for everybody leaves in place, as they are of a newer roster.

        Args:
            read: when the plan's roster was read (epoch seconds), and its `digest`.
        """
        with redis_errors():
            at, newest = await self._redis.hmget(keys.health(target), ["roster", "roster_digest"])
            if at is None or float(at) <= read or (newest or b"").decode() == digest:
                return 0
            people = await self._redis.zrangebyscore(keys.rostered(target), f"({read!r}", "+inf")
            if not people:
                return 0
            slots = [person + b"\x1faccount" for person in people]
            members = [one for one in await self._redis.hmget(keys.slots(target), slots) if one]
            return await self._of(target, guard, members)

    async def _of(self, target: str, guard: str, members: Sequence[bytes]) -> int:
        """How much of an unsent count these operations are."""
        if not members:
            return 0
        if guard != REMOVALS:
            return sum(await self._redis.smismember(keys.unsent(target, guard), members))
        count = 0
        for member in members:
            run, _, operation = member.decode().partition("|")
            removes = int(await self._redis.hget(keys.operation(run, target, operation), "removes") or 0)
            values = [f"{member.decode()}|{number}" for number in range(1, removes + 1)]
            count += sum(await self._redis.smismember(keys.unsent(target, guard), values)) if values else 0
        return count

    async def held_removals(self, run: str, target: str) -> int:
        """How many values that we never wrote the held operations of a run would take away."""
        count = 0
        with redis_errors():
            held = await self._redis.zrange(keys.run_by_status(run, target, "held"), 0, -1)
            for start in range(0, len(held), _CHUNK):
                async with self._redis.pipeline(transaction=False) as pipe:
                    for name in held[start : start + _CHUNK]:
                        pipe.hget(keys.operation(run, target, name.decode()), "removes")
                    count += sum(int(found or 0) for found in await pipe.execute())
        return count

    async def _coming(self, target: str, guard: str, but: Sequence[str]) -> int:
        """How many of plans that are installed in part are still to be installed; see lua/queue_install.lua."""
        count = 0
        for raw in await self._redis.zrange(keys.installing(target), 0, -1):
            run = raw.decode()
            if await self._redis.hexists(keys.run_target(run, target), "chunk"):
                name = keys.coming(run, target, guard)
                count += int(await self._redis.scard(name))
                for person in but:
                    count -= int(await self._redis.sismember(name, person))
                    number = 2
                    while await self._redis.sismember(name, f"{person}\x1f{number}"):
                        count, number = count - 1, number + 1
        return count

    async def decisions(self, target: str) -> dict[str, KeptDecision]:
        """Approvals and rejections by operation id."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.decisions(target))
        return {key.decode(): json.loads(value) for key, value in raw.items()}

    async def decide(self, target: str, operation_id: str, decision: KeptDecision) -> None:
        """Record an approval or a rejection."""
        with redis_errors():
            await self._redis.hset(keys.decisions(target), operation_id, json.dumps(dict(decision)))

    async def undecide(self, target: str, operation_id: str) -> None:
        """Forget what was decided about an operation."""
        with redis_errors():
            await self._redis.hdel(keys.decisions(target), operation_id)


def rejections(decisions: Mapping[str, KeptDecision], seconds: float, now: float) -> dict[str, KeptDecision]:
    """The rejections among decisions that have not expired, by operation id.

    Args:
        seconds: for which a rejection holds good at most.
        now: epoch seconds.
    """
    return {
        name: made for name, made in decisions.items() if made["verdict"] == "rejected" and now - made["at"] <= seconds
    }
