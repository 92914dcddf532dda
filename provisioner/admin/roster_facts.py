"""What the last clean roster holds, what changed since an earlier one, and what the gate compares. Reads Redis only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Final

import polars as pl

from provisioner.model.roster_facts import ColumnFacts, GateFacts, LookupFacts, RosterFacts
from provisioner.roster import Baseline
from provisioner.roster.columns_read import read_by
from provisioner.roster.gate import limit
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.settings.place import shown
from provisioner.settings.values import format_duration
from provisioner.store.people.snapshots import roster_columns

#: Changed values that are shown of each column.
_EXAMPLES: Final = 3


async def roster_facts(dep: Deployment, day: str = "") -> RosterFacts | None:
    """The last clean roster; None before the first.

    Args:
        day: ISO, of the kept roster that it is compared with; any other text: the newest of an earlier day.

    Raises:
        StoreError: Redis does not answer.
    """
    people = await dep.frames.known()
    if people is None:
        return None
    facts = await dep.frames.roster()
    days = [one.day for one in reversed(await dep.past.listed())]
    with_ = day if day in days else next(iter(days), None)
    before = await dep.past.people(with_) if with_ is not None else None
    names = [name for name in roster_columns(people.columns) if people.schema[name] == pl.String]
    baseline = Baseline.from_facts(facts)
    readers = {name: dep.compiled(name, None).columns for name in dep.specs}
    own = frozenset(read_by(dep.settings.roster, frozenset()))
    joined, gone = ([], []) if before is None else _membership(people, before)
    return {
        "people": people.height,
        "columns": await asyncio.to_thread(_columns, people, names, before, baseline, readers, own),
        "compared_with": with_ if before is not None else None,
        "days": days,
        "joined": joined,
        "gone": gone,
        "lookups": _lookups(dep.settings, people, facts),
        "gate": _gate(dep.settings, baseline),
    }


def _membership(people: pl.DataFrame, before: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The keys that only the newer roster has, and those that only the older one has."""
    new, old = people.select("_key"), before.select("_key")
    return (
        new.join(old, on="_key", how="anti")["_key"].sort().to_list(),
        old.join(new, on="_key", how="anti")["_key"].sort().to_list(),
    )


def _columns(
    people: pl.DataFrame,
    names: list[str],
    before: pl.DataFrame | None,
    baseline: Baseline | None,
    readers: Mapping[str, frozenset[str]],
    own: frozenset[str],
) -> list[ColumnFacts]:
    known = [name for name in names if before is not None and name in before.columns]
    both = None
    if before is not None:
        older = before.select("_key", *(pl.col(name).alias(f"{name}?") for name in known))
        both = people.select("_key", *known).join(older, on="_key")
    found: list[ColumnFacts] = []
    for name in names:
        changed: pl.DataFrame | None = None
        if both is not None and name in known:
            changed = both.filter(pl.col(name).ne_missing(pl.col(f"{name}?"))).select("_key", f"{name}?", name)
        employed = baseline.employed if baseline is not None else None
        found.append(
            {
                "name": name,
                "filled": people.height - people[name].null_count(),
                "employed_filled": int(employed[name].sum())
                if employed is not None and name in employed.columns
                else None,
                "changed": None if changed is None else changed.height,
                "examples": []
                if changed is None
                else [
                    {"person": person, "before": was, "after": now}
                    for person, was, now in changed.head(_EXAMPLES).iter_rows()
                ],
                "read_by": [target for target, columns in readers.items() if name in columns],
                "read_by_roster": name in own,
            }
        )
    return found


def _lookups(settings: Settings, people: pl.DataFrame, facts: Mapping[str, bytes]) -> list[LookupFacts]:
    tables = json.loads(facts.get("tables", b"{}"))
    found: list[LookupFacts] = []
    for name, one in settings.roster.lookups.items():
        where = "a map in the settings" if one.values is not None else "this roster"
        if one.in_ is not None:
            where = shown(one.in_)
        own = [column for column in people.columns if column.startswith(f"{name}.")]
        found.append(
            {
                "name": name,
                "by": one.by,
                "where": where,
                "rows": int(tables[name]["rows"]) if name in tables else None,
                "found": people.select(pl.any_horizontal(pl.col(own).is_not_null()).sum()).item() if own else None,
            }
        )
    return found


def _gate(settings: Settings, baseline: Baseline | None) -> list[GateFacts]:
    gate = settings.roster.gate
    base = baseline.people if baseline is not None else None
    shares = (
        ("max_rejected", gate.max_rejected, "rows that are rejected", "rejected: nothing is sent"),
        ("max_shrink", gate.max_shrink, "people fewer than in the last clean roster", "degraded: removals wait"),
        ("max_leaving", gate.max_leaving, "people newly leaving", "degraded: removals wait"),
        (
            "max_blank_jump",
            gate.max_blank_jump,
            "employed people who lost their value in a mapped column",
            "degraded: removals wait",
        ),
    )
    found: list[GateFacts] = [
        {
            "setting": f"roster.gate.{name}",
            "meaning": meaning,
            "allowed": f"{percent:g}%",
            "base": base,
            "limit": None if base is None else limit(percent, base),
            "over_it": over,
        }
        for name, percent, meaning, over in shares
    ]
    found.append(
        {
            "setting": "roster.gate.max_age",
            "meaning": "since the roster was last written",
            "allowed": format_duration(gate.max_age),
            "base": None,
            "limit": None,
            "over_it": "degraded: removals wait",
        }
    )
    return found
