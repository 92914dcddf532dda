"""Columns that the file has not: computed ones, and those of other tables. In which order they come about; pure.

Each expression sees one row, with the columns that were worked out before. A look-up in the roster itself waits until
one row is left for each person; everything else comes before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.errors import ConfigurationError, RosterError
from provisioner.expressions import Expression, compile_expression, evaluate_text, evaluate_texts
from provisioner.expressions.misses import MISSED, SEPARATOR
from provisioner.model.wording import counted
from provisioner.roster.addresses import improper
from provisioner.roster.identity import fold_keys
from provisioner.roster.lookups import FOLD, LookupTable, hits
from provisioner.roster.named import column_or_expression
from provisioner.roster.picking import order_of
from provisioner.roster.values import Note
from provisioner.settings import RosterSettings

#: What a look-up in the roster itself waits for, besides columns.
_KEY, _PICK = "roster.key", "roster.pick"
_EXAMPLES: Final = 3
_LONGEST: Final = 20
_DOUBTS: Final = pl.Schema({"_line": pl.Int64, "column": pl.String, "reason": pl.String})


@dataclass(frozen=True, slots=True)
class Plan:
    """How the derived columns come about.

    `early` and `late` are their names in order: before and after one row is picked for each person. `needs` are columns
    that somebody reads and nobody has. `sources` are by column all that it comes from, itself included; `through` by
    look-up the columns that come from it.
    """

    settings: RosterSettings
    tables: Mapping[str, LookupTable]
    computed: Mapping[str, Expression]
    by: Mapping[str, Expression]
    early: tuple[str, ...]
    late: tuple[str, ...]
    needs: frozenset[str]
    sources: Mapping[str, frozenset[str]]
    through: Mapping[str, frozenset[str]]
    key: Expression

    @property
    def columns(self) -> tuple[str, ...]:
        """The derived columns."""
        return (*self.early, *self.late)

    @property
    def key_columns(self) -> frozenset[str]:
        """All columns from which the key comes."""
        return self.sources.get(_KEY, frozenset())


def plan_columns(
    settings: RosterSettings,
    columns: Sequence[str],
    tables: Mapping[str, LookupTable],
    wanted: Collection[str],
    zone: ZoneInfo,
) -> Plan:
    """The derived columns in the order in which they are worked out.

    Args:
        columns: those of the file.
        wanted: what anybody reads.

    Raises:
        RosterError: a column of the file has the name of a derived one.
        ConfigurationError: columns wait for each other, or an expression is wrong.
    """
    _check_names(settings, columns)
    graph = _Graph(settings, columns, tables, zone)
    for name in (*settings.columns, _KEY, *wanted):
        graph.visit(name)
    late = {name for name in graph.order if any(is_own(settings, one) for one in graph.sources[name])}
    derived = [name for name in graph.order if name not in (_KEY, _PICK) and name not in columns]
    through: dict[str, set[str]] = {}
    for name in derived:
        for source in graph.sources[name]:
            if (lookup := lookup_of(settings, source)) is not None:
                through.setdefault(lookup, set()).add(name)
    return Plan(
        settings,
        tables,
        graph.computed,
        graph.by,
        tuple(name for name in derived if name not in late),
        tuple(name for name in derived if name in late),
        frozenset(graph.missing),
        graph.sources,
        {name: frozenset(found) for name, found in through.items()},
        graph.key,
    )


def _check_names(settings: RosterSettings, columns: Sequence[str]) -> None:
    both = sorted(set(settings.columns) & set(columns))
    if both:
        raise RosterError(
            f"roster.columns: the file has a column {both[0]!r} itself.", remedy="Give the computed one another name."
        )
    for name in settings.lookups:
        same = [one for one in columns if one == name or one.startswith(f"{name}.")]
        if same:
            raise RosterError(
                f"roster.lookups: the file has a column {same[0]!r} itself, so {name!r} would be two tables.",
                remedy="Give the look-up another name.",
            )


def lookup_of(settings: RosterSettings, name: str) -> str | None:
    """The look-up that a column comes from; None for other columns."""
    first = name.partition(".")[0]
    return first if first != name and first in settings.lookups else None


def is_own(settings: RosterSettings, name: str) -> bool:
    """Whether a column is of a look-up in the roster itself."""
    lookup = lookup_of(settings, name)
    return lookup is not None and settings.lookups[lookup].in_ is None and settings.lookups[lookup].values is None


class _Graph:
    """Which columns wait for which, gone through depth first."""

    def __init__(
        self, settings: RosterSettings, columns: Sequence[str], tables: Mapping[str, LookupTable], zone: ZoneInfo
    ) -> None:
        self._settings = settings
        self._file = frozenset(columns)
        self._tables = tables
        own = [*columns, *settings.columns]
        self.computed = {
            name: compile_expression(text, None, where=f"roster.columns.{name}", zone=zone)
            for name, text in settings.columns.items()
        }
        self.by = {
            name: column_or_expression(lookup.by, own, where=f"roster.lookups.{name}.by", zone=zone)
            for name, lookup in settings.lookups.items()
        }
        self.key = column_or_expression(settings.key, own, where="roster.key", zone=zone)
        if self.key.constant:
            raise ConfigurationError(
                f"roster.key: {settings.key!r} reads no column, so all people would be one.",
                remedy="Name the column that holds the key.",
            )
        self._pick = frozenset[str]().union(*(one.expression.columns for one in order_of(settings.pick, None, zone)))
        self.order: list[str] = []
        self.missing: dict[str, str] = {}
        self.sources: dict[str, frozenset[str]] = {}
        self._path: list[str] = []

    def visit(self, name: str) -> None:
        if name in self.sources or name in self.missing:
            return
        if name in self._path:
            raise _circle([*self._path[self._path.index(name) :], name])
        if name in self._file:
            self.sources[name] = frozenset({name})
            return
        self._path.append(name)
        found = {name}
        for other in sorted(self._waits_for(name)):
            self.visit(other)
            if other in self.missing:
                self._complain(name, other)
            found |= self.sources.get(other, frozenset())
        self._path.pop()
        if name not in self.missing:
            self.sources[name] = frozenset(found)
            self.order.append(name)

    def _waits_for(self, name: str) -> frozenset[str]:
        if name == _KEY:
            return self.key.columns
        if name == _PICK:
            return self._pick
        if name in self.computed:
            return self.computed[name].columns
        lookup = lookup_of(self._settings, name)
        if lookup is None:
            self.missing[name] = name
            return frozenset()
        column = name.partition(".")[2]
        waits = self.by[lookup].columns
        if not is_own(self._settings, name):
            self._check_column(lookup, column)
            return waits
        if waits == self.key.columns and self.by[lookup].text == self.key.text:
            raise ConfigurationError(
                f"roster.lookups.{lookup}: it looks everybody up by their own key, which gives their own row.",
                remedy=f"Name in roster.lookups.{lookup}.by the column that holds the other person's key.",
            )
        return waits | {column, _KEY, _PICK}

    def _check_column(self, lookup: str, column: str) -> None:
        table = self._tables.get(lookup)
        if table is None or column in table.columns:
            return
        near = get_close_matches(column, table.columns, n=1, cutoff=0.55)
        what = table.name or "a map of values"
        raise ConfigurationError(
            f"roster.lookups.{lookup}: {what} has no column {column!r}"
            f"{f' (did you mean {lookup}.{near[0]}?)' if near else ''}.",
            remedy=f"Its columns are: {', '.join(f'{lookup}.{one}' for one in table.columns[:20])}.",
        )

    def _complain(self, name: str, other: str) -> None:
        """Say what a derived column reads that nobody has."""
        known = {*self._file, *self.computed, *(one for one in self.sources if lookup_of(self._settings, one))}
        if name in self.computed:
            compile_expression(self.computed[name].text, known, where=f"roster.columns.{name}")
        lookup = lookup_of(self._settings, name)
        if lookup is not None and other in self.by[lookup].columns:
            compile_expression(self.by[lookup].text, known, where=f"roster.lookups.{lookup}.by")
        if lookup is not None:
            near = get_close_matches(other, sorted(known), n=1, cutoff=0.55)
            raise ConfigurationError(
                f"roster.lookups.{lookup}: the roster has no column {other!r}"
                f"{f' (did you mean {lookup}.{near[0]}?)' if near else ''}, which {name} reads."
            )
        self.missing.setdefault(other, name)


def _circle(path: Sequence[str]) -> ConfigurationError:
    what = " reads ".join(path)
    if len(path) == 2:
        what = f"{path[0]} reads itself"
    return ConfigurationError(
        f"roster: {what}, so none of them can be worked out.",
        remedy="Let one of roster.columns, roster.lookups, roster.pick and roster.key read another column.",
    )


@dataclass(slots=True)
class Derivation:
    """A frame on its way: `doubts` as of `Read`, and by look-up the lines of its `misses` with what was looked up."""

    plan: Plan
    emails: Collection[str] = ()
    doubts: list[pl.DataFrame] = field(default_factory=list)
    misses: dict[str, pl.DataFrame] = field(default_factory=dict)

    def with_columns(self, frame: pl.DataFrame, names: Iterable[str], spoiled: pl.DataFrame) -> pl.DataFrame:
        """The frame with some of the derived columns.

        Args:
            spoiled: cells that nobody believes, as `Read.doubts`; of them nothing is looked up.
        """
        waiting = list(names)
        while waiting:
            ready = [name for name in waiting if self._reads(name) <= set(frame.columns)]
            if not ready:
                raise ConfigurationError(f"roster.columns: {waiting[0]!r} cannot be worked out.")
            frame = self._at_once(frame, ready, spoiled)
            waiting = [name for name in waiting if name not in ready]
        return frame

    def _reads(self, name: str) -> frozenset[str]:
        if name in self.plan.computed:
            return self.plan.computed[name].columns
        lookup, _, column = name.partition(".")
        own = is_own(self.plan.settings, name)
        return self.plan.by[lookup].columns | ({column} if own else set())

    def _at_once(self, frame: pl.DataFrame, names: Sequence[str], spoiled: pl.DataFrame) -> pl.DataFrame:
        added: list[pl.Series] = []
        computed = [name for name in names if name in self.plan.computed]
        results = evaluate_texts([self.plan.computed[name] for name in computed], frame)
        for name, result in zip(computed, results, strict=True):
            if result.failed.any():
                self._doubt(frame, name, result.reasons)
            added.append(result.values.cast(pl.String).alias(name))
        by_lookup: dict[str, list[str]] = {}
        for name in names:
            if name not in self.plan.computed:
                by_lookup.setdefault(name.partition(".")[0], []).append(name)
        for lookup, found in by_lookup.items():
            added += self._looked_up(frame, lookup, found, spoiled)
        return frame.with_columns(added)

    def _doubt(self, frame: pl.DataFrame, name: str, reasons: Mapping[int, str]) -> None:
        rows = pl.Series(list(reasons), dtype=pl.UInt32)
        table = pl.DataFrame(
            {"_line": frame["_line"].gather(rows), "column": name, "reason": list(reasons.values())}, schema=_DOUBTS
        )
        self.doubts.append(table)

    def _looked_up(
        self, frame: pl.DataFrame, lookup: str, names: Sequence[str], spoiled: pl.DataFrame
    ) -> list[pl.Series]:
        wanted = self._wanted(frame, lookup)
        table = self.plan.tables.get(lookup)
        rows = hits(wanted, fold_keys(frame["_key"]) if table is None else table.frame[FOLD])
        default = None if table is None else table.default
        if default is None and lookup not in self.misses:
            missed = (wanted.is_not_null() & rows.is_null()).arg_true()
            self.misses[lookup] = pl.DataFrame({"_line": frame["_line"].gather(missed), "by": wanted.gather(missed)})
        found = []
        for name in names:
            column = name.partition(".")[2]
            cells = _believed(frame, column, spoiled) if table is None else table.frame[column]
            values = cells.gather(rows).alias(name)
            if default is not None:
                values = values.fill_null(default)
            if name in self.emails:
                bad = values.to_frame().select(improper(pl.col(name)).fill_null(value=False)).to_series()
                values = values.set(bad, None) if bad.any() else values
            found.append(values)
        return found

    def _wanted(self, frame: pl.DataFrame, lookup: str) -> pl.Series:
        by = self.plan.by[lookup]
        if by.text in frame.columns:
            return frame[by.text]
        return evaluate_text(by, frame).values.cast(pl.String)

    def missed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with `MISSED`, where there is anything to say."""
        parts = []
        for lookup, missed in self.misses.items():
            columns = self.plan.through.get(lookup)
            if columns and missed.height:
                named = SEPARATOR + SEPARATOR.join(sorted(columns)) + SEPARATOR
                lines = pl.col("_line").is_in(missed["_line"].implode())
                parts.append(pl.when(lines).then(pl.lit(named)))
        if not parts:
            return frame
        text = pl.concat_str(parts, ignore_nulls=True)
        return frame.with_columns(pl.when(text != "").then(text).alias(MISSED))

    def notes(self) -> list[Note]:
        """What to say about what was not found, and about tables that are not whole."""
        found = [note for table in self.plan.tables.values() for note in table.notes]
        for lookup, missed in self.misses.items():
            if not missed.height:
                continue
            table = self.plan.tables.get(lookup)
            where = "the roster" if table is None else table.name or "its values"
            finds = counted(missed.height, "row finds", "rows find")
            message = f"roster.lookups.{lookup}: {finds} nothing in {where}{_examples(missed)}."
            found.append(Note(message, "Add what is missing there, or fix the rows."))
        return found


def _examples(missed: pl.DataFrame) -> str:
    """What was looked for, where it is a code; else, since it may say more of somebody, only the lines."""
    texts = missed["by"].unique(maintain_order=True).head(_EXAMPLES).to_list()
    if all(len(text) <= _LONGEST and "@" not in text and " " not in text for text in texts):
        more = missed["by"].n_unique() - len(texts)
        return f": {', '.join(texts)}{f' and {more} more' if more else ''}"
    lines = missed["_line"].head(_EXAMPLES).to_list()
    return f" (line {', '.join(map(str, lines))})"


def _believed(frame: pl.DataFrame, column: str, spoiled: pl.DataFrame) -> pl.Series:
    """A column without the cells that nobody believes: they are not handed on to others' rows."""
    lines = spoiled.filter(pl.col("column") == column)["_line"]
    cells = frame[column]
    if lines.is_empty():
        return cells
    amiss = frame["_line"].is_in(lines.implode())
    return cells.clone().set(amiss, None) if amiss.any() else cells
