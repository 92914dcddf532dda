"""The stores on a real server, driven from ordinary functions."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from provisioner.model.account import LedgerEntry
from provisioner.model.operation import Kind, Operation, operation_id
from provisioner.model.operation_record import OperationRecord
from provisioner.store.admin.position import PositionStore
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.rekeys import RekeyStore
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.queue.entries import Entry
from provisioner.store.queue.operations import Claim, QueueStore
from provisioner.store.queue.overtaken import OvertakenStore
from provisioner.store.queue.plans import Counted, PlanStore
from provisioner.store.queue.promised_names import PromisedNameStore
from provisioner.store.queue.rate_limit import Claims, Lane, Lost, PaceStore
from provisioner.store.queue.seats import SeatStore
from provisioner.store.redis import keys
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import connect
from provisioner.store.redis.scripts import Scripts
from provisioner.store.redis.server import Server
from provisioner.store.runs.counters import counts
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.target_health import HealthStore

T = TypeVar("T")

TARGET: Final = "target"
LEASE: Final = 600.0
#: Far enough ahead that it never comes while a test runs.
LATER: Final = 3600.0
#: More steps than the plans of any test take.
ALL: Final = 1_000_000


def operation(
    person: str,
    kind: Kind = Kind.UPDATE,
    value: str = "1",
    *,
    follows: Operation | None = None,
    hold: str | None = None,
    refused: bool = False,
    slot: str | None = None,
) -> Operation:
    """An operation that sets one attribute; an event or enrolment has a slot of its own."""
    after: dict[str, str | None] = {"n": value}
    aside = "account"
    if kind is Kind.EVENT:
        aside = "event:created"
    elif kind is Kind.ENROL:
        aside, after = "enrol:TH-1", {"enrolment_code": "TH-1", "due_date": None}
    return OperationRecord(
        id=operation_id(TARGET, person, kind, {}, after),
        target=TARGET,
        person=person,
        kind=kind,
        account=None if kind is Kind.CREATE else f"account-{person}",
        before={},
        after=after,
        slot=slot or aside,
        follows=follows.id if follows else None,
        hold=hold,
        refused=refused,
        row=f"row-{person}",
    ).operation()


def patch(claim: Claim, **more: Any) -> dict[str, Any]:
    """What the ledger learns by the success of an operation of `operation`."""
    if claim.operation.kind is Kind.EVENT:
        return {"paid": ["created"]}
    account = claim.operation.account or f"account-{claim.operation.person}"
    return {"account": account, "values": dict(claim.operation.after), "state": "active", **more}


class DiedError(Exception):
    """The planner's process was killed."""


class Bench:
    """All stores of one server. `bench(awaitable)` waits for it."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.redis: Redis = connect(RedisAddress.parse(url))
        scripts = Scripts(self.redis)
        self.queue = QueueStore(self.redis, scripts)
        self.plans = PlanStore(self.redis, scripts)
        self.plans._script = self._mortal(self.plans._script)
        self.names = PromisedNameStore(self.redis, scripts)
        self.ledger = LedgerStore(self.redis)
        self.runs = RunStore(self.redis)
        self.health = HealthStore(self.redis)
        self.pace = PaceStore(self.redis, scripts)
        self.position = PositionStore(self.redis)
        self.seats = SeatStore(self.redis)
        self.frames = FrameStore(self.redis)
        self.overtaken = OvertakenStore(self.redis, scripts)
        self.rekeys = RekeyStore(self.redis, scripts)
        self._numbers = itertools.count(1)
        #: Steps of installing plans after which their planner dies.
        self.steps = ALL

    def _mortal(self, script: Any) -> Any:
        async def step(names: list[str], arguments: list[str]) -> Any:
            if not self.steps:
                raise DiedError
            self.steps -= 1
            return await script(names, arguments)

        return step

    def __call__(self, work: Awaitable[T]) -> T:
        async def main() -> T:
            return await work

        return self._runner.run(main())

    def close(self) -> None:
        """Close the connections."""
        self(self.redis.aclose())
        self._runner.close()

    def now(self) -> float:
        """The server's clock."""
        return self(Server(self.redis).now())

    def name_run(self) -> str:
        """A name that no run has yet."""
        return f"run-{next(self._numbers):03}"

    def install(
        self,
        operations: Iterable[Operation],
        *,
        run: str | None = None,
        began: float | None = None,
        people: Sequence[str] | None = None,
        links: Iterable[Mapping[str, Any]] = (),
        urgent: bool = False,
        leavers: Collection[str] = (),
        accountless: Collection[str] = (),
        roster: tuple[float, str] = (0.0, ""),
        guard: str = "",
        counted: Counted | None = None,
        group: str | None = None,
        stake: Mapping[str, Sequence[str]] | None = None,
        names: Mapping[str, Mapping[str, str]] | None = None,
    ) -> tuple[str, int]:
        """Install a plan that was observed at `began` (just now); (its run, how many were dropped; -1: its guard would
        count more by now than `counted`, and nothing is installed). `names`: by person what their create keeps."""
        run = run or self.name_run()

        def entry(one: Operation) -> Entry:
            group_ = group or ("event" if one.kind is Kind.EVENT else "save")
            return Entry(one, group_, guard, stake=stake or {}, names=(names or {}).get(one.person, {}))

        since = self.now() if began is None else began
        dropped = self(
            self.plans.install(
                run,
                TARGET,
                tuple(operations),
                entry,
                links,
                began=since,
                people=people,
                urgent=urgent,
                leavers=leavers,
                accountless=accountless,
                roster=roster,
                counted={guard: counted} if counted else None,
            )
        )
        return run, -1 if dropped is None else dropped

    def claim(
        self, limit: int = 100, *, lease: float = LEASE, token: str | None = None, urgent: bool = False
    ) -> list[Claim]:
        """Claim up to `limit` operations of one group."""
        name = token or f"token-{next(self._numbers):03}"
        return self(self.queue.claim(TARGET, lease=lease, token=name, limits={"*": limit}, urgent=urgent))

    def take(self, *, lease: float = LEASE) -> Claim:
        """Claim the one operation that is ready first."""
        (claim,) = self.claim(1, lease=lease)
        return claim

    def let_out(self, held: Claims) -> bool:
        """Whether Redis lets a request out that is sent for these claims."""
        answer = self(self.pace.acquire("resource", [(1_000_000, 0.001)], deadline=0.001, claims=held))
        return not isinstance(answer, Lost)

    def expire(self, *claims: Claim) -> int:
        """Let leases run out, and have that noticed."""
        for claim in claims:
            self(self.redis.zadd(keys.leases(TARGET), {claim.member: 0}, xx=True))
        return self(self.queue.reap(TARGET))

    def pass_time(self, seconds: float) -> None:
        """Let leases and what is parked be nearer to their end."""
        for name in (keys.leases(TARGET), keys.parked(TARGET)):
            for member in self(self.redis.zrange(name, 0, -1)):
                self(self.redis.zincrby(name, -seconds, member))

    def end_seat(self, lane: Lane, number: int) -> None:
        """The time is over for which a holder who died has a seat."""
        self(self.redis.delete(keys.seat(TARGET, lane, number)))

    def copy(self) -> dict[bytes, bytes]:
        """All that lies in Redis."""
        names = self(self.redis.keys("*"))
        return {name: dump for name in names if (dump := self(self.redis.dump(name))) is not None}

    def put_back(self, copy: Mapping[bytes, bytes]) -> None:
        """Let Redis hold what a copy holds, and nothing else."""
        self(self.redis.flushdb())
        for name, dump in copy.items():
            self(self.redis.restore(name, 0, dump))

    def ripen(self) -> None:
        """Let the time of everything that is parked come."""
        for member in self(self.redis.zrange(keys.parked(TARGET), 0, -1)):
            self(self.redis.zadd(keys.parked(TARGET), {member: 0}))

    def status(self, run: str, one: Operation | str) -> str:
        """The status of an operation of a run."""
        return self.fields(run, one)["status"]

    def fields(self, run: str, one: Operation | str) -> dict[str, str]:
        """Everything about an operation of a run."""
        row = self(self.runs.operation(run, TARGET, one if isinstance(one, str) else one.id))
        assert row is not None
        return row

    def error(self, run: str, one: Operation) -> str:
        """The code of an operation's error."""
        return str(json.loads(self.fields(run, one)["error"])["code"])

    def entry(self, person: str) -> LedgerEntry | None:
        """A person's entry in the ledger."""
        return self(self.ledger.entry(TARGET, person))

    def standing(self) -> dict[tuple[str, str], str]:
        """By person and slot what stands there: the member of the queue."""
        found = self(self.redis.hgetall(keys.slots(TARGET)))
        names = {slot.decode().partition("\x1f"): member.decode() for slot, member in found.items()}
        return {(person, slot): member for (person, _, slot), member in names.items()}

    def staged(self, run: str) -> frozenset[str]:
        """The people of those parts of a plan that are not installed yet."""
        parts = self(self.redis.lrange(keys.stage(run, TARGET), 0, -1))
        return frozenset(row[0] for part in parts for row in json.loads(part)["people"])

    def again(self, run: str) -> tuple[str, ...]:
        """Whom a run plans again."""
        return self(self.overtaken.people(run, TARGET))

    def ready(self) -> list[str]:
        """What can be claimed now, in order: the members of the queue."""
        return [member.decode() for member in self(self.redis.zrange(keys.queued(TARGET), 0, -1))]

    def parked(self) -> list[str]:
        """What waits for its time."""
        return [member.decode() for member in self(self.redis.zrange(keys.parked(TARGET), 0, -1))]

    def leased(self) -> list[str]:
        """What is in somebody's hand."""
        return [member.decode() for member in self(self.redis.zrange(keys.leases(TARGET), 0, -1))]

    def counters_are_right(self, run: str) -> bool:
        """Whether the counters of a run are those of its operations' statuses."""
        rows = self(self.runs.operations(run, [TARGET]))
        real = Counter((row["status"], row["kind"]) for row in rows)
        fields = self(self.runs.own_part(run, TARGET))
        told = Counter(
            {
                (status, kind): count
                for status in {name.split(":")[1] for name in fields if name.startswith("n:")}
                for kind, count in counts(fields, status).items()
            }
        )
        return real == told
