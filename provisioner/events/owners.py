"""Whose accounts events are about: read once per nudge, since everybody's row and link are needed to find one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import polars as pl

from provisioner.model.event import InboundEvent
from provisioner.planning.compiled import compile_target
from provisioner.planning.desired import desired_accounts
from provisioner.planning.whose import Everybody, Named, Owner, identifier_type
from provisioner.roster.identity import Spelling, fold_key, fold_keys
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import roster_columns


@dataclass(slots=True)
class Owners:
    """Whose accounts events are about, as the roster and the ledger were at the first question."""

    dep: Deployment
    _rows: pl.DataFrame | None = None
    _places: dict[str, int] = field(default_factory=dict)
    _links: dict[str, Named] = field(default_factory=dict)
    _apart: dict[str, Mapping[str, Collection[str]]] = field(default_factory=dict)
    _everybody: dict[str, Everybody | None] = field(default_factory=dict)

    async def row(self, person: str | None) -> Mapping[str, str | None]:
        """The person's last clean row, without our own columns; empty for nobody."""
        people = await self._people()
        place = self._places.get(fold_key(person)) if person is not None else None
        if place is None:
            return {}
        found = people.row(place, named=True)
        return {name: found[name] for name in roster_columns(found)}

    async def owner(self, target: str, event: InboundEvent) -> tuple[Owner, bool]:
        """Whose account an event is about, and whether it is linked.

        An account without a link belongs to whom a plan would match it to.
        """
        if event.account:
            linked = (await self._linked(target)).by(event.account)
            if linked:
                # Of several a run tells the conflict; nothing is guessed here
                return Owner(linked[0] if len(linked) == 1 else None), len(linked) == 1
        everybody = await self._all(target)
        if everybody is None:
            return Owner(), False
        if target not in self._apart:
            self._apart[target] = await self.dep.hand_links.apart(target)
        return everybody.owner(event.account or "", event.match, self._apart[target]), False

    async def _linked(self, target: str) -> Named:
        if target not in self._links:
            frame = await self.dep.ledger.frame(target, ())
            people = Spelling((await self._people())["_key"]).column(frame["_person"])
            pairs = zip(frame["_account"], people, strict=True)
            self._links[target] = Named(pairs, identifier_type(self.dep.specs[target].attributes))
        return self._links[target]

    async def _people(self) -> pl.DataFrame:
        if self._rows is None:
            known = await self.dep.frames.known()
            self._rows = pl.DataFrame({"_key": []}, schema={"_key": pl.String}) if known is None else known
            self._places = {key: place for place, key in enumerate(fold_keys(self._rows["_key"]).to_list())}
        return self._rows

    async def _all(self, target: str) -> Everybody | None:
        if target not in self._everybody:
            spec, people = self.dep.specs[target], await self._people()
            columns = roster_columns(people.columns)
            if not columns:
                return None
            settings = self.dep.settings
            today, today_utc = await self.dep.clock.today()
            desired = desired_accounts(
                spec,
                compile_target(spec, columns),
                people,
                today=today,
                today_utc=today_utc,
                ends=settings.roster.ends is not None,
            )
            self._everybody[target] = Everybody(spec, desired.frame)
        return self._everybody[target]
