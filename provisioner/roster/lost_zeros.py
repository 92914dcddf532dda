"""Keys that lost their leading zeros, as a spreadsheet takes them: 000124 vanished, and 124 appeared. Pure."""

from __future__ import annotations

import polars as pl

from provisioner.roster.identity import fold_keys


def lost_zeros(gone: pl.Series, new: pl.Series) -> list[tuple[str, str]]:
    """Keys that are gone, each with the one key there now that differs only in leading zeros.

    Args:
        gone: keys of people whose row is missing.
        new: keys of people who were not known before.
    """
    if not gone.len() or not new.len():
        return []
    old = _bare(gone, "old").unique("bare", keep="none")
    pairs = old.join(_bare(new, "new").unique("bare", keep="none"), on="bare")
    return sorted(pairs.filter(pl.col("old") != pl.col("new")).select("old", "new").iter_rows())


def _bare(keys: pl.Series, name: str) -> pl.DataFrame:
    """Keys and what is left without zeros, of those that begin with a digit."""
    frame = pl.DataFrame({name: keys, "bare": fold_keys(keys)})
    frame = frame.filter(pl.col("bare").str.contains("^[0-9]"))
    return frame.with_columns(pl.col("bare").str.strip_chars_start("0")).filter(pl.col("bare") != "")


def has_lost_zeros(old: str, new: str) -> bool:
    """Whether two keys differ in nothing but leading zeros."""
    return old != new and old.lstrip("0") == new.lstrip("0")
