"""Stand-in of Traitly's API: customers, events and the lookup of recommended next actions.

`Authorization: Token <token>`; the page asks for `Content-Type: application/json` with every request, so every
request without it is refused (415). POST of a known `customer_id` updates, and what such a POST leaves out is
lost: the optional fields become null and `created_at` becomes now, as the page's defaults say; only
`custom_attributes` stay where none are given, and are replaced where some are. Statuses of errors are the
standard ones, the page lacks them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from provisioner.sandbox.options import Options
from provisioner.sandbox.vendor import Vendor
from provisioner.sandbox.wire import (
    Answer,
    Call,
    RefusedError,
    Route,
    allow_query,
    is_number,
    is_whole,
    json_object,
    query_number,
    says_json,
)

TRAITLY_TOKEN = "sandbox-traitly-token"  # noqa: S105 - published, opens nothing
_REQUIRED = ("customer_id", "name", "email", "plan")
_OPTIONAL_TEXTS = ("location", "phone_number", "organisation_id")
_FILTERS = ("customer_id", "name", "plan")
# The page's example of an event carries these of a customer besides; they are taken and ignored.
_EVENT_FIELDS = frozenset({"customer_id", "name", "created_at", "monthly_payment_amount", "location", "plan", "email"})
# Seconds of the year 5138: a time beyond it was given in milliseconds.
_LATEST = 100_000_000_000
_GOAL = "30-day Conversion"
_SAMPLE_ACTION = {
    "event_name": "Style Widget",
    "goal_num_completed": 0,
    "total_num_completed": 4,
    "goal_days_left": 14,
    "importance": 0.4,
    "message_plaintext": "It's time to complete...",
    "message_html": "<p>It's time to complete...</p>",
}


METADATA = ("next", "cursor", "more", "total", "pages", "nested", "link", "silent", "request_id")
"""How pages may be shown: by the address of the next, a cursor, `has_more`, `total`, `total_pages`, all of it one level
deeper, or a Link header; not at all; and a key that says nothing of pages."""
KNOWN = ("update", "append", "ignore", "409")


@dataclass(frozen=True, slots=True)
class TraitlyOptions(Options):
    """Options of a Traitly stand-in.

    `page_size`: customers per page, with the address of the next in `metadata.next` (0: no paging, as the page
    has it); `relative_next`: that address without scheme and host. `singular_next_actions`: the lookup is
    served as the page's example prints it, `recommended-next-action`, and not under the plural.
    `typed`: a value keeps the JSON type that it has there, `organisation_id` and custom attributes too, else 400.
    `metadata`: how pages are told, one of `METADATA`. `known_customer`: what becomes of a POST with a known
    `customer_id`, one of `KNOWN`: it updates, it adds a second row, it is acknowledged and ignored, or refused.
    `next_actions`: customer_id → the list of actions (others get the page's sample).
    """

    page_size: int = 0
    relative_next: bool = False
    singular_next_actions: bool = False
    typed: bool = False
    metadata: str = "next"
    known_customer: str = "update"
    next_actions: dict[str, Any] = field(default_factory=dict)


class Traitly(Vendor[TraitlyOptions]):
    """One account of the product."""

    kind = "traitly"
    key: ClassVar[str] = "customer_id"
    listings: ClassVar[frozenset[str]] = frozenset({"/api/v1/customer"})

    def __init__(self, name: str, options: TraitlyOptions) -> None:
        super().__init__(name, options)
        self._customers: dict[str, dict[str, Any]] = {}
        self._appended: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._by_customer_and_name: dict[tuple[str, str], list[dict[str, Any]]] = {}

    @classmethod
    def defaults(cls) -> TraitlyOptions:
        return TraitlyOptions()

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", "/api/v1/customer", self.list_customers),
            Route("POST", "/api/v1/customer", self.save_customer),
            Route("GET", "/api/v1/event", self.list_events),
            Route("POST", "/api/v1/event", self.create_event),
            Route("GET", "/api/v1/recommended-next-actions", self.next_actions),
            Route("GET", "/api/v1/recommended-next-action", self.next_actions_singular),
        ]

    def admit(self, call: Call) -> None:
        if call.headers.get("authorization") != f"Token {self.options.api_key or TRAITLY_TOKEN}":
            raise RefusedError(401, "Invalid token")
        if not says_json(call):
            raise RefusedError(415, "Content-Type must be application/json")

    def refusal(self, refusal: RefusedError) -> Answer:
        return Answer(refusal.status, {"error": refusal.reason})

    def rows(self, _body: Any) -> int:
        return 1

    def dump(self) -> Mapping[str, Any]:
        return {"accounts": [*self._customers.values(), *self._appended], "events": self._events}

    def seed(self, accounts: Sequence[Mapping[str, Any]], now: datetime) -> int:
        for account in accounts:
            if not account.get("customer_id"):
                raise RefusedError(400, "every seeded account needs a customer_id")
            blank = _blank(now) | {"customer_id": account["customer_id"]}
            customer = self._customers.setdefault(str(account["customer_id"]), blank)
            customer.update(account)
            customer["created_at"] = str(customer["created_at"])
        return len(accounts)

    def act(self, action: str, given: Mapping[str, Any], now: datetime) -> Any:
        """`next_actions` and `propensity`: the recommendations, or the likelihood, of a customer change; see
        `Vendor.act`."""
        if action not in ("next_actions", "propensity"):
            return super().act(action, given, now)
        customer = given.get("customer_id")
        if customer not in self._customers:
            raise RefusedError(404, "Customer not found")
        meta = {"customer_id": customer, "goal_name": given.get("goal_name", _GOAL)}
        if action == "next_actions":
            data = self.options.next_actions.get(str(customer), [_SAMPLE_ACTION])
        else:
            data = [{"likelihood": given.get("likelihood", 0.5)}]
        what = "recommended-next-actions" if action == "next_actions" else "goal-propensity-change"
        body = {"data": data, "meta": meta, "timestamp": _epoch(now), "object": what}
        self.webhooks.tell(body, {"User-Agent": "traitly"})
        return body

    def remove(self, key: str) -> None:
        if self._customers.pop(key, None) is None:
            raise RefusedError(404, "Customer not found")

    def list_customers(self, call: Call) -> Answer:
        size = self.options.page_size
        allow_query(call, *_FILTERS, *(("page", "cursor") if size else ()))
        wanted = {name: call.query[name] for name in _FILTERS if name in call.query}
        if "customer_id" in wanted:
            one = self._customers.get(wanted["customer_id"])
            pool = [one] if one is not None else []
            pool += [row for row in self._appended if row["customer_id"] == wanted["customer_id"]]
        else:
            pool = [*self._customers.values(), *self._appended]
        if self.unlisted and "customer_id" not in wanted:
            pool = [customer for customer in pool if customer["customer_id"] not in self.unlisted]
        if wanted:
            pool = [customer for customer in pool if all(customer[name] == text for name, text in wanted.items())]
        metadata: dict[str, Any] = {"request_id": "5f2c"} if self.options.metadata == "request_id" else {}
        headers: dict[str, str] = {}
        if size:
            page = query_number(call, "page", 1)
            cursor = call.query.get("cursor", "")
            if cursor:
                page = int(cursor.removeprefix("after-")) // size + 1
            base = "" if self.options.relative_next else call.base_url
            following = f"{base}/api/v1/customer?{urlencode(wanted | {'page': page + 1})}"
            more = page * size < len(pool)
            metadata |= _told(self.options.metadata, following, page=page, size=size, total=len(pool))
            if self.options.metadata == "link" and more:
                headers = {"Link": f'<{following}>; rel="next"'}
            pool = pool[(page - 1) * size : page * size]
        answer = _envelope(pool, "customer", "retrieved", call, metadata)
        return Answer(answer.status, answer.body, headers)

    def save_customer(self, call: Call) -> Answer:
        body = json_object(call)
        for name in _REQUIRED:
            if not isinstance(body.get(name), str) or not body[name].strip():
                raise RefusedError(400, f"{name} is required")
        allowed = {*_REQUIRED, *_OPTIONAL_TEXTS, "created_at", "custom_attributes", "monthly_payment_amount"}
        unknown = sorted(set(body) - allowed)
        if unknown:
            raise RefusedError(400, f"{unknown[0]} is an unknown field")
        _check_optional(body, typed=self.options.typed)
        known = self._customers.get(body["customer_id"])
        if known is not None and self.options.known_customer == "409":
            raise RefusedError(409, "Customer exists")
        if known is not None and self.options.known_customer == "ignore":
            return _envelope([known], "customer", "created", call)
        if known is not None and self.options.typed:
            _check_types(known, body)
        customer = _blank(call.now)
        if known is not None:
            customer["custom_attributes"] = known["custom_attributes"]
        given = {name: value for name, value in body.items() if value is not None}
        customer |= given | {"created_at": str(given.get("created_at", customer["created_at"]))}
        if known is not None and self.options.known_customer == "append":
            self._appended.append(customer)
        else:
            self._customers[body["customer_id"]] = customer
        return _envelope([customer], "customer", "created", call)

    def create_event(self, call: Call) -> Answer:
        body = json_object(call)
        for name in ("customer_id", "name"):
            if not isinstance(body.get(name), str) or not body[name].strip():
                raise RefusedError(400, f"{name} is required")
        unknown = sorted(set(body) - _EVENT_FIELDS)
        if unknown:
            raise RefusedError(400, f"{unknown[0]} is an unknown field")
        _check_moment(body)
        if body["customer_id"] not in self._customers:
            raise RefusedError(404, "Customer not found")
        moment = body.get("created_at")
        event = {
            "customer_id": body["customer_id"],
            "name": body["name"],
            "created_at": str(_epoch(call.now) if moment is None else moment),
            "success": 1,
        }
        self._events.append(event)
        self._by_customer_and_name.setdefault((event["customer_id"], event["name"]), []).append(event)
        return _envelope([event], "event", "created", call)

    def list_events(self, call: Call) -> Answer:
        allow_query(call, "customer_id", "name")
        for name in ("customer_id", "name"):
            if not call.query.get(name):
                raise RefusedError(400, f"{name} is required")
        found = self._by_customer_and_name.get((call.query["customer_id"], call.query["name"]), [])
        return _envelope(found, "event", "retrieved", call)

    def next_actions(self, call: Call) -> Answer:
        if self.options.singular_next_actions:
            raise RefusedError(404, "Not found")
        return self._lookup(call)

    def next_actions_singular(self, call: Call) -> Answer:
        if not self.options.singular_next_actions:
            raise RefusedError(404, "Not found")
        return self._lookup(call)

    def _lookup(self, call: Call) -> Answer:
        allow_query(call, "customer_id", "goal_name")
        customer_id = call.query.get("customer_id", "")
        if not customer_id:
            raise RefusedError(400, "customer_id is required")
        if customer_id not in self._customers:
            raise RefusedError(404, "Customer not found")
        goal = call.query.get("goal_name", _GOAL)
        body = {
            "data": self.options.next_actions.get(customer_id, [_SAMPLE_ACTION]),
            "likelihood": hashlib.blake2b(f"{customer_id}:{goal}".encode(), digest_size=1).digest()[0] / 255,
            "meta": {"customer_id": customer_id, "goal_name": goal},
            "timestamp": _epoch(call.now),
            "object": "recommended-next-actions",
        }
        return Answer(200, body)


def _told(shape: str, following: str, *, page: int, size: int, total: int) -> dict[str, Any]:
    """What `metadata` says of pages, in one of the shapes of `METADATA`."""
    more = page * size < total
    shapes: dict[str, dict[str, Any]] = {
        "next": {"next": following} if more else {},
        "cursor": {"next": f"after-{page * size}" if more else None},
        "more": {"has_more": more, "page": page},
        "total": {"total": total},
        "pages": {"page": page, "per_page": size, "total_pages": -(-total // size)},
        "nested": {"pagination": {"page": page, "total": total}},
    }
    return shapes.get(shape, {})


def _epoch(now: datetime) -> int:
    return int(now.timestamp())


def _blank(now: datetime) -> dict[str, Any]:
    return {
        "customer_id": "",
        "name": "",
        "created_at": str(_epoch(now)),
        "monthly_payment_amount": None,
        "location": None,
        "email": "",
        "phone_number": None,
        "organisation_id": None,
        "plan": "",
        "custom_attributes": {},
    }


def _check_moment(body: Mapping[str, Any]) -> None:
    moment = body.get("created_at")
    if moment is not None and (not is_whole(moment) or not 0 <= moment < _LATEST):
        raise RefusedError(400, "created_at must be seconds since the Unix epoch")


def _check_types(known: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """Refuses what has another JSON type than what is held; whole and broken numbers are one type."""
    pairs = [("organisation_id", known.get("organisation_id"), body.get("organisation_id"))]
    given = body.get("custom_attributes") or {}
    pairs += [(name, held, given.get(name)) for name, held in known["custom_attributes"].items()]
    for name, held, value in pairs:
        if held is None or value is None:
            continue
        if type(held) is not type(value) and not (is_number(held) and is_number(value)):
            raise RefusedError(400, f"{name} is of another type")


def _check_optional(body: Mapping[str, Any], *, typed: bool) -> None:
    _check_moment(body)
    for name in _OPTIONAL_TEXTS:
        if typed and name == "organisation_id":
            continue
        if body.get(name) is not None and not isinstance(body[name], str):
            raise RefusedError(400, f"{name} must be a string")
    amount = body.get("monthly_payment_amount")
    if amount is not None and not is_number(amount):
        raise RefusedError(400, "monthly_payment_amount must be a number")
    if not isinstance(body.get("custom_attributes", {}), dict | None):
        raise RefusedError(400, "custom_attributes must be an object")


def _envelope(
    data: Sequence[Mapping[str, Any]], what: str, verb: str, call: Call, metadata: Mapping[str, Any] | None = None
) -> Answer:
    return Answer(200, {"data": data, "metadata": metadata or {}, verb: str(_epoch(call.now)), "object": what})
