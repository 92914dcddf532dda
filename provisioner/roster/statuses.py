"""A status that no clean roster held yet: a new word of HR's, or a slip, may make leavers of people who work. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Final

import polars as pl

from provisioner.expressions import compile_expression, evaluate_predicate
from provisioner.roster.pushed_rows import has_left
from provisioner.settings import RosterSettings

#: Different texts up to which a column holds statuses. One with more says something else of each person, such as a day.
_MOST: Final = 50
_SHOWN: Final = 40

Statuses = Mapping[str, Collection[str]]


def statuses_of(rows: pl.DataFrame, settings: RosterSettings) -> dict[str, frozenset[str]]:
    """The texts of each column that `employed` reads, where they are few.

    Args:
        rows: the roster's columns, all text.
    """
    expression = compile_expression(settings.employed, None, where="roster.employed", predicate=True)
    found = {}
    for name in sorted(expression.columns & set(rows.columns)):
        texts = rows[name].drop_nulls().unique()
        if texts.len() <= _MOST:
            found[name] = frozenset(texts)
    return found


def unfamiliar(people: pl.DataFrame, settings: RosterSettings, seen: Statuses, *, today: date) -> dict[str, str]:
    """Leavers who leave only by a text that was not seen before, with column and text.

    Whether it is that text alone, `employed` says itself: without it, it is not FALSE. In a column where no text seen
    so far means that somebody left, the first one that does is none to wonder about.

    Args:
        people: rows with `_key`, `_verdict`, `_ends` and the roster's columns.
        seen: by column the texts of clean rosters; a column that is missing is not looked at.
    """
    otherwise = (pl.col("_ends") < today).fill_null(value=False) | has_left(people, settings)
    left = (pl.col("_verdict") == "leaver") & ~otherwise
    new = {
        name: pl.col(name).is_not_null() & ~pl.col(name).is_in(list(texts))
        for name, texts in seen.items()
        if name in people.columns and _tells_leavers(name, texts, settings, people)
    }
    rows = people.filter(left & pl.any_horizontal(*new.values())) if new else people.clear()
    if not rows.height:
        return {}
    without = rows.with_columns(pl.when(~flag).then(pl.col(name)).alias(name) for name, flag in new.items())
    columns = [name for name in people.columns if not name.startswith("_")]
    expression = compile_expression(settings.employed, columns, where="roster.employed", predicate=True)
    still = evaluate_predicate(expression, without).values.fill_null(value=True)
    flags = rows.select("_key", *(pl.when(flag).then(pl.col(name)).alias(name) for name, flag in new.items()))
    found = {}
    for row in flags.filter(still).iter_rows(named=True):
        found[row["_key"]] = ", ".join(f"{name} {row[name][:_SHOWN]!r}" for name in new if row[name] is not None)
    return found


def _tells_leavers(column: str, texts: Collection[str], settings: RosterSettings, people: pl.DataFrame) -> bool:
    """Whether one of the texts makes somebody a leaver, whatever the other columns say."""
    columns = [name for name in people.columns if not name.startswith("_")]
    expression = compile_expression(settings.employed, columns, where="roster.employed", predicate=True)
    nothing = [pl.lit(None, dtype=pl.String).alias(name) for name in columns if name != column]
    rows = pl.DataFrame({column: list(texts)}, schema={column: pl.String}).with_columns(nothing)
    return bool((~evaluate_predicate(expression, rows).values).any())
