"""Whether an unclear change took effect, by what the portal shows of its account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, Type, fold
from provisioner.model.operation import AccountChange, Kind
from provisioner.model.outcome import Done, Outcome, Permanent
from provisioner.targets.http import Http
from provisioner.targets.tribal_habits import batch, enrolments
from provisioner.targets.tribal_habits.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Portal:
    """What can be asked of a portal: `read` gives the account of a user name, if there is one."""

    http: Http
    read: Callable[[str], Awaitable[Account | None]]
    attribute: Callable[[str], Attribute]
    types: Mapping[str, Type]
    catalogue: Catalogue

    async def as_wanted(self, operation: AccountChange) -> Outcome | None:
        """Done, if the account shows what the operation's row brought; None if it does not, or cannot tell.

        Enrolments of which none is there are then sent by themselves.

        Raises:
            TargetError: the look-up failed.
        """
        row = batch.row(structs.replace(operation, carries=()), self.types)
        if isinstance(row, Permanent):
            return None
        account = await self.read(str(row["user_name"]))
        if account is None:
            leaving = operation.kind is Kind.LEAVE
            return Done(account=operation.account, note="the account no longer existed") if leaving else None
        if not self._holds(account, operation, row):
            return None
        missing = await self._missing(account, operation)
        if missing and len(missing) < len(operation.carries):
            return None
        return replace(_found_done(account, operation), carried=not missing)

    async def took_effect(self, operation: AccountChange) -> Outcome | AccountChange | None:
        """Done, if it took effect; what is still to be sent of it, if it did in part; None if it did not.

        Raises:
            TargetError: the look-up failed.
        """
        row = batch.row(structs.replace(operation, carries=()), self.types)
        account = None if isinstance(row, Permanent) else await self.read(str(row["user_name"]))
        if isinstance(row, Permanent) or account is None:
            return None
        same = self._holds(account, operation, row)
        if not operation.carries:
            return _found_done(account, operation) if same else None
        missing = await self._missing(account, operation)
        if len(missing) == len(operation.carries):
            return None
        if same and not missing:
            return _found_done(account, operation)
        # The row may be sent twice, an enrolment that is there may not
        return structs.replace(operation, carries=tuple(missing))

    async def _missing(self, account: Account, operation: AccountChange) -> list[Mapping[str, str | None]]:
        """The enrolments that travel with an operation and that the portal does not show."""
        codes = [one["enrolment_code"] or "" for one in operation.carries]
        records = [await enrolments.enrolment(self.http, self.catalogue, account.id, code) for code in codes]
        return [one for one, record in zip(operation.carries, records, strict=True) if record is None]

    def _holds(self, account: Account, operation: AccountChange, row: Mapping[str, Any]) -> bool:
        """Whether the account shows all that a row brings; what is never shown is taken for missing."""
        wanted = operation.wanted if operation.kind is Kind.CREATE else operation.after
        return all(
            fold(account.values.get(name), type_) == fold(wanted.get(name), type_)
            for name, type_ in ((name, self.attribute(name).type) for name in row if name != "user_name")
        )


def _found_done(account: Account, operation: AccountChange) -> Done:
    return Done(account=account.id, learnt=batch.not_sent(operation), note="found done after an unclear answer")
