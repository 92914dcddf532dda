"""Operations in Redis on their way out: claimed under a lease, and brought to an end.

How they come in is described in `plans`; see lua/queue.lua.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from provisioner.errors import RedisBehindError
from provisioner.model.operation import AccountChange, Operation
from provisioner.model.operation_record import from_json
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.scripts import Argument, Scripts


@dataclass(frozen=True, slots=True)
class Claim:
    """An operation in our hand. `attempts` counts this one; `unclear` means an earlier send may have been done;
    `since` is when it was first sent, `claimed` when we took it (epoch seconds)."""

    run: str
    token: str
    operation: Operation
    attempts: int
    unclear: bool
    since: float
    group: str = ""
    claimed: float = 0.0

    @property
    def member(self) -> str:
        """Its name in the queues."""
        return f"{self.run}|{self.operation.id}"


@dataclass(frozen=True, slots=True)
class End:
    """What became of a claimed operation, as `QueueStore.record` takes it; see lua/queue.lua."""

    claim: Claim
    command: str
    rest: tuple[Argument, ...]

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The script's arguments."""
        claim = self.claim
        return (self.command, claim.operation.target, claim.run, claim.operation.id, claim.token, *self.rest)

    @classmethod
    def done(cls, claim: Claim, patch: Mapping[str, Any], account: str | None, guard: str = "", note: str = "") -> End:
        """See `QueueStore.done`. `guard` is the one that it counts for, should Redis have forgotten the operation.
        `note` is a remark for the history."""
        encoded = json.dumps(dict(patch))
        return cls(claim, "done", (encoded, account or "", claim.operation.person, claim.claimed, guard, note))

    @classmethod
    def failed(cls, claim: Claim, error: Mapping[str, str], patch: Mapping[str, Any], *, refused: bool = False) -> End:
        """See `QueueStore.fail`."""
        return cls(claim, "fail", (json.dumps(dict(error)), json.dumps(dict(patch)), int(refused)))

    @classmethod
    def parked(cls, claim: Claim, seconds: float, error: Mapping[str, str], *, unclear: bool, spend: bool) -> End:
        """See `QueueStore.park`."""
        return cls(claim, "park", (seconds, json.dumps(dict(error)), int(unclear), int(spend)))

    @classmethod
    def given(cls, claim: Claim, group: str) -> End:
        """See `QueueStore.give_back`."""
        return cls(claim, "give", (group,))


@dataclass(frozen=True, slots=True)
class Backlog:
    """A target's work: `ready` now, `leased` in progress, seconds until the next parked one is due (or None)."""

    ready: int
    leased: int
    next_due: float | None


class QueueStore:
    """The queues of all targets."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._script = scripts.load("queue")
        #: The newest position of Redis that is known here, see `store.admin.position`; the mark says of which Redis.
        self.position = 0
        self.mark = ""

    async def _call(self, command: str, target: str, *args: str | int | float) -> Any:
        return await self._script([], [command, target, *args])

    async def claim(
        self,
        target: str,
        *,
        lease: float,
        token: str,
        limits: Mapping[str, int],
        size: Callable[[str], int] = lambda _: 1,
        urgent: bool = False,
    ) -> list[Claim]:
        """Take the most urgent operations that fit into one request, and mark them as being sent.

        Args:
            limits: operations per request by group; ``*`` is the default.
            size: gives the limit of a group that is queued and that `limits` does not have.

        Raises:
            RedisBehindError: Redis holds an earlier state than this process has seen; nothing was taken.
        """
        known = dict(limits)
        rows = await self._claim(target, lease, token, known, urgent=urgent)
        while rows and isinstance(rows[0], bytes):
            group = rows[0].decode()
            known[group] = size(group)
            rows = await self._claim(target, lease, token, known, urgent=urgent)
        claims = []
        for run, group, doc, attempts, unclear, since, account, claimed, aboard, position in rows:
            self.position = max(self.position, int(position))
            operation = from_json(doc)
            if isinstance(operation, AccountChange) and operation.carries:
                # Some may have been refused, or superseded, since they were planned
                codes = json.loads(aboard)
                carries = tuple(one for one in operation.carries if one["enrolment_code"] in codes)
                operation = structs.replace(operation, carries=carries)
            if account and not operation.account:
                operation = structs.replace(operation, account=account.decode())
            claims.append(
                Claim(
                    run=run.decode(),
                    token=token,
                    operation=operation,
                    attempts=int(attempts),
                    unclear=unclear == b"1",
                    since=float(since),
                    group=group.decode(),
                    claimed=float(claimed),
                )
            )
        return claims

    async def _claim(
        self, target: str, lease: float, token: str, limits: Mapping[str, int], *, urgent: bool
    ) -> list[Any]:
        limited = json.dumps(dict(limits))
        rows: list[Any] | int = await self._call(
            "claim", target, lease, token, limited, int(urgent), self.position, self.mark
        )
        if isinstance(rows, int):
            raise RedisBehindError(
                "Redis holds an earlier state than this process has seen; nothing is sent.",
                remedy="The next look at it says what follows; see the log for redis_went_back.",
            )
        return rows

    async def record(
        self, ends: Sequence[End], run: str, target: str, *, requests: int = 0, together: bool = False
    ) -> list[bool]:
        """Record what became of one request's operations, in one round trip; whether each was taken.

        Args:
            together: nobody may claim some of them before all are recorded.
            run: to which the `requests` that were sent to the target are counted.
        """

        def counted(pipe: Redis) -> None:
            pipe.hincrby(keys.run_target(run, target), "requests", requests)
            pipe.hincrby(keys.TOTALS, f"{target}|requests", requests)

        answers = await self._script.each(
            [end.arguments for end in ends], counted if requests else None, together=together
        )
        return [bool(answer) for answer in answers]

    async def done(self, claim: Claim, patch: Mapping[str, Any], account: str | None) -> bool:
        """Record success, and what the ledger learns by it; False if it is over already, or in someone else's hand.

        The ledger learns it also where the operation itself is gone because Redis lost its data.
        """
        return (await self.record([End.done(claim, patch, account)], claim.run, claim.operation.target))[0]

    async def fail(
        self,
        claim: Claim,
        error: Mapping[str, str],
        patch: Mapping[str, Any] | None = None,
        *,
        refused: bool = False,
    ) -> bool:
        """Record a failure that another try would not fix.

        Args:
            patch: what the ledger learns by it all the same.
            refused: nothing of it was done, so it counts for no guard.
        """
        end = End.failed(claim, error, patch or {}, refused=refused)
        return (await self.record([end], claim.run, claim.operation.target))[0]

    async def park(
        self, claim: Claim, seconds: float, error: Mapping[str, str], *, unclear: bool, spend: bool = True
    ) -> bool:
        """Put it aside for `seconds`; `spend` whether the try counts, `unclear` whether it may have been done."""
        return (
            await self.record(
                [End.parked(claim, seconds, error, unclear=unclear, spend=spend)], claim.run, claim.operation.target
            )
        )[0]

    async def give_back(self, claim: Claim, *, group: str = "") -> bool:
        """Return it unsent; a new `group` keeps it apart from those it was claimed with."""
        return bool(await self._call("give", claim.operation.target, claim.run, claim.operation.id, claim.token, group))

    async def drop(self, claim: Claim, reason: Mapping[str, str]) -> bool:
        """End it unsent: something newer says that it must not be sent."""
        return bool(
            await self._call(
                "drop", claim.operation.target, claim.run, claim.operation.id, claim.token, json.dumps(dict(reason))
            )
        )

    async def renew(self, target: str, token: str, lease: float, claims: Sequence[Claim]) -> int:
        """Keep the leases of what is still in progress."""
        members = (claim.member for claim in claims)
        return int(await self._call("renew", target, token, lease, self.position, *members))

    async def reap(self, target: str) -> int:
        """Return what a dead worker had claimed to the queue, as unclear."""
        return int(await self._call("reap", target))

    async def backlog(self, target: str) -> Backlog:
        """How much there is to do."""
        ready, leased, wait = await self._call("next", target)
        due = float(wait)
        return Backlog(int(ready), int(leased), None if due < 0 else due)

    async def bands(self, target: str) -> dict[int, int]:
        """How many operations are ready or parked, by their urgency (see `URGENCY`)."""
        return {urgency: int(count) for urgency, count in enumerate(await self._call("bands", target))}

    async def release(self, run: str, target: str, operation_id: str, by: Mapping[str, Any]) -> bool:
        """Let a held operation go out, or a failed one go again."""
        return bool(await self._call("release", target, run, operation_id, json.dumps(dict(by)), secrets.token_hex(8)))

    async def refuse(self, run: str, target: str, operation_id: str, by: Mapping[str, Any]) -> bool:
        """Drop a held operation because someone said no."""
        return bool(await self._call("refuse", target, run, operation_id, json.dumps(dict(by)), secrets.token_hex(8)))

    async def hold_again(self, run: str, target: str, operation_id: str, error: Mapping[str, str]) -> bool:
        """Hold a rejected operation again, unless something else is open for its person by now."""
        return bool(await self._call("restore", target, run, operation_id, json.dumps(dict(error))))
