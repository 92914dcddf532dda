"""Traitly, customer analytics: customers, events, recommended next actions.

The vendor's "API Reference" publishes POST for customers only, and says that the API creates, retrieves *and
updates*: a POST with a known `customer_id` is taken as the update. Nothing says that such a POST keeps
what it leaves out, so every update sends back all that was observed, `created_at` first of all, which would otherwise
become the moment of the update. No error, limit or paging is published; see docs/targets/traitly.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urljoin, urlsplit

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError
from provisioner.model.account import Account
from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical, fold, natural
from provisioner.model.event import Fact, InboundEvent
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Unclear
from provisioner.targets.base import Ask, Listing, Target, Told
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer, sentence
from provisioner.targets.traitly import events
from provisioner.targets.traitly.settings import TraitlySettings

CUSTOMERS = "/api/v1/customer"
EVENTS = "/api/v1/event"
NEXT_ACTIONS = ("/api/v1/recommended-next-actions", "/api/v1/recommended-next-action")

_CUSTOM = "custom_attributes"
_FAMILY = f"{_CUSTOM}."
_REQUIRED = ("name", "email", "plan")
_OPTIONAL = ("created_at", "monthly_payment_amount", "location", "phone_number", "organisation_id")
#: A customer that nobody has; asking for it proves the token and reads nothing.
_NOBODY = "provisioner-probe-no-such-customer"
_MAX_PAGES = 10_000
_NAMED = 3
#: Customers whose next actions one reading asks for; the next goes on where it ended.
_ASKED_AT_ONCE = 200


class Traitly(Target[TraitlySettings]):
    """One Traitly account."""

    kind = "traitly"
    settings_model = TraitlySettings
    catalogue: ClassVar[Mapping[str, Attribute]] = {
        attribute.name: attribute
        for attribute in (
            Attribute("customer_id", identifier=True, required=True, on_update=False),
            Attribute("name", required=True),
            Attribute("email", Type.EMAIL, required=True),
            Attribute("plan", required=True),
            Attribute("created_at", Type.EPOCH),
            Attribute("monthly_payment_amount", Type.NUMBER),
            Attribute("location"),
            Attribute("phone_number"),
            Attribute("organisation_id"),
            Attribute(_CUSTOM, on_create=False, on_update=False, advice=f"Map {_FAMILY}<name> instead."),
        )
    }
    carried = (*_REQUIRED, *_OPTIONAL, _CUSTOM)
    hurts_twice = frozenset({Kind.EVENT})
    finds_by = frozenset({"customer_id"})
    routed = "event"

    def attribute(self, name: str) -> Attribute:
        """As every target's; besides, any `custom_attributes.<name>` is one."""
        if name.startswith(_FAMILY) and len(name) > len(_FAMILY):
            return Attribute(name)
        return super().attribute(name)

    def check(self) -> None:
        """As every target's; besides, what a customer cannot be without must not be cleared."""
        super().check()
        for section in ("attributes", "leaver"):
            for name, rule in getattr(self.settings, section).items():
                if rule.empty == "clear" and name in (*_REQUIRED, "created_at"):
                    raise ConfigurationError(
                        f"targets.{self.name}.{section}.{name}: Traitly cannot hold a customer without it.",
                        remedy="Remove `empty: clear`.",
                    )

    @property
    def facts(self) -> Mapping[str, str]:
        """The configured event names."""
        return {fact: name for fact, name in self.settings.events if name}

    def headers(self) -> Mapping[str, str]:
        """The token, with the word that the page prints before it."""
        token = self.settings.token.get_secret_value() if self.settings.token else ""
        return {"Authorization": f"Token {token}"}

    async def observe(self, http: Http, known: Mapping[str, Account]) -> Listing:  # noqa: ARG002
        """Every customer: one read, or as many as `metadata.next` leads on to.

        Raises:
            ListingError: the way to the next page leads elsewhere, in a circle or has no end.
            TargetError: any other failure.
        """
        return await asyncio.to_thread(self._listing, await self._rows(http, CUSTOMERS, {}))

    def _listing(self, rows: list[Mapping[str, Any]]) -> Listing:
        """The listing of these rows, which are let go of one by one: they take a kilobyte each, and so do accounts."""
        accounts: dict[str, Account] = {}
        doubled: dict[str, None] = {}
        rows.reverse()
        while rows:
            account = self._account(rows.pop())
            if account.id in accounts:
                doubled[account.id] = None
            else:
                accounts[account.id] = account
        return Listing(tuple(accounts.values()), notes=_doubled(doubled))

    async def find(
        self,
        http: Http,
        asks: Sequence[Ask],
        known: Mapping[str, Account],  # noqa: ARG002
    ) -> Listing | None:
        """Look customers up by `customer_id`; None where somebody could also be known by something else."""
        accounts: dict[str, Account] = {}
        doubled: dict[str, None] = {}
        for ask in asks:
            sought = ask.account or ask.match.get("customer_id")
            others = any(value for name, value in ask.match.items() if name != "customer_id")
            if sought is None and others:
                return None
            if sought is None or sought in accounts:
                continue
            found = [
                account
                for account in map(self._account, await self._rows(http, CUSTOMERS, {"customer_id": sought}))
                if account.id == sought
            ]
            if not found and ask.account is None and others:
                return None
            if len(found) > 1:
                doubled[sought] = None
            accounts.update((account.id, account) for account in found[:1])
        return Listing(tuple(accounts.values()), complete=False, notes=_doubled(doubled))

    def group(self, operation: Operation) -> str:
        """Leavers, other customers, and events; each request takes one anyway."""
        if operation.kind is Kind.EVENT:
            return "event"
        return "leave" if operation.kind is Kind.LEAVE else "save"

    def batch_size(self, group: str) -> int:  # noqa: ARG002
        """Always 1: both endpoints take one object."""
        return 1

    async def apply(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Send customers or events, each in a request of its own."""
        return [
            await (self._send_event if operation.kind is Kind.EVENT else self._save)(http, operation)
            for operation in operations
        ]

    async def settle(self, http: Http, operation: Operation) -> Outcome | None:
        """Look for an event of that customer, name and `created_at`, which was fixed when the event was planned."""
        if operation.kind is not Kind.EVENT:
            return None
        wanted = {"customer_id": _address(operation), **operation.after}
        query = {name: wanted.get(name) or "" for name in ("customer_id", "name")}
        for row in await self._rows(http, EVENTS, query):
            try:
                moment = canonical(row.get("created_at"), Type.EPOCH)
            except InvalidValueError:
                continue
            if moment == wanted.get("created_at") and all(str(row.get(name)) == text for name, text in query.items()):
                return Done(account=query["customer_id"], note="found at Traitly, not sent again")
        return None

    async def probe(self, http: Http) -> tuple[str, ...]:
        """Ask for a customer that nobody has."""
        answer = await http.read(CUSTOMERS, {"customer_id": _NOBODY}, accept=(404,))
        if answer.status == 404:
            # Either this is how it says that there is no such customer, or nothing of Traitly is there at all
            answer = await http.read(CUSTOMERS)
        self._data(answer, CUSTOMERS)
        return ("Traitly accepts the token and answers.",)

    async def next_actions(self, http: Http, customer_id: str, goal: str | None = None) -> events.NextActions | None:
        """The recommended next actions of one customer; None where Traitly has none for it (404).

        The page's text names the plural, its example the singular: the plural is asked first.

        Raises:
            TargetError: it cannot be read.
        """
        query = {"customer_id": customer_id, **({"goal_name": goal} if goal else {})}
        for path in NEXT_ACTIONS:
            answer = await http.read(path, query, accept=(404,))
            if answer.status != 404:
                return events.next_actions_of(answer.json, self._data(answer, path))
        return None

    def event(self, body: Mapping[str, Any]) -> InboundEvent:
        """A webhook: recommended next actions, or a changed propensity."""
        return events.event(self.name, body)

    async def read_back(self, http: Http, accounts: Sequence[str], mark: str | None, moment: float) -> Told | None:
        """Ask for the next actions of some customers, each time of others: one request is needed for each.

        Raises:
            TargetError: it cannot be read.
        """
        later = [account for account in accounts if mark is None or account > mark][:_ASKED_AT_ONCE]
        found: dict[str, list[Fact]] = {}
        for account in later:
            known = await self.next_actions(http, account)
            if known is not None:
                found[account] = [events.actions_fact(known.names, known.goal, moment)]
                if known.likelihood is not None:
                    text = canonical(known.likelihood, Type.NUMBER)
                    found[account].append(events.likelihood_fact(text, known.goal, moment))
        return Told(found, later[-1] if later and later[-1] != accounts[-1] else None)

    async def _save(self, http: Http, operation: Operation) -> Outcome:
        body = _customer(operation)
        missing = [name for name in ("customer_id", *_REQUIRED) if not body.get(name)]
        if missing:
            return Permanent("missing_required", f"Traitly takes no customer without {' and '.join(missing)}")
        answer = await http.send("POST", CUSTOMERS, body)
        if not isinstance(answer, Answer):
            return answer
        rows = _rows_of(answer)
        if rows is None:
            return Unclear("malformed_answer", "the answer holds no list of customers")
        shown = next((row for row in rows if str(row.get("customer_id")) == body["customer_id"]), None)
        learnt = {} if shown is None else _differing(self._account(shown).values, operation.wanted, self.attribute)
        return Done(account=body["customer_id"], learnt=learnt)

    async def _send_event(self, http: Http, operation: Operation) -> Outcome:
        body = {
            "customer_id": _address(operation),
            "name": operation.after.get("name"),
            "created_at": natural(operation.after.get("created_at"), Type.EPOCH),
        }
        missing = [name for name, value in body.items() if value is None]
        if missing:
            return Permanent("missing_required", f"Traitly takes no event without {' and '.join(missing)}")
        answer = await http.send("POST", EVENTS, body)
        if not isinstance(answer, Answer):
            return answer
        rows = _rows_of(answer)
        if rows is None:
            return Unclear("malformed_answer", "the answer holds no list of events")
        if any("success" in row and str(row["success"]).lower() not in ("1", "true") for row in rows):
            return Permanent("refused", f"Traitly reports no success: {sentence(answer.json)}")
        return Done(account=operation.account)

    def _account(self, row: Mapping[str, Any]) -> Account:
        identifier = row.get("customer_id")
        if identifier is None or identifier == "" or isinstance(identifier, (dict, list, bool)):
            raise MalformedAnswerError(self.name, f"GET {CUSTOMERS} showed a customer without a customer_id.")
        values: dict[str, str | None] = {}
        unreadable: list[str] = []
        for name, attribute in self.catalogue.items():
            if name == _CUSTOM:
                continue
            try:
                values[name] = canonical(row.get(name), attribute.type)
            except InvalidValueError as exc:
                values[name] = None
                unreadable.append(f"{name} {exc}")
        custom = row.get(_CUSTOM)
        if isinstance(custom, dict):
            values[_CUSTOM] = json.dumps(custom, separators=(",", ":")) if custom else None
            values.update((f"{_FAMILY}{name}", _flat(value)) for name, value in custom.items() if name)
        elif custom:
            unreadable.append(f"{_CUSTOM} is no object")
        # An update sends everything back, so what cannot be read would be lost
        why = f"unreadable in part ({'; '.join(unreadable)})" if unreadable else None
        return Account(str(identifier), values, untouchable=why)

    async def _rows(self, http: Http, path: str, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """The `data` of all pages; a 404 to a question about one customer means that there is none."""
        rows: list[Mapping[str, Any]] = []
        seen: set[tuple[tuple[str, str], ...]] = set()
        params: dict[str, str] | None = dict(query)
        while params is not None:
            here = tuple(sorted(params.items()))
            if here in seen:
                raise ListingError(self.name, f"GET {path}: metadata.next leads back to a page that was read.")
            if len(seen) == _MAX_PAGES:
                raise ListingError(self.name, f"GET {path}: metadata.next leads beyond {_MAX_PAGES} pages.")
            seen.add(here)
            answer = await http.read(path, params, accept=(404,) if query else ())
            if answer.status == 404:
                if len(seen) > 1:
                    raise ListingError(self.name, f"GET {path}: metadata.next leads to nothing (404).")
                return []
            rows += self._data(answer, path)
            params = self._next(answer, path, params)
        return rows

    def _data(self, answer: Answer, path: str) -> list[Mapping[str, Any]]:
        rows = _rows_of(answer)
        if rows is None:
            raise MalformedAnswerError(self.name, f"GET {path} answered no object with a list `data` of objects.")
        return rows

    def _next(self, answer: Answer, path: str, params: Mapping[str, str]) -> dict[str, str] | None:
        """The query of the next page: from a page number, a cursor, a path or an address below our own origin."""
        metadata = answer.json.get("metadata")
        following = metadata.get("next") if isinstance(metadata, dict) else None
        if following in (None, "", False):
            return None
        if isinstance(following, int) and not isinstance(following, bool):
            return {**params, "page": str(following)}
        if not isinstance(following, str):
            raise ListingError(self.name, f"GET {path}: metadata.next is neither an address nor a page.")
        if not set(following) & set("/?:"):
            return {**params, "page" if following.isdigit() else "cursor": following}
        base = urlsplit(self.origin)
        there = urlsplit(urljoin(self.origin + path, following))
        ours = (there.scheme, there.netloc) == (base.scheme, base.netloc)
        if not ours or there.path not in (path, base.path + path):
            # Our credentials go nowhere but to where the operator sent them
            raise ListingError(self.name, f"GET {path}: metadata.next leads to another place, which is not followed.")
        return dict(parse_qsl(there.query, keep_blank_values=True))


def _address(operation: Operation) -> str | None:
    return operation.account or operation.wanted.get("customer_id")


def _customer(operation: Operation) -> dict[str, Any]:
    """The whole body of a create or an update: what was observed, with what is wanted laid over it."""
    after = operation.after
    kept = {name: text for name, text in operation.wanted.items() if text is not None or name in after}
    image = {**operation.observed, **kept}
    body: dict[str, Any] = {"customer_id": _address(operation)}
    for name in (*_REQUIRED, *_OPTIONAL):
        value = natural(image.get(name), Traitly.catalogue[name].type)
        # A null moment would be read as now
        if value is not None or (name in after and name != "created_at"):
            body[name] = value
    custom = json.loads(operation.observed.get(_CUSTOM) or "{}")
    for name, text in operation.wanted.items():
        key = name.removeprefix(_FAMILY)
        # An equal value stays as it is: a number stays a number
        if key != name and _flat(custom.get(key)) != text:
            custom[key] = text
    if custom:
        body[_CUSTOM] = custom
    return body


def _flat(value: Any) -> str | None:
    """A custom attribute as canonical text; lists and objects as JSON."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return canonical(value, Type.TEXT)


def _differing(
    shown: Mapping[str, str | None], wanted: Mapping[str, str | None], attribute: Callable[[str], Attribute]
) -> dict[str, str | None]:
    return {
        name: value
        for name, value in shown.items()
        if fold(value, attribute(name).type) != fold(wanted.get(name), attribute(name).type)
    }


def _rows_of(answer: Answer) -> list[Mapping[str, Any]] | None:
    """The list `data` that every answer holds, or None if it does not."""
    rows = answer.json.get("data") if isinstance(answer.json, dict) else None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


def _doubled(identifiers: Mapping[str, None]) -> tuple[str, ...]:
    if not identifiers:
        return ()
    named = ", ".join(list(identifiers)[:_NAMED])
    more = f" and {len(identifiers) - _NAMED} more" if len(identifiers) > _NAMED else ""
    return (f"Traitly shows more than one customer for customer_id {named}{more}; the first of each is taken.",)
