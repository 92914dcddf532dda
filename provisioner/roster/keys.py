"""The key of each row: what is none, what a spreadsheet broke, and what several rows have. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import polars as pl

from provisioner.roster.cells import errors_in, is_error
from provisioner.roster.forms.decoding import UNDECODABLE
from provisioner.roster.identity import fold_keys
from provisioner.roster.values import Reject, clean_name

#: Longest key, in characters.
MAX_KEY: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
PROPER_KEY: Final = rf"^[^\x00-\x1f\x7f{UNDECODABLE}]{{1,{MAX_KEY}}}$"
_MAX_SHOWN: Final = 80
#: What spreadsheets make of a number: digits rounded away, a fraction, marks of thousands, a column too narrow.
_BROKEN: Final = (
    (
        r"(?:^|[^0-9A-Za-z.,])[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+$",
        "it was rounded by a spreadsheet, so its digits are lost",
    ),
    (r"^[0-9]+[.,]0+$", "it was taken for a number by a spreadsheet, and may have lost leading zeros"),
    (r"^[0-9]{1,3}(?:,[0-9]{3})+$", "it has marks of thousands that a spreadsheet put there"),
    (r"^#+$", "it is what a spreadsheet shows in a column that is too narrow"),
)
_ANY_BROKEN: Final = "|".join(f"(?:{pattern})" for pattern, _ in _BROKEN)
_SUSPECT: Final = r"[+,#]|\.0"
_AS_TEXT: Final = "export the key as text"


def readable(cell: str | None) -> str | None:
    """The key in a row's raw cell, None if it is none."""
    key = clean_name(cell or "")
    return key if key and fault_of_key(key) is None else None


def fault_of_key(key: str) -> str | None:
    """What is wrong with a key, None if nothing is."""
    if UNDECODABLE in key:
        return "bytes of it cannot be decoded"
    if is_error(key):
        return "it is an error of the spreadsheet"
    if _CONTROL.search(key):
        return "it holds a control character"
    if len(key) > MAX_KEY:
        return f"it is longer than {MAX_KEY} characters"
    for pattern, reason in _BROKEN:
        if re.search(pattern, key):
            return f"{reason}; {_AS_TEXT}"
    return None


def faulty(keys: pl.Series) -> pl.Series:
    """Which keys are none."""
    amiss = ~keys.str.contains(PROPER_KEY).fill_null(value=False)
    # What a spreadsheet leaves has one of these signs, which few keys have
    rows = keys.str.contains(_SUSPECT).fill_null(value=False).arg_true()
    if rows.is_empty():
        return amiss
    some = keys.gather(rows)
    return amiss.scatter(rows.filter(errors_in(some) | some.str.contains(_ANY_BROKEN)), True)


def without_faulty_keys(
    frame: pl.DataFrame, column: str, reasons: Mapping[int, str]
) -> tuple[pl.DataFrame, list[Reject]]:
    """The rows whose key can be read, and the others.

    Args:
        column: the key's column, or setting.
        reasons: by line, why a key that looks right is none.
    """
    amiss = faulty(frame["_key"])
    if reasons:
        amiss |= frame["_line"].is_in(list(reasons))
    if not amiss.any():
        return frame, []
    rejects = []
    for line, key in frame.filter(amiss).select("_line", "_key").iter_rows():
        reason = reasons.get(line) or ("the key is empty" if key is None else fault_of_key(key) or "unreadable")
        shown = key[:_MAX_SHOWN] if key is not None and _AS_TEXT in reason else None
        rejects.append(Reject(line, None, column, shown, reason))
    return frame.filter(~amiss), rejects


def without_doubled_keys(
    frame: pl.DataFrame, column: str, rejected: Sequence[Reject], undecided: Mapping[int, str], *, apart: bool
) -> tuple[pl.DataFrame, list[Reject]]:
    """Rows whose keys differ in nothing but case are of one person, and nobody can tell which row is true.

    Args:
        rejected: the rows that are out already; their keys are taken all the same.
        undecided: by line, why none of these rows was picked.
        apart: whether the keys of the frame are known to be all different.
    """
    keyed = [(one.line, one.key) for one in rejected if one.key is not None]
    if apart and not keyed:
        return frame, []
    beside = pl.DataFrame(keyed, schema={"_line": pl.Int64, "_key": pl.String}, orient="row")
    every = pl.concat([frame.select("_line", "_key"), beside])
    fold = fold_keys(every["_key"]).alias("fold")
    # As many hashes as keys prove that no key is doubled, and are counted in a third of the time
    if fold.hash().n_unique() == fold.len():
        return frame, []
    doubled = fold.is_duplicated()
    every = every.with_columns(fold)
    rows = every.filter(doubled)
    lines = rows.group_by("fold").agg(pl.col("_line"))
    out = every.slice(0, frame.height).filter(doubled.head(frame.height))
    rejects = []
    for line, key, others in out.join(lines, on="fold").select("_line", "_key", "_line_right").iter_rows():
        reason = f"the key is in line {_listed([other for other in others if other != line])} too"
        if line in undecided:
            reason += f"; {undecided[line]}"
        rejects.append(Reject(line, key, column, key[:_MAX_SHOWN], reason))
    return frame.filter(~doubled.head(frame.height)), rejects


def _listed(lines: Collection[int]) -> str:
    found = [str(line) for line in sorted(lines)]
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def of_two_people(frame: pl.DataFrame, fold: pl.Series, columns: Collection[str]) -> dict[int, str]:
    """By line, of rows that an expression gives one key, those whose own cells say that they are of several people.

    Args:
        fold: by row the key as keys are compared.
        columns: those from which the key comes.
    """
    rows = fold.is_duplicated().arg_true()
    names = sorted(set(columns) & set(frame.columns))
    if rows.is_empty() or not names:
        return {}
    some = frame.select(pl.all().gather(rows))
    cells = [fold_keys(some[name]).str.strip_chars_start("0").fill_null("").alias(name) for name in names]
    told = pl.DataFrame([some["_line"], fold.gather(rows).alias("fold"), *cells])
    told = told.with_columns(pl.concat_str(names, separator="\x1f").alias("cells"))
    different = told.filter(pl.col("cells").n_unique().over("fold") > 1)
    reason = f"the expression gives one key to rows that differ in {', '.join(names)}, so they may be of several people"
    return dict.fromkeys(different["_line"].to_list(), reason)
