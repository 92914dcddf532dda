"""Whether a roster is believed: rejected, degraded or clean; pure."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from provisioner.model.wording import counted
from provisioner.roster.legibility import changed_texts
from provisioner.roster.values import People, Verdict
from provisioner.settings import RosterSettings
from provisioner.settings.values import format_duration


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the gate remembers of the last clean snapshot.

    `people` is how many rows were believed. `employed` has a row for each of its employed people: `_key`, and for every
    column of the roster whether it held a value. `encoding` is that of the last clean text that showed it, `tables` are
    the rows of each look-up's file.
    """

    people: int
    employed: pl.DataFrame
    encoding: str | None = None
    tables: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, people: People) -> Baseline:
        """What is to be remembered of a clean snapshot."""
        employed = people.frame.filter(pl.col("_verdict") == "employed")
        return cls(
            people.frame.height,
            employed.select("_key", *(pl.col(name).is_not_null().alias(name) for name in people.columns)),
            people.encoding,
            {name: table.rows for name, table in people.tables.items()},
        )

    def to_bytes(self) -> bytes:
        """The employed as compressed Arrow IPC."""
        buffer = io.BytesIO()
        self.employed.write_ipc(buffer, compression="zstd")
        return buffer.getvalue()

    @classmethod
    def from_bytes(
        cls, people: int, content: bytes, encoding: str | None = None, tables: Mapping[str, int] | None = None
    ) -> Baseline:
        """The inverse of `to_bytes`, which holds only the employed."""
        return cls(people, pl.read_ipc(io.BytesIO(content)), encoding, tables or {})

    @classmethod
    def from_facts(cls, facts: Mapping[str, bytes]) -> Baseline | None:
        """As the facts of the last clean snapshot have it; None before the first."""
        if "baseline" not in facts:
            return None
        encoding = facts.get("encoding", b"").decode() or None
        tables = {name: int(one["rows"]) for name, one in json.loads(facts.get("tables", b"{}")).items()}
        return cls.from_bytes(int(facts["baseline_people"]), facts["baseline"], encoding, tables)

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        employed = base64.b64encode(self.to_bytes()).decode()
        return {"people": self.people, "employed": employed, "encoding": self.encoding}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Baseline:
        """The inverse of `to_json`."""
        return cls.from_bytes(int(document["people"]), base64.b64decode(document["employed"]), document.get("encoding"))


def gate(
    people: People,
    baseline: Baseline | None,
    settings: RosterSettings,
    *,
    mapped: Collection[str],
    modified: datetime | None,
    now: datetime,
    known: pl.DataFrame | None = None,
) -> Verdict:
    """The verdict over a whole roster.

    `baseline` is of the last clean snapshot (None: there was none, so nothing is compared); `mapped` the columns that
    the mapping reads; `modified` and `now` are UTC; `known` are the last clean rows of people, where somebody has them.
    """
    rejected = _reasons_to_reject(people, baseline, settings)
    if rejected:
        return Verdict("rejected", tuple(rejected))
    degraded = [*_reasons_of_age(settings, modified, now), *_reasons_of_tables(people, baseline, settings)]
    if baseline is not None:
        degraded += _reasons_of_shrinking(people, baseline, settings)
        degraded += _reasons_of_leaving(people, baseline, settings)
        degraded += _reasons_of_blanks(people, baseline, settings, mapped)
        degraded += _reasons_of_encoding(people, baseline, settings)
        changed = None if known is None else changed_texts(people.frame, known)
        degraded += [changed] if changed else []
    return Verdict("degraded", tuple(degraded)) if degraded else Verdict("clean")


def _reasons_of_tables(people: People, baseline: Baseline | None, settings: RosterSettings) -> list[str]:
    """Look-ups whose file is empty, or lost more rows than a roster may."""
    reasons = []
    percent = settings.gate.max_shrink
    for name, table in people.tables.items():
        before = baseline.tables.get(name, 0) if baseline is not None else 0
        if not table.rows:
            reasons.append(f"The file of roster.lookups.{name} is empty.")
        elif before - table.rows > limit(percent, before):
            reasons.append(
                f"The file of roster.lookups.{name} shrank from {before} rows to {table.rows}, more than "
                f"roster.gate.max_shrink allows ({_share(percent, before)})."
            )
    return reasons


def limit(percent: float, base: int) -> int:
    """How many are still believed: the floor of the share, but at least one."""
    return max(1, math.floor(percent * base / 100 + 1e-9))


def _share(percent: float, base: int) -> str:
    return f"{percent:g}% of {base} is {limit(percent, base)}"


def _reasons_to_reject(people: People, baseline: Baseline | None, settings: RosterSettings) -> list[str]:
    reasons = []
    bad = len(people.rejects)
    base = baseline.people if baseline is not None else people.rows
    percent = settings.gate.max_rejected
    if bad > limit(percent, base):
        first = "; ".join(str(one) for one in people.rejects[:3])
        are = "is" if bad == 1 else "are"
        reasons.append(
            f"{bad} of {counted(people.rows, 'row')} {are} rejected, more than roster.gate.max_rejected allows "
            f"({_share(percent, base)}). First: {first}."
        )
    if people.frame.is_empty():
        reasons.append(f"No valid person is among {counted(people.rows, 'row')}.")
    return reasons


def _reasons_of_age(settings: RosterSettings, modified: datetime | None, now: datetime) -> list[str]:
    longest = settings.gate.max_age
    if modified is None or now - modified <= longest:
        return []
    reason = (
        f"The roster was last written {modified:%Y-%m-%d %H:%M} UTC, "
        f"longer ago than roster.gate.max_age ({format_duration(longest)})."
    )
    return [reason]


def _reasons_of_shrinking(people: People, baseline: Baseline, settings: RosterSettings) -> list[str]:
    hidden = people.present.difference(people.frame["_key"]) if people.present else frozenset()
    current = people.frame.height + len(hidden)
    lost = baseline.people - current
    percent = settings.gate.max_shrink
    if lost <= limit(percent, baseline.people):
        return []
    reason = (
        f"The roster shrank from {baseline.people} people to {current}, by {lost}, more than roster.gate.max_shrink "
        f"allows ({_share(percent, baseline.people)})."
    )
    return [reason]


def _reasons_of_leaving(people: People, baseline: Baseline, settings: RosterSettings) -> list[str]:
    staying = people.frame.filter(pl.col("_verdict") != "leaver")["_key"]
    there = pl.concat([staying, pl.Series([*people.present, *people.renamed], dtype=pl.String)])
    leaving = baseline.employed.filter(~pl.col("_key").is_in(there.implode())).height
    percent = settings.gate.max_leaving
    if leaving <= limit(percent, baseline.people):
        return []
    reason = (
        f"{counted(leaving, 'person is', 'people are')} newly leaving, more than roster.gate.max_leaving allows "
        f"({_share(percent, baseline.people)})."
    )
    return [reason]


def _reasons_of_encoding(people: People, baseline: Baseline, settings: RosterSettings) -> list[str]:
    """A file may change its encoding; where nobody says to which, what it is now is found out or guessed."""
    auto = settings.encoding.strip().lower() == "auto"
    if not auto or None in (people.encoding, baseline.encoding) or people.encoding == baseline.encoding:
        return []
    reason = (
        f"The encoding of the roster changed from {baseline.encoding} to {people.encoding}; set roster.encoding if "
        "that is right."
    )
    return [reason]


def _reasons_of_blanks(
    people: People, baseline: Baseline, settings: RosterSettings, mapped: Collection[str]
) -> list[str]:
    percent = settings.gate.max_blank_jump
    current = people.frame.filter(pl.col("_verdict") == "employed")
    columns = [
        name
        for name in people.columns
        if name in set(mapped)
        and name in baseline.employed.columns
        # No more can have lost a value than have none now, or than had one then
        and min(current[name].null_count(), baseline.employed[name].sum()) > limit(percent, baseline.people)
    ]
    if not columns:
        return []
    current = current.select("_key", *columns)
    both = baseline.employed.select("_key", *(pl.col(name).alias(f"{name}?") for name in columns)).join(
        current, on="_key"
    )
    lost = both.select((pl.col(f"{name}?") & pl.col(name).is_null()).sum().alias(name) for name in columns)
    return [
        f"{counted(count, 'person', 'people')} lost their value in the column {name!r}, "
        f"more than roster.gate.max_blank_jump allows ({_share(percent, baseline.people)})."
        for name, count in lost.row(0, named=True).items()
        if count > limit(percent, baseline.people)
    ]
