"""Everything that one process needs to work: settings, stores, targets, and one HTTP client per event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from provisioner.errors import UsageError
from provisioner.planning.compiled import CompiledTarget, check_overlay, compile_target
from provisioner.planning.routes import Route, compile_routes
from provisioner.planning.spec import TargetSpec
from provisioner.runtime.clock import Clock
from provisioner.runtime.rate_limit import TargetPace, budget_of
from provisioner.runtime.tracing import requests_of
from provisioner.runtime.turns import TargetTurns
from provisioner.settings import Settings
from provisioner.settings.nearest import nearest
from provisioner.store.queue.rate_limit import Lane
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.server import Server
from provisioner.store.stores import Stores, connected
from provisioner.targets.base import Target
from provisioner.targets.capabilities import (
    BundlesEnrolments,
    CarriesObserved,
    Deactivates,
    Enrols,
    PublishesRate,
    SchedulesEnd,
    TakesEvents,
    TakesKnowledge,
    inbound_actions,
    tokens_of,
)
from provisioner.targets.clients import Clients
from provisioner.targets.http import Client, Fence, Heard, Http, Pace
from provisioner.targets.registry import make

#: Seconds that a read waits for a slot before its target counts as unreachable for this run.
_PATIENCE: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Deployment(Stores):
    """One process's connection to the deployment: its stores, and what the settings say. Make it with `open`."""

    settings: Settings
    clock: Clock
    clients: Clients
    targets: Mapping[str, Target[Any]]
    specs: Mapping[str, TargetSpec]
    routes: tuple[Route, ...]

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, reading: bool = False, within: float | None = None
    ) -> AsyncIterator[Deployment]:
        """Connect, for as long as the context lasts.

        Args:
            reading: leave Redis as it is; not even the number of its layout is noted.
            within: seconds in which Redis has to answer each command; None: as patient as a worker.

        Raises:
            ConfigurationError: a target's settings do not fit what its vendor offers.
            StoreError: Redis does not answer, or its data is of a layout that this version does not know.
        """
        targets, specs = build_targets(settings)
        address = RedisAddress.of(settings)
        async with connected(address, reading=reading, within=within) as redis, Clients() as clients:
            yield cls.on(
                redis,
                address,
                settings=settings,
                clock=Clock(Server(redis, address), settings.zone),
                clients=clients,
                targets=targets,
                specs=specs,
                routes=routes_of(settings, targets),
            )

    @property
    def client(self) -> Client:
        """The HTTP client of everything but deliveries."""
        return self.clients.of(0)

    def compiled(self, target: str, columns: Sequence[str] | None) -> CompiledTarget:
        """A target's expressions, checked against the roster's columns (only for their form if None).

        Raises:
            ConfigurationError: one is wrong.
        """
        return compile_target(self.specs[target], columns)

    def pace_of(self, target: str, *, lane: Lane = "bulk", patience: float | None = None) -> TargetPace:
        """Where a target's slots come from."""
        made, settings = self.targets[target], self.settings.targets[target]
        return TargetPace(
            self.pace,
            target,
            budget_of(made),
            settings.rate_limit,
            lane=lane,
            adaptive=not isinstance(made, PublishesRate),
            least_block=made.least_block if isinstance(made, PublishesRate) else 0.0,
            patience=patience,
        )

    def http(
        self,
        target: str,
        pace: Pace,
        *,
        read_only: bool = False,
        fence: Fence | None = None,
        run: str = "",
        attempt: int = 1,
        heard: Heard | None = None,
        sender: int = 0,
    ) -> Http:
        """The transport of a target; see `Http`. Of many senders in this process, each gives its number."""
        made = self.targets[target]
        return Http(
            target,
            self.clients.of(sender),
            made.origin,
            made.headers(),
            pace,
            read_only=read_only,
            fence=fence,
            run=run,
            page_size=made.settings.page_size,
            watch=requests_of(target),
            attempt=attempt,
            heard=heard,
            tokens=tokens_of(made),
            turns=TargetTurns(self.locks, target),
        )

    def reading(self, target: str, *, lane: Lane = "bulk", heard: Heard | None = None) -> Http:
        """A transport for reading only: whatever is tried, nothing can be written through it."""
        return self.http(target, self.pace_of(target, lane=lane, patience=_PATIENCE), read_only=True, heard=heard)

    def chosen(self, names: Iterable[str] | None) -> tuple[str, ...]:
        """The named targets, or all, in the order of the settings; disabled ones included.

        Raises:
            UsageError: there is no such target.
        """
        if names is None:
            return tuple(self.settings.targets)
        asked = list(names)
        for name in asked:
            if name not in self.settings.targets:
                raise UsageError(
                    f"There is no target {name!r}{nearest(name, self.settings.targets)}.",
                    remedy=f"Targets are: {', '.join(self.settings.targets) or 'none'}.",
                )
        return tuple(name for name in self.settings.targets if name in asked)

    def enabled(self, name: str) -> bool:
        """Whether runs use this target."""
        return self.settings.targets[name].enabled


def build_targets(settings: Settings) -> tuple[dict[str, Target[Any]], dict[str, TargetSpec]]:
    """The enabled targets and what the planner needs to know of each.

    Raises:
        ConfigurationError: a target's settings do not fit what its vendor offers.
    """
    targets: dict[str, Target[Any]] = {}
    specs: dict[str, TargetSpec] = {}
    for name, own in settings.targets.items():
        if not own.enabled:
            continue
        target = make(name, own)
        target.check()
        spec = replace(spec_of(target), zone=settings.zone)
        check_overlay(spec)
        targets[name], specs[name] = target, spec
    return targets, specs


def spec_of(target: Target[Any]) -> TargetSpec:
    """What the planner needs to know of a target: its settings, and what its class declares."""
    own = target.settings
    mapped = {name: target.attribute(name) for name in (*own.attributes, *own.leaver)}
    attributes = {**target.catalogue, **mapped}
    shared = frozenset(name for name, attribute in attributes.items() if attribute.merge)
    for name, rule in (*own.attributes.items(), *own.leaver.items()):
        # Of a set that nobody shows we take away only what the ledger says that we wrote, in any case
        if rule.set == "merge" and attributes[name].observed:
            attributes[name] = replace(attributes[name], merge=True)
    spec = TargetSpec(name=target.name, settings=own, attributes=attributes, shared=shared)
    if isinstance(target, Deactivates):
        spec = replace(spec, activity=target.activity)
    if isinstance(target, CarriesObserved):
        spec = replace(spec, carried=target.carried)
    if isinstance(target, SchedulesEnd):
        spec = replace(spec, ends_attribute=target.ends_attribute)
    if isinstance(target, TakesEvents):
        spec = replace(spec, facts=target.facts, role_attribute=target.role_attribute)
    if isinstance(target, Enrols):
        spec = replace(spec, enrolments=tuple(target.enrolment_rules))
    if isinstance(target, BundlesEnrolments):
        spec = replace(spec, bundled_enrolments=target.bundled_enrolments)
    if isinstance(target, TakesKnowledge):
        rules = tuple(target.knowledge_rules)
        spec = replace(spec, knowledge=target.knowledge, knowledge_key=target.knowledge_key, knowledge_rules=rules)
    return spec


def routes_of(settings: Settings, targets: Mapping[str, Target[Any]]) -> tuple[Route, ...]:
    """The routes of inbound events, checked.

    Raises:
        ConfigurationError: a route leads nowhere, or one of its expressions is wrong.
    """
    return compile_routes(settings, {name: inbound_actions(target) for name, target in targets.items()})
