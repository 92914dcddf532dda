"""What a look-up without a hit may not decide: that somebody left. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

#: The column that names, between `SEPARATOR`, the columns whose look-up has no hit in a row; it may be missing.
MISSED: Final = "_missed"
SEPARATOR: Final = "\x1f"


def missed_in(frame: pl.DataFrame, columns: Collection[str]) -> pl.Series | None:
    """In which rows one of the columns comes from a look-up without a hit; None: in none."""
    if MISSED not in frame.columns or not columns:
        return None
    found = frame[MISSED]
    if found.null_count() == found.len():
        return None
    named = [f"{SEPARATOR}{name}{SEPARATOR}" for name in sorted(columns)]
    hits = found.str.contains_any(named).fill_null(value=False)
    return hits if hits.any() else None


def unknown_by_miss(answers: pl.Series, frame: pl.DataFrame, columns: Collection[str]) -> pl.Series:
    """Answers of a predicate, with each no that may come from a look-up without a hit as unknown (null)."""
    missed = missed_in(frame, columns)
    if missed is None:
        return answers
    blind = (missed & ~answers).fill_null(value=False)
    return answers.set(blind, None) if blind.any() else answers
