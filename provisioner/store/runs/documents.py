"""Runs: what was asked, what became of it, and the operations that it planned."""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from provisioner.model.operation import Status
from provisioner.model.operation_document import OperationDocument, RunOperation
from provisioner.model.run_document import (
    RejectedRow,
    RequestDocument,
    RunDocument,
    RunHead,
    RunStatus,
)
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.server import Server
from provisioner.store.runs.follow import with_follow
from provisioner.store.runs.shapes import moment as moment
from provisioner.store.runs.shapes import operation_document, target_document

_PUSHED_FOR: Final = 7 * 86400
#: People up to whom an undo goes before everything else.
_FEW: Final = 50


#: Triggers of runs about people whom others named: whoever pushes them, and webhooks.
PUSHES: Final = "scim"
WEBHOOKS: Final = "webhook"


@dataclass(frozen=True, slots=True)
class Request:
    """What a run was asked for: `targets` and `people` None for all, `accept` a digest of a degraded roster.

    `written` is the writing of a roster that was handed over; `pushed_at` (epoch seconds) that it was pushed to stay.
    `plan` is the digest of a reviewed plan; nothing else is sent. `undo` is a run whose changes are taken back, `force`
    also where somebody changed them since.
    """

    trigger: str
    targets: tuple[str, ...] | None = None
    people: tuple[str, ...] | None = None
    accept: str | None = None
    roster: str | None = None
    full: bool = False
    written: str | None = None
    pushed_at: float | None = None
    plan: str | None = None
    undo: str | None = None
    force: bool = False

    @property
    def urgent(self) -> bool:
        """Whether it is about some people and goes before everything else; an undo of very many does not."""
        return self.people is not None and (self.undo is None or len(self.people) <= _FEW)

    @property
    def named_from_outside(self) -> bool:
        """Whether others named its people, of whom nobody need be known here."""
        return self.trigger in (PUSHES, WEBHOOKS)

    def to_json(self) -> RequestDocument:
        """The form in which it lies in Redis."""
        return cast("RequestDocument", {name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Request:
        """The inverse of `to_json`."""
        lists = {
            name: tuple(document[name]) if document.get(name) is not None else None for name in ("targets", "people")
        }
        names = ("trigger", "accept", "roster", "full", "written", "pushed_at", "plan", "undo", "force")
        rest = {name: document[name] for name in names if name in document}
        return cls(**{**rest, **lists})


#: Statuses whose operations are listed apart (see lua/queue.lua).
LISTED: Final = frozenset(one.value for one in (Status.HELD, Status.FAILED, Status.WAITING, Status.REJECTED))
_GLOB: Final = re.compile(r"[\\*?\[\]]")


def _literally(sign: re.Match[str]) -> str:
    return f"\\{sign[0]}"


class RunStore:
    """All runs."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @staticmethod
    def id_of(now: float) -> str:
        """An id for a run of that moment; ids sort by time, to the millisecond."""
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
        return f"{stamp}{secrets.token_hex(2)}"

    async def create(
        self,
        request: Request,
        *,
        content: bytes | None = None,
        stage: str = "queued",
        run: str | None = None,
        more: Callable[[Redis], object] | None = None,
    ) -> str:
        """Record a new run, queued; `content` is a roster of its own, handed over with the request.

        Args:
            stage: ``begun`` for a run that reads no roster.
            run: its id, see `id_of`; `more` puts further commands into the same transaction.
        """
        now = await Server(self._redis).now()
        run = run or self.id_of(now)
        fields = {
            "request": json.dumps(request.to_json()),
            "trigger": request.trigger,
            "status": "running",
            "stage": stage,
            "created": str(now),
            "started": str(now),
        }
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(keys.run(run), mapping=fields)
                pipe.zadd(keys.RUNS, {run: now})
                if content is not None:
                    pipe.set(keys.run_content(run), zlib.compress(content), ex=_PUSHED_FOR)
                if more is not None:
                    more(pipe)
                await pipe.execute()
        return run

    async def create_begun(
        self,
        run: str,
        request: Request,
        target: str,
        roster: Mapping[str, Any],
        *,
        more: Callable[[Redis], object] | None = None,
    ) -> None:
        """Record a new run of one target that reads no roster: its people are kept already.

        Args:
            run: its id, see `id_of`.
            roster: its document of the roster.
            more: puts further commands into the same transaction.
        """

        def note(pipe: Redis) -> None:
            pipe.hset(keys.run(run), mapping={"targets": json.dumps([target]), "roster": json.dumps(dict(roster))})
            pipe.hset(keys.run_target(run, target), mapping={"status": "running", "stage": "queued"})
            if more is not None:
                more(pipe)

        await self.create(request, stage="begun", run=run, more=note)

    async def content(self, run: str) -> bytes | None:
        """The roster that was handed over with the request, if one was."""
        with redis_errors():
            packed = await self._redis.get(keys.run_content(run))
        return zlib.decompress(packed) if packed else None

    async def request(self, run: str) -> Request | None:
        """What a run was asked for; None if there is no such run."""
        with redis_errors():
            text = await self._redis.hget(keys.run(run), "request")
        return Request.from_json(json.loads(text)) if text else None

    async def exists(self, run: str) -> bool:
        """Whether there is such a run."""
        with redis_errors():
            return bool(await self._redis.exists(keys.run(run)))

    async def set(self, run: str, fields: Mapping[str, str | float | int]) -> None:
        """Set fields of a run."""
        with redis_errors():
            await self._redis.hset(keys.run(run), mapping=dict(fields))

    async def get(self, run: str, field: str) -> str | None:
        """One field of a run."""
        with redis_errors():
            value = await self._redis.hget(keys.run(run), field)
        return value.decode() if value is not None else None

    async def set_target(self, run: str, target: str, fields: Mapping[str, str | float | int]) -> None:
        """Set fields of a run's part for one target."""
        with redis_errors():
            await self._redis.hset(keys.run_target(run, target), mapping=dict(fields))

    async def add_requests(self, run: str, target: str, count: int) -> None:
        """Count HTTP requests that were sent for a run."""
        if count:
            with redis_errors():
                await self._redis.hincrby(keys.run_target(run, target), "requests", count)
                await self._redis.hincrby(keys.TOTALS, f"{target}|requests", count)

    async def target(self, run: str, target: str) -> dict[str, str]:
        """The raw fields of a run's part for one target; a part that joined another run's shows that one's, and a part
        whose overtaken people were planned again shows what became of them (see `follow`)."""
        fields, passed = await self.own_part(run, target), {run}
        # A Redis that was put back may know two that joined each other
        while (joined := fields.get("joined")) and joined not in passed:
            passed.add(joined)
            fields = await self.own_part(joined, target)
        follow = fields.get("follow")
        return with_follow(fields, await self.target(follow, target) if follow else None)

    async def own_part(self, run: str, target: str) -> dict[str, str]:
        """The raw fields of a run's part for one target, just as they are kept."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.run_target(run, target))
        return {key.decode(): value.decode() for key, value in raw.items()}

    async def holders(self, run: str, target: str) -> tuple[str, ...]:
        """The runs that hold the operations of a run's part: itself or the one it joined, and those that followed."""
        found = [await self._joined(run, target)]
        while (follow := await self.part_field(found[-1], target, "follow")) and follow not in found:
            found.append(follow)
        return tuple(found)

    async def part_field(self, run: str, target: str, field: str) -> str | None:
        """One raw field of a run's own part for a target."""
        with redis_errors():
            value = await self._redis.hget(keys.run_target(run, target), field)
        return value.decode() if value is not None else None

    async def targets(self, run: str) -> tuple[str, ...]:
        """The targets of a run, in the order of the settings."""
        text = await self.get(run, "targets")
        return tuple(json.loads(text)) if text else ()

    async def recent(self, limit: int, offset: int = 0) -> tuple[str, ...]:
        """The newest runs first."""
        with redis_errors():
            found = await self._redis.zrevrange(keys.RUNS, offset, offset + limit - 1)
        return tuple(run.decode() for run in found)

    async def unfinished(self, limit: int = 50) -> tuple[str, ...]:
        """Runs among the newest `limit` that are still running, oldest first."""
        recent = reversed(await self.recent(limit))
        return tuple([run for run in recent if await self.get(run, "status") == "running"])

    async def document(self, run: str) -> RunDocument | None:
        """A run as its JSON; None if there is no such run."""
        with redis_errors():
            raw = await self._redis.hgetall(keys.run(run))
        if not raw:
            return None
        fields = {key.decode(): value.decode() for key, value in raw.items()}
        targets = {}
        for target in json.loads(fields.get("targets", "[]")):
            targets[target] = target_document(await self.target(run, target))
        document: RunDocument = {
            "run": run,
            "trigger": fields.get("trigger", "manual"),
            "status": cast("RunStatus", fields.get("status", "running")),
            "started_at": moment(float(fields["started"])) if "started" in fields else None,
            "finished_at": None if fields.get("status") == "running" else moment(float(fields.get("finished") or 0)),
            "roster": json.loads(fields["roster"]) if "roster" in fields else None,
            "targets": targets,
        }
        asked = json.loads(fields.get("request") or "{}")
        if asked.get("plan"):
            document["reviewed"] = asked["plan"]
        if asked.get("undo"):
            document["undo"] = {"run": asked["undo"], "force_drift": bool(asked.get("force"))}
        if "error" in fields:
            document["error"] = json.loads(fields["error"])
        return document

    async def heads(self, runs: Sequence[str]) -> dict[str, RunHead]:
        """Trigger, status and times of those of the runs that are kept."""
        names = ["trigger", "status", "started", "finished"]
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for run in runs:
                    pipe.hmget(keys.run(run), names)
                rows = await pipe.execute()
        found: dict[str, RunHead] = {}
        for run, row in zip(runs, rows, strict=True):
            trigger, status, started, finished = (value.decode() if value else None for value in row)
            if trigger is not None:
                found[run] = {
                    "trigger": trigger,
                    "status": cast("RunStatus", status or "running"),
                    "started_at": moment(float(started)) if started else None,
                    "finished_at": moment(float(finished)) if finished and status != "running" else None,
                }
        return found

    async def operations(
        self,
        run: str,
        targets: Iterable[str],
        *,
        statuses: Sequence[str] | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[OperationDocument]:
        """Operations of a run in the order of the plan, as JSON; paged, so that nothing loads them all at once."""
        found: list[OperationDocument] = []
        for joined, target in [(one, name) for name in targets for one in await self.holders(run, name)]:
            undone = await self._undone(joined, target, statuses)
            start = 0
            while limit is None or len(found) < offset + limit:
                with redis_errors():
                    if undone is None:
                        ids = await self._redis.zrange(keys.run_operations(joined, target), start, start + 499)
                    else:
                        ids = undone[start : start + 500]
                    if not ids:
                        break
                    async with self._redis.pipeline(transaction=False) as pipe:
                        for operation_id in ids:
                            pipe.hgetall(keys.operation(joined, target, operation_id.decode()))
                        rows = await pipe.execute()
                for row in rows:
                    document = operation_document({key.decode(): value.decode() for key, value in row.items()})
                    if document and (statuses is None or document["status"] in statuses):
                        found.append(document)
                start += 500
        return found[offset:] if limit is None else found[offset : offset + limit]

    async def _undone(self, run: str, target: str, statuses: Sequence[str] | None) -> list[bytes] | None:
        """Ids of the operations of some statuses in the order of the plan; None where these have no lists apart."""
        if statuses is None or not set(statuses) <= LISTED:
            return None
        with redis_errors():
            found: list[bytes] = await self._redis.zunion([keys.run_by_status(run, target, one) for one in statuses])
        return found

    async def ids_of(self, run: str, target: str, status: str, most: int) -> list[str]:
        """The ids of so many operations of a run's part that are held, failed, waiting or rejected."""
        found: list[str] = []
        with redis_errors():
            for holder in await self.holders(run, target):
                ids = await self._redis.zrange(keys.run_by_status(holder, target, status), 0, most - 1)
                found += [name.decode() for name in ids]
        return found[:most]

    async def operation(self, run: str, target: str, operation_id: str) -> dict[str, str] | None:
        """The raw fields of one operation, None if the run has none of that id."""
        with redis_errors():
            row = await self._redis.hgetall(keys.operation(run, target, operation_id))
        return {key.decode(): value.decode() for key, value in row.items()} or None

    async def history(self, person: str, limit: int = 50) -> list[RunOperation]:
        """The newest finished operations of a person, as JSON with their run."""
        with redis_errors():
            entries = await self._redis.lrange(keys.history(person), 0, limit - 1)
        found: list[RunOperation] = []
        for entry in entries:
            target, run, operation_id = entry.decode().split("|")
            row = await self.operation(run, target, operation_id)
            document = operation_document(row) if row else None
            if document:
                found.append({"run": run, **document})
        return found

    async def standing(self, target: str, person: str, slots: Sequence[str] | None = None) -> list[RunOperation]:
        """The open operations of a person now, in some slots or in all: pending, sent, waiting or held."""
        with redis_errors():
            if slots is None:
                pattern = f"{_GLOB.sub(_literally, person)}\x1f*"
                found = [one async for _, one in self._redis.hscan_iter(keys.slots(target), match=pattern, count=1000)]
            else:
                fields = [f"{person}\x1f{slot}" for slot in slots]
                found = await self._redis.hmget(keys.slots(target), fields) if fields else []
        documents: list[RunOperation] = []
        for member in found:
            if member is None:
                continue
            run, operation_id = member.decode().split("|")
            row = await self.operation(run, target, operation_id)
            document = operation_document(row) if row else None
            if document:
                documents.append({"run": run, **document})
        return documents

    async def _joined(self, run: str, target: str) -> str:
        return await self.part_field(run, target, "joined") or run

    async def keep_rejects(self, run: str, rejects: Sequence[RejectedRow], ttl: int) -> None:
        """Keep the rejected rows of a run's roster."""
        with redis_errors():
            await self._redis.set(keys.rejects(run), zlib.compress(json.dumps(list(rejects)).encode()), ex=ttl)

    async def rejects(self, run: str) -> list[RejectedRow]:
        """The rejected rows of a run's roster."""
        with redis_errors():
            packed = await self._redis.get(keys.rejects(run))
        found: list[RejectedRow] = json.loads(zlib.decompress(packed)) if packed else []
        return found
