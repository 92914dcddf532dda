"""Plans in Redis: laid down, then installed into the queue person by person; and operations that no plan asked for.

See lua/queue_install.lua.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from provisioner.model.operation import EventTag, Operation
from provisioner.model.operation_batches import batches_of
from provisioner.store.queue.entries import Entry, fields_of, order_of
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.growing import members, scored
from provisioner.store.redis.lock import Hold, commit
from provisioner.store.redis.scripts import Scripts

#: Operations of a plan that are written in one go, and slots that are read so.
_CHUNK: Final = 500
_SCANNED: Final = 2000
#: What is installed in one step: so many persons, with their operations, slots and links counted too.
_PART: Final = 100
_PIPED: Final = 20
#: Persons for whom a plan is asked by name, up to whom the slots of each are looked for by themselves.
_NAMED: Final = 20
#: Seconds for which it is noted what is added while a plan is being installed, should that never end.
_KEPT: Final = 86400

#: Of one person: open slots, ids of operations, links.
_Row = tuple[list[str], list[str], list[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a guard counted of others: sent without approval since a moment (epoch seconds), or decided and unsent.

    A plan about everybody takes the place of what others decided: then `count` is how many may go out besides it from
    that moment on. `in_place` is how many it knows of and leaves in place, see `HealthStore.in_place`. `whole`: what
    the plan itself replaces is counted, too.
    """

    since: float
    count: int
    whole: bool = False
    in_place: int = 0


class PlanStore:
    """The way into the queues of all targets."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("queue_install")

    async def install(
        self,
        run: str,
        target: str,
        operations: Sequence[Operation],
        entry: Callable[[Operation], Entry],
        links: Iterable[Mapping[str, Any]],
        *,
        began: float,
        people: Sequence[str] | None,
        urgent: bool,
        leavers: Collection[str] = (),
        accountless: Collection[str] = (),
        unsettled: Collection[str] = (),
        roster: tuple[float, str] = (0.0, ""),
        hold: Hold | None = None,
        counted: Mapping[str, Counted] | None = None,
        beside: bool = False,
    ) -> int | None:
        """Put a plan in place of whatever older plans have not sent; a second plan of the same run is ignored.

        The plan is laid down in Redis first and takes effect then, person by person; one that was broken off in between
        is gone on with by whoever comes next, whatever plan that one brings.

        Args:
            operations: the plan, in its order; `entry` makes of each what goes into the queue.
            links: what the ledger learns without any request, each with its `person`.
            began: when the observation began that the plan is based on, by Redis's clock.
            people: the persons that the plan is about; None: everybody.
            urgent: single-person work, which goes before everything else.
            leavers: people who leave and whom the ledger, after this plan's links, does not say to have left.
            accountless: people who leave and have no account that the plan knows of.
            unsettled: people of whom the plan cannot tell whether they leave.
            roster: when the roster was read that the plan is based on (epoch seconds), and its digest; 0: nobody knows.
            hold: the lock under which this plan is laid down.
            counted: by guard, what the plan relies on.
            besides: it takes the place of what stands in its own operations' slots only.

        Returns:
            How many operations were dropped because something newer had been sent or recorded about their person; None
            where a guard would count more by now: then nothing is installed.

        Raises:
            HoldLostError: the lock is lost; whoever has it lays down a plan of its own.
        """
        part = keys.run_target(run, target)
        with redis_errors():
            installed, begun = await self._redis.hmget(part, ["installed", "installing"])
            if installed is not None:
                return int(installed)
            if begun is None:
                await self._forget_attempt(run, target, hold, counted or ())
                entries = _Entries(entry)
                scanned = not beside and (people is None or len(people) > _NAMED)
                # A plan of very many is installed in parts
                guards = counted.keys() if counted and (scanned or beside) else ()
                rows = await self._lay_down(run, target, operations, entries, urgent=urgent, guards=guards)
                for link in links:
                    _row_of(rows, link["person"])[2].append(link)
                for person in (*(() if beside else people or ()), *leavers):
                    _row_of(rows, person)
                if scanned:
                    await self._add_standing(run, target, rows, everybody=people is None)
                counts = {name: asdict(one) for name, one in (counted or {}).items() if name in entries.guards}
                head = {
                    "began": began,
                    "everybody": people is None and not beside,
                    "guards": counts,
                    "roster": roster,
                }
                leaving = {**dict.fromkeys(unsettled), **dict.fromkeys(accountless, 2), **dict.fromkeys(leavers, 1)}
                await self._begin(run, target, rows, head, hold, leaving, named=scanned or beside)
        return await self._go_on(run, target)

    async def _go_on(self, run: str, target: str) -> int | None:
        dropped, left = 0, 1
        while left:
            dropped, left = await self._script([], ["install", target, run])
        return None if dropped < 0 else int(dropped)

    async def resume(self, run: str, target: str) -> int | None:
        """Bring a run's plan for a target to its end if it was broken off on the way.

        Returns:
            How many operations were dropped; None where no plan of this run was begun.
        """
        with redis_errors():
            begun = any(await self._redis.hmget(keys.run_target(run, target), ["installed", "installing"]))
        return await self._go_on(run, target) if begun else None

    async def _lay_down(
        self,
        run: str,
        target: str,
        operations: Sequence[Operation],
        entry: Callable[[Operation], Entry],
        *,
        urgent: bool,
        guards: Collection[str],
    ) -> dict[str, _Row]:
        """Write a plan's operations into Redis, as yet without a status; by person what there is to install.

        Args:
            guards: those for which it is noted whose changes are still to be installed: others count them once the
                first part is.
        """
        rows: dict[str, _Row] = {}
        place = 0
        for batch in batches_of(operations):
            followers: dict[str, list[str]] = {}
            for operation in batch:
                if operation.follows:
                    followers.setdefault(operation.follows, []).append(operation.id)
            for start in range(0, len(batch), _CHUNK):
                async with self._redis.pipeline(transaction=False) as pipe:
                    order = {}
                    for operation in batch[start : start + _CHUNK]:
                        made = entry(operation)
                        fields = fields_of(made, place, followers.get(operation.id, ()), urgent=urgent)
                        pipe.hset(keys.operation(run, target, operation.id), mapping=fields)
                        for guard, names in made.coming.items():
                            if guard in guards:
                                pipe.sadd(keys.coming(run, target, guard), *names)
                                pipe.expire(keys.coming(run, target, guard), _KEPT)
                        order[operation.id] = order_of(operation, place)
                        _row_of(rows, operation.person)[1].append(operation.id)
                        place += 1
                    pipe.zadd(keys.run_operations(run, target), order)
                    await pipe.execute()
        return rows

    async def _add_standing(self, run: str, target: str, rows: dict[str, _Row], *, everybody: bool) -> None:
        """Add to a plan what is open now; what is added from now on is noted in Redis until it is installed."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zadd(keys.installing(target), {run: time.time()})
            pipe.expire(keys.installing(target), _KEPT)
            await pipe.execute()
        for person in sorted(await scored(self._redis, keys.leavers(target))) if everybody else ():
            _row_of(rows, person.decode())
        async for raw, _ in self._redis.hscan_iter(keys.slots(target), count=_SCANNED):
            slot = raw.decode()
            person = slot.partition("\x1f")[0]
            if everybody or person in rows:
                _row_of(rows, person)[0].append(slot)

    async def _begin(
        self,
        run: str,
        target: str,
        rows: Mapping[str, _Row],
        head: Mapping[str, Any],
        hold: Hold | None,
        leaving: Mapping[str, int | None],
        *,
        named: bool,
    ) -> None:
        """Cut a plan into parts, each of which is installed in one step.

        Args:
            leaving: 1, 2 or None, see lua/queue_install.lua; who is not in it does not leave.
            named: the slots that stand are those that were found, and no step looks for others.
        """
        parts: list[list[Any]] = [[]]
        weight = 0
        for person, (slots, ids, links) in rows.items():
            if weight > _PART:
                parts.append([])
                weight = 0
            # Where they were not looked for, the step itself does so
            parts[-1].append([person, slots if named else None, ids, links, leaving.get(person, 0)])
            weight += 1 + len(slots) + len(ids) + len(links)

        def write(pipe: Redis, start: int) -> None:
            if not start:
                # A planner that was killed may have left some there
                pipe.unlink(keys.stage(run, target))
            for number, part in enumerate(parts[start : start + _PIPED], start + 1):
                pipe.rpush(keys.stage(run, target), json.dumps({"n": number, "people": part}))
            if start + _PIPED >= len(parts):
                pipe.hsetnx(keys.run_target(run, target), "installing", json.dumps(dict(head)))

        for start in range(0, len(parts), _PIPED):
            await commit(self._redis, hold, partial(write, start=start))

    async def add(self, run: str, target: str, entries: Mapping[str, Entry]) -> int:
        """Put operations besides the open ones, which no plan asked for and none replaces.

        Args:
            run: one that is about these operations only.
            entries: by a token each; a token that was ever used before adds nothing.

        Returns:
            How many were new.
        """
        tokens = {entry.operation.id: token for token, entry in entries.items()}
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for place, entry in enumerate(entries.values()):
                    operation = entry.operation
                    kept = "tag" if isinstance(operation, EventTag) else "1"
                    fields = {**fields_of(entry, place, (), urgent=False), "kept": kept}
                    pipe.hset(keys.operation(run, target, operation.id), mapping=fields)
                    pipe.rpush(keys.stage(run, target), operation.id)
                    pipe.zadd(keys.run_operations(run, target), {operation.id: place})
                await pipe.execute()
        return int(await self._script([], ["add", target, run, json.dumps(tokens)]))

    async def never_added(self, target: str, tokens: Sequence[str]) -> list[str]:
        """Those of the tokens that `add` has not used yet."""
        with redis_errors():
            moments = await self._redis.zmscore(keys.added(target), list(tokens)) if tokens else []
        return [token for token, moment in zip(tokens, moments, strict=True) if moment is None]

    async def forget_added(self, target: str, before: float) -> None:
        """Forget which operations were added before a moment (epoch seconds)."""
        with redis_errors():
            await self._redis.zremrangebyscore(keys.added(target), "-inf", before)

    async def _forget_attempt(self, run: str, target: str, hold: Hold | None, guards: Iterable[str]) -> None:
        """Take away what a worker that was killed on the way had put there of this plan."""
        left_over = False
        async for ids in members(self._redis, keys.run_operations(run, target)):
            left_over = True
            some = [keys.operation(run, target, name.decode()) for name in ids]
            # Whoever has the lock meanwhile may have begun to install them
            await commit(self._redis, hold, partial(_take_away, names=some))
        if left_over:
            names = [keys.run_operations(run, target), *(keys.coming(run, target, guard) for guard in guards)]
            await commit(self._redis, hold, partial(_take_away, names=names))


class _Entries:
    """What makes entries of operations, and the guards that these count for."""

    def __init__(self, entry: Callable[[Operation], Entry]) -> None:
        self._entry = entry
        self.guards: set[str] = set()

    def __call__(self, operation: Operation) -> Entry:
        made = self._entry(operation)
        self.guards |= made.coming.keys()
        return made


def _take_away(pipe: Redis, names: Sequence[str]) -> None:
    pipe.unlink(*names)


def _row_of(rows: dict[str, _Row], person: str) -> _Row:
    return rows.setdefault(person, ([], [], []))
