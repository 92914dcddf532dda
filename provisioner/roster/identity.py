"""Who is the same person: the one answer, for reading, absence, the gate, the ledger, commands and events. Pure.

Two keys are one if they differ in nothing but case, Unicode form, outer white space or signs without width. A person
keeps the key as it was first written: a later roster's spelling is brought to it as the roster is read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace

import polars as pl

from provisioner.expressions.evaluation import beyond_ascii
from provisioner.roster.values import Read, clean_name


def fold_key(key: str) -> str:
    """What two keys are compared by."""
    return unicodedata.normalize("NFC", clean_name(key).casefold())


def fold_keys(keys: pl.Series) -> pl.Series:
    """`fold_key` for a whole column."""
    folded = keys.str.strip_chars().str.to_lowercase()
    rows = beyond_ascii(keys).arg_true()
    if not rows.len():
        return folded
    return folded.scatter(rows, pl.Series([fold_key(key) for key in keys.gather(rows)], dtype=pl.String))


class Spelling:
    """How known people's keys are spelt."""

    def __init__(self, known: pl.Series | Iterable[str]) -> None:
        """Take the keys of known people."""
        self._known = known if isinstance(known, pl.Series) else pl.Series(list(known), dtype=pl.String)

    def of(self, key: str) -> str:
        """The known spelling of one key, or the key itself where nobody is known by it."""
        return str(self.column(pl.Series([key], dtype=pl.String))[0])

    def column(self, keys: pl.Series) -> pl.Series:
        """The same for a whole column."""
        unknown = ~keys.is_in(self._known.implode()) & keys.is_not_null()
        if not unknown.any() or not self._known.len():
            return keys
        names = pl.DataFrame({"fold": fold_keys(self._known), "known": self._known}).unique("fold", keep="first")
        rows = unknown.arg_true()
        there = keys.gather(rows)
        found = pl.DataFrame({"fold": fold_keys(there), "key": there}).join(
            names, on="fold", how="left", maintain_order="left"
        )
        # A copy, since to scatter changes the column itself
        return keys.clone().scatter(rows, found.select(pl.coalesce("known", "key")).to_series())


def moved(linked: pl.Series, people: pl.Series, renamed: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Which of a ledger's entries go on under another key, and which cannot since that key has one of its own.

    Args:
        linked: the keys of the ledger.
        people: the keys of the roster.
        renamed: earlier keys and present ones.

    Returns:
        Old key → new key for either; the second only of keys that differ in their spelling.
    """
    strange = linked.filter(~linked.is_in(people.implode()))
    spelt = dict(zip(strange, Spelling(people).column(strange), strict=True)) if strange.len() else {}
    same = {old: new for old, new in spelt.items() if old != new}
    wanted = {**same, **renamed}
    if not wanted:
        return {}, {}
    there = set(linked.filter(linked.is_in([*wanted, *wanted.values()])))
    moving: dict[str, str] = {}
    for old, new in wanted.items():
        if old in there and new not in there and new not in moving.values():
            moving[old] = new
    return moving, {old: new for old, new in same.items() if old not in moving and old in there}


def spelt_as_known(read: Read, spelling: Spelling, column: str) -> Read:
    """The rows with each known person's key as it was first written, in the key's own column too, if it has one.

    Nothing that is mapped from the key so changes with its case: identifiers are set once.
    """
    keys = spelling.column(read.frame["_key"])
    changed = (keys != read.frame["_key"]).fill_null(value=False)
    frame = read.frame
    if changed.any():
        frame = frame.with_columns(keys.alias("_key"))
        if column in frame.columns:
            shown = frame[column].clone().scatter(changed.arg_true(), keys.filter(changed))
            frame = frame.with_columns(shown.alias(column))
    of = {key: spelling.of(key) for key in read.present}
    return replace(
        read,
        frame=frame,
        rejects=tuple(replace(one, key=of[one.key]) if one.key is not None else one for one in read.rejects),
        present=frozenset(of.values()),
    )
