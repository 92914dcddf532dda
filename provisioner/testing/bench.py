"""A target on the bench: its verbs over real HTTP, with no rate limit and no Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from provisioner.model.account import Account
from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_record import OperationRecord
from provisioner.model.outcome import Outcome
from provisioner.targets.base import Listing, Target
from provisioner.targets.capabilities import CarriesObserved, tokens_of
from provisioner.targets.http import Http, new_client

R = TypeVar("R")


class _Free:
    """A pace that grants every slot at once."""

    async def slot(self, deadline: float) -> _Free:  # noqa: ARG002 - the protocol's
        return self

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        pass


class Bench:
    """Calls a target's methods, each in a new event loop."""

    def __init__(self, target: Target[Any]) -> None:
        self.target = target

    def run(self, use: Callable[[Http], Awaitable[R]], *, read_only: bool = False) -> R:
        """Use the target's transport once."""

        async def main() -> R:
            async with new_client() as client:
                target = self.target
                tokens = tokens_of(target)
                return await use(
                    Http(
                        target.name,
                        client,
                        target.origin,
                        target.headers(),
                        _Free(),
                        read_only=read_only,
                        page_size=target.settings.page_size,
                        tokens=tokens,
                    )
                )

        return asyncio.run(main())

    def observe(self) -> Listing:
        """List everything."""
        return self.run(lambda http: self.target.observe(http, {}), read_only=True)

    def accounts(self) -> dict[str, Account]:
        """What is observed, by id."""
        return {account.id: account for account in self.observe().accounts}

    def probe(self) -> tuple[str, ...]:
        """Prove address and credentials."""
        return self.run(self.target.probe, read_only=True)

    def write(self, *operations: Operation) -> list[Outcome]:
        """Send in calls of the size that the target takes."""
        if not operations:
            return []
        size = self.target.batch_size(self.target.group(operations[0]))
        outcomes: list[Outcome] = []
        for start in range(0, len(operations), size):
            call = operations[start : start + size]
            sent = self.run(lambda http, call=call: self.target.write(http, call))  # type: ignore[misc]  # mypy infers no type of a default in a lambda
            assert len(sent) == len(call), "write gives one outcome per operation"
            outcomes += sent
        return outcomes

    def carried(self, account: str) -> Mapping[str, str | None]:
        """What a plan would carry along of an account."""
        if not isinstance(self.target, CarriesObserved):
            return {}
        values = self.accounts()[account].values
        return {name: values[name] for name in self.target.carried if values.get(name)}


def change(
    kind: Kind,
    account: str | None,
    after: Mapping[str, str | None],
    *,
    person: str,
    wanted: Mapping[str, str | None] | None = None,
    before: Mapping[str, str | None] | None = None,
    observed: Mapping[str, str | None] | None = None,
) -> Operation:
    """An operation as a plan would make it.

    Args:
        wanted: the whole image to hold afterwards; none: `after`.
        before: the whole image that was held; none: nothing.
        observed: what is carried along.
    """
    held = before or {}
    return OperationRecord(
        id=f"{kind.value}-{person}",
        target="t",
        person=person,
        kind=kind,
        account=account,
        before={name: held.get(name) for name in after},
        after=after,
        wanted=after if wanted is None else wanted,
        observed=observed or {},
    ).operation()
