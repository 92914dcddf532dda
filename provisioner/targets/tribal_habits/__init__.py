"""Tribal Habits, learning platform, Public API V1 (kind ``tribal_habits``).

`attributes` says what a user consists of, `pages` reads lists, `batch` spells `batch_save`, `enrolments` the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from provisioner.errors import ConfigurationError, MalformedAnswerError, TargetError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, fold
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary
from provisioner.settings import TargetSettings, TribalHabitsSettings
from provisioner.targets.base import Ask, Listing, Recent, Target
from provisioner.targets.concurrently import each
from provisioner.targets.http import Answer, Http, as_outcome, at
from provisioner.targets.tribal_habits import batch, enrolments, pages
from provisioner.targets.tribal_habits.attributes import CATALOGUE, NEVER_EMPTY, is_custom, read

_USERS = "/papi/users"
_LEAVE = "leave"
_SAVE = "save"


class TribalHabits(Target[TribalHabitsSettings]):
    """One portal."""

    kind: ClassVar[str] = "tribal_habits"
    settings_model: ClassVar[type[TargetSettings]] = TribalHabitsSettings
    catalogue: ClassVar[Mapping[str, Attribute]] = CATALOGUE
    activity: ClassVar[str | None] = "active"
    #: All but `enrol` only with ``invitations: all``, where a repeated row mails the person again; see `settle`.
    hurts_twice: ClassVar[frozenset[Kind]] = frozenset({Kind.CREATE, Kind.UPDATE, Kind.ROLE, Kind.REJOIN, Kind.ENROL})
    finds_by: ClassVar[frozenset[str]] = frozenset({"user_name"})
    deltas: ClassVar[bool] = True
    shared_by_address: ClassVar[bool] = True
    published_rate: ClassVar[bool] = True
    ends_attribute: ClassVar[str | None] = "deactivate_scheduled_date"

    def attribute(self, name: str) -> Attribute:
        """The attribute of that name; ``X-…`` are the organisation's own fields, compared as text.

        Raises:
            ConfigurationError: there is no such attribute.
        """
        return Attribute(name) if is_custom(name) else super().attribute(name)

    def headers(self) -> Mapping[str, str]:
        """The key stands alone in its header, with no scheme word."""
        key = self.settings.api_key
        return {"Authorization": key.get_secret_value() if key else ""}

    def check(self) -> None:
        """Check the settings against what the vendor offers.

        Raises:
            ConfigurationError: see `Target.check`; besides, a rule empties what cannot be emptied, or a leaver's
                attribute is one that no update takes.
        """
        super().check()
        for part, rules in (("attributes", self.settings.attributes), ("leaver", self.settings.leaver)):
            for name, rule in rules.items():
                if rule.empty == "clear" and name in NEVER_EMPTY:
                    raise ConfigurationError(
                        f"targets.{self.name}.{part}.{name}: Tribal Habits offers no way to empty it.",
                        remedy="Remove `empty: clear`, or map a value for every person.",
                    )
        for name in self.settings.leaver:
            if not self.attribute(name).on_update:
                raise ConfigurationError(
                    f"targets.{self.name}.leaver.{name}: no update takes this attribute.", remedy="Remove it."
                )

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002 (a page shows all)
        """List every user, deactivated ones included.

        Raises:
            ListingError, TargetError: see `Target.observe`.
        """
        whole = await pages.read_whole(http, _USERS, size=self.settings.page_size, key="user_name")
        return Listing([self._account(record) for record in whole.records], as_of=whole.as_of)

    async def observe_recent(self, http: Http, since: float) -> Recent:
        """Read the users changed after a moment, and how many there are in all.

        Raises:
            ListingError, TargetError: see `Target.observe`.
        """
        filters = {"updated_at": pages.moment(since)}
        whole = await pages.read_whole(http, _USERS, filters, size=self.settings.page_size, key="user_name")
        # After the changes, so that whoever is made between the two readings is missed by the sum and not for good
        first = pages.page(self.name, await http.read(_USERS, {"max_per_page": 1}))
        return Recent([self._account(record) for record in whole.records], first.total_records, whole.as_of)

    def _account(self, record: object) -> Account:
        if not isinstance(record, Mapping):
            raise MalformedAnswerError(self.name, "a user is no JSON object.")
        user_name = record.get("user_name")
        if not isinstance(user_name, (str, int)) or isinstance(user_name, bool) or not str(user_name).strip():
            raise MalformedAnswerError(self.name, "a user has no user_name.")
        try:
            return Account(str(user_name), read(record))
        except InvalidValueError as exc:
            raise MalformedAnswerError(self.name, f"a user's {exc}.") from None

    async def find(self, http: Http, asks: Sequence[Ask], known: Mapping[str, Account]) -> Listing | None:  # noqa: ARG002
        """Look up the asked people by their account or `user_name`; no other attribute can be looked up.

        Raises:
            TargetError: a look-up failed.
        """
        found = await each(asks, lambda ask: self._find_one(http, ask), limit=pages.AT_ONCE)
        accounts: dict[str, Account] = {}
        for answer in found:
            if answer is None:
                return None
            accounts |= {account.id: account for account in answer}
        return Listing(list(accounts.values()), complete=False)

    async def _find_one(self, http: Http, ask: Ask) -> Sequence[Account] | None:
        """The person's account if any; None where only a listing could tell."""
        tried: set[str] = set()
        for name, value in (("user_name", ask.account), *ask.match.items()):
            if not value or value in tried:
                continue
            if name != "user_name":
                return None
            tried.add(value)
            account = await self._read(http, value)
            if account is not None:
                return [account]
        return []

    async def _read(self, http: Http, user_name: str) -> Account | None:
        answer = await http.read(at(f"{_USERS}/{{}}", user_name), accept=(404,))
        if answer.status == 404:
            return None
        account = self._account(answer.json)
        if account.id.lower() != user_name.lower():
            raise MalformedAnswerError(self.name, "another user was answered than the one asked for.")
        return account

    def group(self, operation: Operation) -> str:
        """Leavers, one person's enrolments, and all the rest."""
        if operation.kind is Kind.LEAVE:
            return _LEAVE
        return f"enrol:{operation.person}" if operation.kind is Kind.ENROL else _SAVE

    def batch_size(self, group: str) -> int:
        """As configured; five codes at once for enrolments."""
        return self.settings.batch_size if group in (_LEAVE, _SAVE) else enrolments.AT_ONCE

    async def apply(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Send one `batch_save`, or one person's enrolments."""
        group = self.group(operations[0])
        if operations[0].kind is Kind.EVENT:
            return [Permanent("unsupported", "Tribal Habits takes no events")] * len(operations)
        if operations[0].kind is Kind.ENROL:
            return await enrolments.apply(http, operations)
        outcomes: dict[int, Outcome] = {}
        rows: dict[int, dict[str, Any]] = {}
        for place, operation in enumerate(operations):
            row = batch.row(operation)
            if isinstance(row, Permanent):
                outcomes[place] = row
            else:
                rows[place] = row
        if rows:
            sent = await self._save(http, [operations[place] for place in rows], list(rows.values()), group)
            if outcomes and all(isinstance(outcome, Permanent) and outcome == sent[0] for outcome in sent):
                # Refused as a whole, perhaps for one bad row: without those refused here it can be halved
                sent = [Temporary(outcome.code, outcome.message) for outcome in sent if isinstance(outcome, Permanent)]
            outcomes |= zip(rows, sent, strict=True)
        return [outcomes[place] for place in range(len(operations))]

    async def _save(
        self, http: Http, operations: Sequence[Operation], rows: Sequence[Mapping[str, Any]], group: str
    ) -> Sequence[Outcome]:
        body: dict[str, Any] = {"people": rows}
        if group != _LEAVE and self.settings.invitations != "none":
            body["send_invitations"] = self.settings.invitations
        result = await http.send("POST", f"{_USERS}/batch_save", body)
        if isinstance(result, Answer):
            outcomes = batch.outcomes(operations, rows, result)
            return await self._without_the_gone(http, operations, outcomes) if group == _LEAVE else outcomes
        return [result] * len(rows)

    async def _without_the_gone(
        self, http: Http, operations: Sequence[Operation], outcomes: Sequence[Outcome]
    ) -> Sequence[Outcome]:
        """Count a refused leaver whose account no longer exists as done.

        To `batch_save` an unknown `user_name` is a new user without a name, so its refusal does not say "not found".
        """

        async def look(pair: tuple[Operation, Outcome]) -> Outcome:
            operation, outcome = pair
            if not isinstance(outcome, Permanent) or not operation.account:
                return outcome
            try:
                gone = await self._read(http, operation.account) is None
            except TargetError as exc:
                return as_outcome(exc)
            return Done(account=operation.account, note="the account no longer existed") if gone else outcome

        return await each(list(zip(operations, outcomes, strict=True)), look, limit=pages.AT_ONCE)

    async def settle(self, http: Http, operation: Operation) -> Outcome | None:
        """Look whether an unclear operation took effect.

        Only an enrolment, and a row that mails an invitation each time (``invitations: all``), hurts twice; of any
        other None is answered without asking, since `batch_save` may be sent again.

        Raises:
            TargetError: the look-up failed.
        """
        if operation.kind is Kind.ENROL:
            return await enrolments.settle(http, operation)
        row = batch.row(operation)
        if self.settings.invitations != "all" or operation.kind is Kind.LEAVE or isinstance(row, Permanent):
            return None
        account = await self._read(http, str(row["user_name"]))
        if account is None:
            return None
        wanted = operation.wanted if operation.kind is Kind.CREATE else operation.after
        for name in row:
            type_ = self.attribute(name).type
            if name != "user_name" and fold(account.values.get(name), type_) != fold(wanted.get(name), type_):
                return None
        return Done(account=account.id, learnt=batch.not_sent(operation), note="found done after an unclear answer")

    async def probe(self, http: Http) -> tuple[str, ...]:
        """Read one user.

        Raises:
            TargetError: what is wrong.
        """
        first = pages.page(self.name, await http.read(_USERS, {"max_per_page": 1}))
        found = [f"{first.total_records} users can be read."]
        if first.records:
            mapped = {*self.settings.attributes, *self.settings.leaver}
            found += [
                f"The portal shows no custom field {name}; make it there, or remove it from the mapping."
                for name in sorted(mapped)
                if is_custom(name) and name not in first.records[0]
            ]
        return tuple(found)
