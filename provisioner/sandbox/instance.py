"""One named stand-in: a vendor with its limiter, its faults and its record of requests."""

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from provisioner.sandbox.faults import Fault
from provisioner.sandbox.habitate import Habitate
from provisioner.sandbox.mtribes import Mtribes
from provisioner.sandbox.options import changed
from provisioner.sandbox.scim import Scim
from provisioner.sandbox.traitly import Traitly
from provisioner.sandbox.tribal_habits import TribalHabits
from provisioner.sandbox.vendor import Vendor
from provisioner.sandbox.wire import Answer, Call, Found, Handler, RefusedError, Router

_NAME = re.compile(r"(tribal_habits|habitate|traitly|mtribes|scim)(?:-[A-Za-z0-9_.-]+)?")
_LOG_LENGTH = 200_000


def _tribal_habits(name: str) -> Vendor[Any]:
    return TribalHabits(name, TribalHabits.defaults())


def _habitate(name: str) -> Vendor[Any]:
    return Habitate(name, Habitate.defaults())


def _traitly(name: str) -> Vendor[Any]:
    return Traitly(name, Traitly.defaults())


def _mtribes(name: str) -> Vendor[Any]:
    return Mtribes(name, Mtribes.defaults())


def _scim(name: str) -> Vendor[Any]:
    return Scim(name, Scim.defaults())


_MAKERS: Mapping[str, Callable[[str], Vendor[Any]]] = {
    "tribal_habits": _tribal_habits,
    "habitate": _habitate,
    "traitly": _traitly,
    "mtribes": _mtribes,
    "scim": _scim,
}
KINDS = tuple(_MAKERS)
"""The kinds that are served; an instance is named by its kind, or by its kind, a hyphen and anything."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of the log: `at` is its arrival in monotonic seconds, `status` 0 a connection dropped."""

    at: float
    method: str
    path: str
    query: str
    template: str
    source: str
    status: int
    rows: int


class Instance:
    """A vendor and what surrounds it."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.vendor = _MAKERS[kind](name)
        self.faults: list[Fault] = []
        self._made: dict[str, datetime] = {}
        self.log: deque[Entry] = deque(maxlen=_LOG_LENGTH)
        self._router = Router(self.vendor.routes())
        self._counts: Counter[str] = Counter()
        self._by_endpoint: Counter[str] = Counter()
        self._by_status: Counter[str] = Counter()

    def now(self) -> datetime:
        """The vendor's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.vendor.options.clock_offset_seconds)

    def find(self, method: str, path: str) -> Found:
        """Where a method and path lead."""
        return self._router.find(method, path)

    def work(self, call: Call, found: Found) -> Answer:
        """Serves one admitted request: credentials, route, handler; a refusal in the vendor's form."""
        try:
            self.vendor.admit(call)
            if found.route is None:
                wrong_method = found.allowed and self.vendor.knows_405
                raise RefusedError(405 if wrong_method else 404, "Method not allowed" if wrong_method else "Not found")
            return self._served(call, found.route.handler, found.variables)
        except RefusedError as refusal:
            return self.vendor.refusal(refusal)

    def _served(self, call: Call, handler: Handler, variables: Sequence[str]) -> Answer:
        """The answer, with what the options say of how the vendor keeps and shows what is written."""
        vendor, options = self.vendor, self.vendor.options
        if call.method == "GET":
            lag = timedelta(seconds=options.listing_lag_seconds)
            vendor.unlisted = frozenset(key for key, made in self._made.items() if call.now - made < lag)
            return handler(call, *variables)
        if not (options.listing_lag_seconds or options.forget_creates or options.stubborn):
            return handler(call, *variables)
        before = self._accounts()
        answer = handler(call, *variables)
        after = self._accounts()
        fresh = after.keys() - before.keys()
        self._made |= dict.fromkeys(fresh, call.now)
        if options.forget_creates:
            for key in fresh:
                vendor.remove(key)
        named = call.body.decode(errors="replace") + call.path
        kept = [key for key in after if key not in fresh or not options.forget_creates]
        if options.stubborn:
            # The answer shows what was sent, so that only the next reading can tell
            answer = Answer(answer.status, deepcopy(answer.body), answer.headers)
            changed = [key for key in kept if key in fresh or key in named]
            vendor.seed([{**after[key], **options.stubborn} for key in changed], call.now)
        return answer

    def _accounts(self) -> dict[str, dict[str, Any]]:
        return {str(account[self.vendor.key]): dict(account) for account in self.vendor.dump()["accounts"]}

    def too_many(self, wait: float) -> Answer:
        """The answer of a request over the limit that could come again in `wait` seconds."""
        answer = self.vendor.refusal(RefusedError(429, "Too many requests"))
        headers = {"Retry-After": str(int(wait) + 1)} if self.vendor.options.retry_after else {}
        return Answer(answer.status, answer.body, headers)

    def set_options(self, changes: Mapping[str, Any]) -> None:
        """Changes options; raises `ValueError` with the reason."""
        self.vendor.options = changed(self.vendor.options, changes)

    def tell(self) -> None:
        """Begins to send the webhooks of what was done."""
        self.vendor.webhooks.flush(self.vendor.options.webhook_url)

    def record(self, call: Call, found: Found, *, at: float, source: str, query: str, status: int) -> None:
        """Writes the log and the counts of one request that was answered or dropped (status 0)."""
        rows = 0 if call.method == "GET" else self._rows(call.body)
        self.log.append(Entry(at, call.method, call.path, query, found.template, source, status, rows))
        self._counts["reads" if call.method == "GET" else "writes"] += 1
        self._counts["rows"] += rows
        self._by_endpoint[f"{call.method} {found.template}"] += 1
        self._by_status[str(status)] += 1

    def _rows(self, body: bytes) -> int:
        try:
            return self.vendor.rows(json.loads(body))
        except ValueError:
            return 0

    def counts(self) -> dict[str, Any]:
        """How many requests arrived since the last reset, those refused and dropped included."""
        return {
            "reads": self._counts["reads"],
            "writes": self._counts["writes"],
            "rows": self._counts["rows"],
            "answers_429": self._by_status["429"],
            "dropped": self._by_status["0"],
            "by_endpoint": dict(self._by_endpoint),
            "by_status": dict(self._by_status),
        }

    def clear_log(self) -> None:
        """Forgets the log and the counts; the state stays."""
        self.log.clear()
        for counter in (self._counts, self._by_endpoint, self._by_status):
            counter.clear()


class Instances:
    """The instances by name, each made on first use."""

    def __init__(self) -> None:
        self._by_name: dict[str, Instance] = {}

    def get(self, name: str) -> Instance | None:
        """The instance of a name, or None if the name belongs to no kind."""
        found = self._by_name.get(name)
        if found is None:
            match = _NAME.fullmatch(name)
            if match is None:
                return None
            found = self._by_name[name] = Instance(name, match.group(1))
        return found

    def names(self) -> list[str]:
        """The instances that were used so far."""
        return sorted(self._by_name)

    def reset(self, name: str | None = None) -> None:
        """Forgets one instance or all: state, options, faults and log."""
        if name is None:
            self._by_name.clear()
        else:
            self._by_name.pop(name, None)
