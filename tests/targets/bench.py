"""A target, the stand-in that it talks to, and operations in few words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

from provisioner.model.account import Account
from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_record import OperationRecord
from provisioner.model.outcome import Outcome
from provisioner.sandbox import SandboxServer
from provisioner.settings.kinds import settings_model
from provisioner.targets.base import Ask, Listing
from provisioner.targets.capabilities import LooksUp
from provisioner.targets.http import Http, new_client
from provisioner.targets.registry import make
from tests.support.switches import turn_on

R = TypeVar("R")
_numbers = count(1)


class FreeSlot:
    """A slot that costs nothing."""

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        """Nothing to give back."""


class FreePace:
    """Grants at once."""

    async def slot(self, deadline: float) -> FreeSlot:  # noqa: ARG002 (the protocol's)
        """A slot, now."""
        return FreeSlot()


def target_of(kind: str, base_url: str = "http://127.0.0.1:9", **settings: Any) -> Any:
    """A target of a kind; the settings are those of the YAML file. What it offers the test knows by its kind."""
    model = settings_model(kind)
    assert model is not None
    return make("t", model.model_validate({"kind": kind, "base_url": base_url, **settings}))


class Bench:
    """One fresh instance of a stand-in, and the target that is configured for it."""

    def __init__(self, sandbox: SandboxServer, kind: str, **settings: Any) -> None:
        self.name = f"{kind}-contract{next(_numbers)}"
        self.board = sandbox.switchboard
        self.board.options(self.name, rate_limit=100_000)
        turn_on(self.board, self.name)
        self.target = target_of(kind, sandbox.url_of(self.name), **settings)
        self.requests = 0
        self.writes = 0

    def run(self, use: Callable[[Http], Awaitable[R]], *, read_only: bool = False) -> R:
        """Use the target's transport once; `requests` and `writes` tell what that took."""

        async def main() -> R:
            async with new_client() as client:
                target = self.target
                http = Http(target.name, client, target.origin, target.headers(), FreePace(), read_only=read_only)
                try:
                    return await use(http)
                finally:
                    self.requests, self.writes = http.requests, http.writes

        return asyncio.run(main())

    def observe(self, known: Mapping[str, Account] | None = None) -> Listing:
        """List everything."""
        listing: Listing = self.run(lambda http: self.target.observe(http, known or {}), read_only=True)
        return listing

    def accounts(self) -> dict[str, Account]:
        """What is observed, by id."""
        return {account.id: account for account in self.observe().accounts}

    def find(self, *asks: Ask, known: Mapping[str, Account] | None = None) -> Listing | None:
        """Look up."""
        target = self.target
        if not isinstance(target, LooksUp):
            return None
        return self.run(lambda http: target.find(http, asks, known or {}), read_only=True)

    def write(self, *operations: Operation) -> Sequence[Outcome]:
        """Send."""
        outcomes: Sequence[Outcome] = self.run(lambda http: self.target.write(http, operations))
        assert len(outcomes) == len(operations)
        return outcomes

    def confirm(self, operation: Operation) -> Outcome | None:
        """Look whether it took effect."""
        found: Outcome | None = self.run(lambda http: self.target.confirm(http, operation))
        return found

    def probe(self) -> tuple[str, ...]:
        """Prove address and credentials."""
        return self.run(lambda http: self.target.probe(http), read_only=True)

    def seed(self, *accounts: Mapping[str, Any]) -> None:
        """Put accounts in place, in the vendor's read form."""
        self.board.seed(self.name, accounts)

    def fault(self, **fault: Any) -> None:
        """Order a wrong answer."""
        self.board.fault(self.name, **fault)

    def sent(self, method: str = "") -> list[str]:
        """Method and path of the requests that arrived since the log was cleared."""
        entries = self.board.log(self.name)
        return [f"{one['method']} {one['path']}" for one in entries if not method or one["method"] == method]


def change(kind: Kind, account: str | None, after: Mapping[str, str | None], **more: Any) -> Operation:
    """An operation; `wanted` defaults to `after`."""
    person = str(more.pop("person", account or "E1"))
    more.setdefault("wanted", after)
    more.setdefault("before", dict.fromkeys(after))
    return OperationRecord("op", "t", person, kind, account, after=after, **more).operation()
