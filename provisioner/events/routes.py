"""What routes of inbound events bring about, once per event: operations besides the plans, and outgoing webhooks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict
from urllib.parse import parse_qsl, urlsplit

import structlog

from provisioner.dispatch.retry_policy import MOST_UNEXPECTED, backoff
from provisioner.model.account import LedgerEntry
from provisioner.model.event import InboundEvent
from provisioner.model.operation import Enrolment, EventTag, Kind, Operation, TargetEvent, Values, operation_id
from provisioner.model.outcome import Permanent, Temporary, Unauthorised
from provisioner.model.standard_webhook import signature
from provisioner.planning.routes import Route, Routed
from provisioner.progress.run_status import refresh
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.runtime.rate_limit import Unpaced
from provisioner.settings import Settings
from provisioner.store.events.inbound import Received
from provisioner.store.events.outbox import Outgoing
from provisioner.store.queue.entries import Entry
from provisioner.store.runs.documents import Request, moment
from provisioner.targets.capabilities import TagsFromEvents
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer

log = structlog.get_logger(__name__)

#: Seconds for which an outgoing webhook is tried before it counts as undeliverable.
PATIENCE: Final = 24 * 3600.0
#: Seconds of sending per nudge, and how many are sent at once.
BUDGET: Final = 10.0
SENDERS: Final = 8
#: Seconds after which one that was taken, and of which nothing was heard, is taken again: at least once.
LEASE: Final = 90.0
_STANDING: Final = frozenset({"pending", "sending", "waiting", "held"})


#: What the ledger knows, by target and person.
Entries = Mapping[str, Mapping[str, LedgerEntry]]


class WaitingError(Exception):
    """An event cannot be routed yet; the message says what it waits for."""


@dataclass(slots=True)
class Effects:
    """What some events bring about, by target and token, and what goes out."""

    entries: dict[str, dict[str, Entry]] = field(default_factory=dict)
    outgoing: list[Outgoing] = field(default_factory=list)


async def consider(
    dep: Deployment,
    routed: Routed,
    received: Received,
    event: InboundEvent,
    person: str | None,
    effects: Effects,
    entries: Entries,
) -> None:
    """Add what one route makes of an event to the effects.

    Args:
        entries: of everybody to whose accounts a route leads.

    Raises:
        WaitingError: the person's account there is still being made.
        InvalidValueError: it would be a tag that the target does not take.
    """
    route = routed.route
    if route.verb == "url":
        effects.outgoing.append(_outgoing(routed, received, event, person))
        return
    if person is None:
        # Counted once for the event, not for each of its routes
        return
    if route.target not in dep.targets:
        await dep.inbound.count(received.target, "unrouted")
        return
    entry = entries.get(route.target, {}).get(person)
    if entry is None:
        standing = await dep.runs.standing(route.target, person, ["account"])
        if any(document["status"] in _STANDING for document in standing):
            raise WaitingError(f"{route.where} waits: the person's account in {route.target} is still to be made")
        log.info("no_account_for_event", person=person, target=route.target, event_name=received.event)
        await dep.inbound.count(received.target, "no_account")
        return
    if route.verb == "tag":
        made = dep.targets[route.target]
        if isinstance(made, TagsFromEvents):
            routed = Routed(route, made.tag(routed.name or ""))
    operation = _operation(routed, received, event, person, entry.account)
    if isinstance(operation, Enrolment) and operation.token in entry.enrolled:
        # Once ever per person and code; our own enrolment that comes back ends here
        await dep.inbound.count(received.target, "already_enrolled")
        return
    group = dep.targets[route.target].group(operation)
    token = f"{received.digest}-{route.id}"
    effects.entries.setdefault(route.target, {})[token] = Entry(operation, group, shown=_shown(operation))


class _Common(TypedDict):
    target: str
    person: str
    account: str
    reason: str
    counted: bool
    planned: float


def _operation(
    routed: Routed, received: Received, event: InboundEvent, person: str, account: str
) -> TargetEvent | EventTag | Enrolment:
    route, name = routed.route, routed.name or ""
    common: _Common = {
        "target": route.target,
        "person": person,
        "account": account,
        "reason": f"{received.target}.{received.event}",
        "counted": False,
        "planned": received.at,
    }
    if route.verb == "event":
        after: Values = {"name": name, "created_at": str(int(event.at or received.at))}
        slot = f"event:inbound:{received.digest}:{route.id}"
        return TargetEvent(**common, id=_id(route, person, Kind.EVENT, slot, after), slot=slot, after=after)
    if route.verb == "tag":
        slot = f"tag:inbound:{received.digest}:{route.id}"
        return EventTag(**common, id=_id(route, person, Kind.EVENT, slot, {"tag": name}), slot=slot, tag=name)
    after = {"enrolment_code": name, "due_date": None}
    return Enrolment(**common, id=_id(route, person, Kind.ENROL, f"enrol:{name}", after), code=name)


def _id(route: Route, person: str, kind: Kind, slot: str, after: Values) -> str:
    return operation_id(route.target, person, kind, {"slot": slot}, after)


def _shown(operation: Operation) -> dict[str, Mapping[str, Any]]:
    return {"before": {}, "after": {name: value for name, value in operation.after.items() if value is not None}}


async def bring_about(dep: Deployment, effects: Effects) -> tuple[str, ...]:
    """Put operations and outgoing webhooks where they are sent from; the targets that have work now.

    Done twice, it brings about nothing more than once.
    """
    now = await dep.clock.now()
    await dep.outbox.add(effects.outgoing, now)
    fresh: dict[str, dict[str, Entry]] = {}
    for target, entries in effects.entries.items():
        tokens = await dep.plans.never_added(target, list(entries))
        if tokens:
            fresh[target] = {token: entries[token] for token in tokens}
    if not fresh:
        return tuple(effects.entries)
    targets = [target for target in dep.settings.targets if target in fresh]
    run = await dep.runs.create(Request(trigger="webhook", targets=tuple(targets)), stage="begun")
    await dep.runs.set(run, {"targets": json.dumps(targets)})
    for target in targets:
        await dep.runs.set_target(run, target, {"status": "running", "stage": "delivering"})
        await dep.plans.add(run, target, fresh[target])
    await refresh(dep, run)
    return tuple(targets)


def _outgoing(routed: Routed, received: Received, event: InboundEvent, person: str | None) -> Outgoing:
    body = {
        "id": f"{received.digest}-{routed.route.id}",
        "type": f"{received.target}.{received.event}",
        "name": routed.name,
        "person": person,
        "happened_at": moment(event.at),
        "received_at": moment(received.at),
        "data": json.loads(received.body),
    }
    return Outgoing(
        id=body["id"],
        target=received.target,
        event=received.event,
        route=routed.route.id,
        body=json.dumps(body, separators=(",", ":")),
        since=received.at,
    )


async def send_out(
    dep: Deployment, *, stopped: Callable[[], bool] = lambda: False, budget: float = BUDGET
) -> float | None:
    """Send outgoing webhooks that are due, for at most `budget` seconds and what the last of them takes.

    Args:
        stopped: asked between requests; true ends the work early.

    Returns:
        Seconds until the next one is due, None if there is none.

    Raises:
        StoreError: Redis does not answer; what was taken is sent again later.
    """
    until = time.monotonic() + budget
    while not stopped() and time.monotonic() < until:
        # No more than are sent at once, so that none waits claimed while receivers are slow
        items = await dep.outbox.take(SENDERS, LEASE, await dep.clock.now())
        if not items:
            break
        await each(items, lambda item: _send_or_bury(dep, item), limit=SENDERS)
    due = await dep.outbox.next_due()
    return None if due is None else max(0.0, due - await dep.clock.now())


async def _send_or_bury(dep: Deployment, item: Outgoing) -> None:
    route = next((route for route in dep.routes if route.id == item.route), None)
    secret = _secret(dep.settings, item.target, route)
    if route is None or not secret:
        why = "its route is no longer in the settings" if route is None else "there is no secret to sign it with"
        await dep.outbox.bury(item, why, await dep.clock.now())
        log.error("webhook_not_sent", route=item.route, reason=why)
        return
    try:
        await _send_one(dep, item, route, secret)
    except BaseException as exc:
        if not is_fault(exc, stopping=True):
            raise
        log_fault("webhook_failed", exc, route=route.where, tries=item.tries + 1)
        now, why = await dep.clock.now(), f"{route.where}: sending it ended with {named(exc)}"
        if item.tries + 1 >= MOST_UNEXPECTED:
            await dep.outbox.bury(item, why, now)
        else:
            await dep.outbox.put_off(item, now + backoff(item.tries + 1, 1.0))


def _secret(settings: Settings, source: str, route: Route | None) -> str:
    if route is None:
        return ""
    own = settings.events[route.place].secret
    secret = own or settings.targets[source].webhook_secret
    return secret.get_secret_value() if secret else ""


async def _send_one(dep: Deployment, item: Outgoing, route: Route, secret: str) -> None:
    now = await dep.clock.now()
    # Http writes the same bytes of the same value again
    headers = {
        "webhook-id": item.id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signature(secret.encode(), item.id, int(now), item.body.encode()),
    }
    parts = urlsplit(route.url)
    # Receivers of our own webhooks state no limit; a few at a time are sent
    http = Http(route.where, dep.client, f"{parts.scheme}://{parts.netloc}{parts.path}", headers, Unpaced())
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    answer = await http.send("POST", "", json.loads(item.body), params=query)
    if isinstance(answer, Answer):
        await dep.outbox.sent(item)
        return
    lasting = isinstance(answer, (Permanent, Unauthorised))
    if lasting or now - item.since >= PATIENCE:
        await dep.outbox.bury(item, answer.message, now)
        log.error("webhook_not_taken", route=route.where, code=answer.code, tries=item.tries + 1)
        return
    delay = answer.delay if isinstance(answer, Temporary) and answer.delay else 0.0
    await dep.outbox.put_off(item, now + max(delay, backoff(item.tries + 1, 0.5)))


def routes_from(routes: Sequence[Route], target: str, event: str) -> bool:
    """Whether any route begins at an event."""
    return any((route.source, route.event) == (target, event) for route in routes)
