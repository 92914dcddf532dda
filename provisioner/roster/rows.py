"""From one writing of the roster to rows with a key, and every bad row named."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Final

import polars as pl

from provisioner.errors import RosterError
from provisioner.expressions import compile_expression, evaluate_predicate
from provisioner.roster.cells import errors_in, is_error, trimmed, without_error_cells
from provisioner.roster.forms import parse
from provisioner.roster.forms.decoding import UNDECODABLE
from provisioner.roster.forms.table import Table
from provisioner.roster.identity import fold_keys
from provisioner.roster.legibility import legibility_notes
from provisioner.roster.naming import listed, showable
from provisioner.roster.values import Read, Reject, Source, clean_name, clean_names
from provisioner.settings import RosterSettings

#: Longest key, in characters.
MAX_KEY: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PROPER_KEY: Final = rf"^[^\x00-\x1f\x7f{UNDECODABLE}]{{1,{MAX_KEY}}}$"
_MAX_SHOWN: Final = 80
_MARKS: Final = rf"[\x00{UNDECODABLE}]"
#: An address as mail systems take it: one @, a dot in the domain, no space and none of the signs that end an address.
_EMAIL: Final = r"^[^\s@<>(),;:\\\"\[\]]{1,64}@[^\s@<>(),;:\\\"\[\]_]+\.[^\s@<>(),;:\\\"\[\]_.]{2,}$"
_MAX_EMAIL: Final = 254


def read(source: Source, settings: RosterSettings, *, needs: Collection[str], emails: Collection[str] = ()) -> Read:
    """Rows of the roster as text; see `Read`.

    `needs` are the columns that the mapping reads, beside those of the roster's own settings; `emails` those in which
    every value has to look like an email address.

    Raises:
        RosterError: the file cannot be read as a roster, or columns are missing.
        ConfigurationError: the encoding, the sheet, or an expression of the settings is wrong.
    """
    table = parse(source, settings, needed_columns(settings) | set(needs))
    _check_columns(table, source.name, settings, needs)
    if settings.trim:
        table = trimmed(table, emails)
    notes = (*table.notes, *legibility_notes(table, source.name))
    table, errors = without_error_cells(table, settings.key)
    rejects = [Reject(bad.line, _readable(bad.key_cell), None, None, bad.reason) for bad in table.bad]
    frame = table.frame.with_columns(clean_names(table.frame[settings.key]).alias("_key"))
    frame = _without_excluded(frame, table.columns, settings, rejects)
    frame, faulty = _without_faulty_keys(frame, settings.key)
    rejects += faulty
    frame, doubled = _without_doubled_keys(frame, settings.key, rejects)
    rejects += doubled
    rejects.sort(key=lambda one: one.line)
    return Read(
        frame=frame,
        rejects=tuple(rejects),
        columns=table.columns,
        rows=table.frame.height + len(table.bad),
        unreadable_keys=any(one.key is None for one in rejects),
        present=frozenset(one.key for one in rejects if one.key is not None),
        doubts=pl.concat([_doubts(frame, table, settings.key, emails), errors]),
        notes=notes,
        encoding=table.encoding,
    )


def needed_columns(settings: RosterSettings) -> frozenset[str]:
    """The columns that the roster's own settings read."""
    named = {settings.key, settings.previous_key, settings.starts, settings.ends, *settings.same_person} - {None}
    employed = compile_expression(settings.employed, None, where="roster.employed", predicate=True)
    exclude = compile_expression(settings.exclude, None, where="roster.exclude", predicate=True)
    return frozenset(name for name in named if name) | employed.columns | exclude.columns


def _check_columns(table: Table, name: str, settings: RosterSettings, needs: Collection[str]) -> None:
    missing = sorted((needed_columns(settings) | set(needs)).difference(table.columns))
    if not missing:
        return
    names = showable(table.columns, rows=table.frame.height, bad=len(table.bad))
    by_lower = {column.lower(): column for column in reversed(names)}
    told = []
    for one in missing:
        near = get_close_matches(one.strip().lower(), by_lower, n=1, cutoff=0.55)
        told.append(f"{one!r} (did you mean {by_lower[near[0]]!r}?)" if near else repr(one))
    message = f"{name}: {'columns are' if len(missing) > 1 else 'a column is'} missing: {', '.join(told)}."
    if names:
        raise RosterError(message, remedy=f"The file has: {listed(names, len(table.columns))}.")
    size = f"{len(table.columns)} column{'s' if len(table.columns) > 1 else ''} and {table.frame.height} rows"
    if any(settings.key in column for column in table.columns):
        hint = f"Its first line names {settings.key!r}, but nothing known parts the columns: export it with commas."
    else:
        hint = "Look whether it is the right file."
    raise RosterError(message, remedy=f"It does not look like a table ({size}), so its first line is not shown. {hint}")


def _readable(cell: str | None) -> str | None:
    key = clean_name(cell or "")
    return key if key and _fault_of_key(key) is None else None


def _fault_of_key(key: str) -> str | None:
    if UNDECODABLE in key:
        return "bytes of it cannot be decoded"
    if is_error(key):
        return "it is an error of the spreadsheet"
    if _CONTROL.search(key):
        return "it holds a control character"
    return f"it is longer than {MAX_KEY} characters" if len(key) > MAX_KEY else None


def _without_excluded(
    frame: pl.DataFrame, columns: Sequence[str], settings: RosterSettings, rejected: Sequence[Reject]
) -> pl.DataFrame:
    """The rows without those that `exclude` names and that would only spoil others'.

    An excluded row without a readable key is nobody, and one beside another row of its key, such as an employment that
    ended, contests nothing. Of several that are all excluded the first stays.
    """
    if settings.exclude.strip().upper() == "FALSE":
        return frame
    fold = fold_keys(frame["_key"])
    out = fold_keys(pl.Series([one.key for one in rejected if one.key is not None], dtype=pl.String))
    faulty = ~frame["_key"].str.contains(_PROPER_KEY).fill_null(value=False)
    asked = faulty | fold.is_duplicated() | fold.is_in(out.implode()).fill_null(value=False)
    if not asked.any():
        return frame
    rows = asked.arg_true()
    exclude = compile_expression(settings.exclude, columns, where="roster.exclude", predicate=True)
    yes = evaluate_predicate(exclude, frame.select(pl.all().gather(rows))).values.fill_null(value=False)
    excluded = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True).scatter(rows, yes)
    kept = ~excluded
    alone = excluded & ~faulty & ~fold.is_in(pl.concat([fold.filter(kept), out]).implode()).fill_null(value=False)
    return frame.filter(kept | (alone & fold.is_first_distinct()))


def _without_faulty_keys(frame: pl.DataFrame, column: str) -> tuple[pl.DataFrame, list[Reject]]:
    faulty = ~frame["_key"].str.contains(_PROPER_KEY).fill_null(False) | errors_in(frame["_key"])
    if not faulty.any():
        return frame, []
    rejects = [
        Reject(line, None, column, None, "the key is empty" if key_ is None else _fault_of_key(key_) or "unreadable")
        for line, key_ in frame.filter(faulty).select("_line", "_key").iter_rows()
    ]
    return frame.filter(~faulty), rejects


def _without_doubled_keys(
    frame: pl.DataFrame, column: str, rejected: Sequence[Reject]
) -> tuple[pl.DataFrame, list[Reject]]:
    """Rows whose keys differ in nothing but case are of one person, and nobody can tell which row is true.

    `rejected` are the rows that are out already; their keys are taken all the same.
    """
    keyed = [(one.line, one.key) for one in rejected if one.key is not None]
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
        elsewhere = [str(other) for other in sorted(others) if other != line]
        more = f" and {len(elsewhere) - 5} more" if len(elsewhere) > 5 else ""
        reason = f"the key stands in line {', '.join(elsewhere[:5])}{more} too"
        rejects.append(Reject(line, key, column, key[:_MAX_SHOWN], reason))
    return frame.filter(~doubled.head(frame.height)), rejects


def _doubts(frame: pl.DataFrame, table: Table, key: str, emails: Collection[str]) -> pl.DataFrame:
    """Cells that cannot be right: undecodable bytes, NUL, and what should be an email address and is not."""
    tests: list[tuple[str, str, pl.Expr]] = []
    for name in table.columns:
        if name == key:
            continue
        column = pl.col(name)
        if table.marked:
            tests.append((name, "bytes of it cannot be decoded", column.str.contains(UNDECODABLE, literal=True)))
            tests.append((name, "it holds a NUL character", column.str.contains("\0", literal=True)))
        if name in emails:
            plain = column.str.strip_chars()
            improper = ~(plain.str.contains(_EMAIL) & (plain.str.len_chars() <= _MAX_EMAIL))
            if table.marked:
                improper &= ~plain.str.contains(_MARKS)
            tests.append((name, "it is no email address", improper))
    found = [pl.DataFrame(schema={"_line": pl.Int64, "column": pl.String, "reason": pl.String})]
    if tests:
        hits = frame.select(test.any().alias(f"{index}") for index, (_, _, test) in enumerate(tests)).row(0)
        for (name, reason, test), hit in zip(tests, hits, strict=True):
            if hit:
                lines = frame.filter(test)["_line"]
                found.append(pl.DataFrame({"_line": lines, "column": name, "reason": reason}, schema=found[0].schema))
    return pl.concat(found)
