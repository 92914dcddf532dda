"""Events from outside, from the stream to what they bring about. Every step may be repeated and harms nothing.

An event was accepted once (`provisioner.store.events.inbound`). Here its person is found, what it tells is kept, its
meaning is acted on (a new member of the roster is linked at once), and its routes are followed. Only then does it
leave the stream.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from provisioner.errors import ProvisionerError
from provisioner.events.owners import Owners
from provisioner.events.routes import Effects, Entries, WaitingError, bring_about, consider, routes_from
from provisioner.model.attributes import InvalidValueError
from provisioner.model.event import InboundEvent, InvalidEventError
from provisioner.model.operation import Kind
from provisioner.planning.claims import Claim
from provisioner.planning.routes import Misrouted, Route, Routed, route, row_of
from provisioner.runs import lifecycle
from provisioner.runtime.clock import Clock
from provisioner.runtime.context import Deployment
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.store.events.inbound import InboundStore, Received
from provisioner.store.runs.documents import Request
from provisioner.targets.capabilities import read_event

log = structlog.get_logger(__name__)

#: Seconds of work per nudge.
BUDGET: Final = 10.0
#: Seconds after which an event that someone took counts as left behind.
IDLE: Final = 30.0
#: How often an event is taken before it counts as one that cannot be handled.
MAX_TRIES: Final = 8
#: Events taken at once. One that was taken before is taken alone, so that it cannot drag others along.
BATCH: Final = 50
#: Seconds for which an event waits for what it needs, such as an account that a guard holds back.
LONGEST_WAIT: Final = 7 * 86400.0
#: Events waiting that mean that something is wrong with the workers.
ALARM: Final = 10_000
#: All processes read as one: which of them took an event does not matter, only when.
_CONSUMER: Final = "worker"


@dataclass(frozen=True, slots=True)
class Worked:
    """What was done: `handled` events; `targets` have work now, `runs` want to begin; `more` is left."""

    handled: int = 0
    targets: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    more: bool = False


async def work(
    dep: Deployment, *, stopped: Callable[[], bool] = lambda: False, idle: float = IDLE, budget: float = BUDGET
) -> Worked:
    """Handle what is in the stream, for at most `budget` seconds.

    Args:
        idle: seconds after which an event that someone took is taken over.

    Raises:
        StoreError: Redis does not answer; its work is taken over later.
    """
    await dep.inbound.begin()
    await dep.inbound.bring_due(await dep.clock.now())
    until = time.monotonic() + budget
    handled, targets, runs = 0, dict[str, None](), list[str]()
    who = Owners(dep)
    while not stopped() and time.monotonic() < until:
        left = await dep.inbound.take_over(_CONSUMER, idle)
        batch = [left] if left else await dep.inbound.take(_CONSUMER, BATCH)
        if not batch:
            break
        try:
            done = await _handle(dep, batch, who)
        except BaseException as exc:
            if not is_fault(exc, stopping=stopped()):
                raise
            # Each of them is taken over alone, so that the one it was about ends as a dead letter
            log_fault("events_not_handled", exc, count=len(batch))
            for received in batch:
                await dep.inbound.note_error(received, f"handling it ended with {named(exc)}")
            continue
        handled += done.handled
        targets |= dict.fromkeys(done.targets)
        runs += done.runs
    else:
        return Worked(handled, tuple(targets), tuple(runs), more=True)
    return Worked(handled, tuple(targets), tuple(runs))


async def _handle(dep: Deployment, batch: list[Received], who: Owners) -> Worked:
    wave = _Wave(dep, who)
    for received in batch:
        if received.tries > MAX_TRIES:
            await _bury(dep.inbound, dep.clock, received, None)
            continue
        try:
            await wave.hear(received)
        except InvalidEventError as exc:
            await _bury(dep.inbound, dep.clock, received, f"it is no event of {received.target}: {exc}")
        except BaseException as exc:
            if not is_fault(exc, stopping=True):
                raise
            await _note(dep.inbound, received, exc)
    await wave.keep()
    await wave.follow()
    targets = await bring_about(dep, wave.effects)
    runs = []
    for target, people in wave.to_sync.items():
        request = Request(trigger="webhook", targets=(target,), people=tuple(people))
        runs.append(await lifecycle.request_run(dep, request))
    over = [one.received for one in wave.read if one.received not in wave.unfinished]
    await dep.inbound.finish([one for one in over if one.id not in wave.misrouted])
    for received in over:
        if received.id in wave.misrouted:
            await _bury(dep.inbound, dep.clock, received, wave.misrouted[received.id])
    for received, reason in wave.unfinished.items():
        if reason is not None:
            await _put_off(dep.inbound, dep.clock, received, reason)
    return Worked(len(over), targets, tuple(runs))


async def _note(inbound: InboundStore, received: Received, exc: BaseException) -> None:
    """It is taken over and tried again, alone; remember why it could not be handled."""
    if isinstance(exc, ProvisionerError):
        await inbound.note_error(received, str(exc))
        log.warning("event_not_handled", target=received.target, event_name=received.event, code=exc.code)
    else:
        await inbound.note_error(received, f"{received.target}: handling it ended with {named(exc)}")
        log_fault("event_not_handled", exc, target=received.target, event_name=received.event)


async def _put_off(inbound: InboundStore, clock: Clock, received: Received, reason: str) -> None:
    """Look again ever more slowly, until it is too late to be of use."""
    now = await clock.now()
    age = now - received.at
    if age > LONGEST_WAIT:
        await _bury(inbound, clock, received, reason)
    else:
        await inbound.put_off(received, now + min(max(age, 2.0), 600.0))


async def _bury(inbound: InboundStore, clock: Clock, received: Received, error: str | None) -> None:
    if await inbound.bury(received, error, await clock.now()):
        log.error("event_is_dead_letter", target=received.target, event_name=received.event, id=received.id)


@dataclass(frozen=True, slots=True)
class _Read:
    """An event that was read, and its person if one was found."""

    received: Received
    event: InboundEvent
    person: str | None


@dataclass(slots=True)
class _Wave:
    """Some events handled together, so that what is asked of Redis is asked once for all of them.

    `unfinished` are those that come again, with what they wait for; None: with what went wrong, which is noted.
    """

    dep: Deployment
    who: Owners
    read: list[_Read] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)
    to_sync: dict[str, dict[str, None]] = field(default_factory=dict)
    misrouted: dict[str, str] = field(default_factory=dict)
    unfinished: dict[Received, str | None] = field(default_factory=dict)

    async def hear(self, received: Received) -> None:
        """Find out what one event says, and whom it is about.

        Raises:
            InvalidEventError: it is none; it was accepted under other settings.
            StoreError: Redis does not answer.
        """
        dep, target = self.dep, received.target
        made = dep.targets.get(target)
        if made is None:
            raise InvalidEventError("the target is not enabled")
        event = read_event(made, json.loads(received.body))
        owner, linked = await self.who.owner(target, event)
        person = owner.person
        if event.joined and person is not None:
            own = await self._ours(target, person, event)
            if own is None:
                # Its answer says whether this member is the one whom we make; until then nobody may act on it
                self.unfinished[received] = f"the create of {person} in {target} is under way"
                return
            event = replace(event, own=event.own or own)
        if not event.known:
            await dep.inbound.keep_unknown(received)
        if person is None:
            await self._nobody(received, event)
            await self._claimed(target, event, owner.claims)
        elif event.joined and not linked:
            await self._joined(target, person)
        self.read.append(_Read(received, event, person))

    async def keep(self) -> None:
        """Record the facts of all events with their people.

        Raises:
            StoreError: Redis does not answer.
        """
        about = [(one, one.person) for one in self.read if one.person is not None]
        facts = [
            (one.received.target, person, fact if fact.at else replace(fact, at=one.received.at))
            for one, person in about
            for fact in one.event.facts
        ]
        await self.dep.inbound.keep_all_facts(facts, await self.dep.clock.now() if facts else 0.0)
        ttl = int(self.dep.settings.retention.runs.total_seconds())
        await self.dep.person_events.add_all(
            [(person, _name_of(one), one.received.at) for one, person in about], ttl=ttl
        )

    async def follow(self) -> None:
        """Follow the routes of all events.

        Raises:
            StoreError: Redis does not answer.
        """
        routed = [one for one in self.read if routes_from(self.dep.routes, one.received.target, one.event.name)]
        rows = [row_of(one.event, one.received.target, one.person, await self.who.row(one.person)) for one in routed]
        try:
            results = route(self.dep.routes, rows)
        except ProvisionerError:
            # One of them must not stop the others
            results = []
            for one, row in zip(routed, rows, strict=True):
                results.append(await self._alone(one, row))
        entries = await self._entries(routed, results)
        for one, found in zip(routed, results, strict=True):
            await self._follow(one, found, entries)

    async def _alone(self, one: _Read, row: Mapping[str, str | None]) -> list[Routed | Misrouted]:
        try:
            return route(self.dep.routes, [row])[0]
        except ProvisionerError as exc:
            self.unfinished[one.received] = None
            await _note(self.dep.inbound, one.received, exc)
            return []

    async def _entries(self, routed: list[_Read], results: list[list[Routed | Misrouted]]) -> Entries:
        """The ledger's entries of everybody to whose accounts the routes lead."""
        people: dict[str, dict[str, None]] = {}
        for one, found in zip(routed, results, strict=True):
            for single in found:
                if single.route.verb != "url" and one.person is not None and single.route.target in self.dep.targets:
                    people.setdefault(single.route.target, {})[one.person] = None
        return {target: await self.dep.ledger.entries(target, list(keys)) for target, keys in people.items()}

    async def _follow(self, one: _Read, found: list[Routed | Misrouted], entries: Entries) -> None:
        """Add what the routes make of one event to the effects; those that wait do not keep the others."""
        received = one.received
        for single in found:
            if isinstance(single, Misrouted):
                self._missed(one, single.route, single.reason)
                continue
            try:
                await consider(self.dep, single, received, one.event, one.person, self.effects, entries)
            except WaitingError as exc:
                self.unfinished[received] = str(exc)
            except InvalidValueError as exc:
                self._missed(one, single.route, f"{single.route.where}.name: {exc}")

    def _missed(self, one: _Read, route: Route, reason: str) -> None:
        self.misrouted[one.received.id] = reason
        log.warning("event_misrouted", route=route.where, event_name=one.event.name, person=one.person)

    async def _nobody(self, received: Received, event: InboundEvent) -> None:
        await self.dep.inbound.count(received.target, "nobody")
        if event.joined and event.account and await self.dep.inbound.orphan(received.target, event.account):
            log.warning("orphan_joined", target=received.target, account=event.account)

    async def _claimed(self, target: str, event: InboundEvent, claims: Sequence[Claim]) -> None:
        """A new member says to be somebody: that is a to-do at once, and neither linked nor given anything."""
        for claim in claims if event.joined else ():
            sentence = claim.sentence(target, self.dep.specs[target].attributes)
            if await self.dep.inbound.todo(target, claim.person, sentence):
                log.warning("account_claims_a_person", target=target, account=claim.account, person=claim.person)

    async def _ours(self, target: str, person: str, event: InboundEvent) -> bool | None:
        """Whether we made the account that joined; None while a create of ours may be what made it."""
        entry = await self.dep.ledger.entry(target, person)
        if entry is not None and entry.account == event.account:
            return entry.created
        standing = await self.dep.runs.standing(target, person, ["account"])
        under_way = any(
            one["kind"] == Kind.CREATE.value and (one["status"] == "sending" or one["attempts"]) for one in standing
        )
        return None if under_way and entry is None else False

    async def _joined(self, target: str, person: str) -> None:
        """A new member of the roster: the run of this person links, corrects, or takes away."""
        standing = await self.dep.runs.standing(target, person, ["account"])
        if not any(document["status"] == "sending" for document in standing):
            self.to_sync.setdefault(target, {})[person] = None


def _name_of(one: _Read) -> dict[str, Any]:
    """What names an event among those that came about a person."""
    return {
        "target": one.received.target,
        "event": one.event.name,
        "digest": one.event.digest,
        "own": one.event.own,
    }
