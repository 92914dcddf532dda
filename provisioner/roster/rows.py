"""From one writing of the roster to rows with a key, and every bad row named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.errors import RosterError
from provisioner.expressions import Expression, compile_expression, evaluate_predicate, evaluate_text
from provisioner.expressions.moments import UTC_ZONE
from provisioner.model.wording import counted
from provisioner.roster.addresses import complaint, improper
from provisioner.roster.cells import NULL_NAME, trimmed, without_words
from provisioner.roster.columns_read import file_columns, wanted_by
from provisioner.roster.derived import Derivation, Plan, plan_columns
from provisioner.roster.forms import parse
from provisioner.roster.forms.decoding import UNDECODABLE
from provisioner.roster.forms.table import Table
from provisioner.roster.identity import fold_keys
from provisioner.roster.keys import (
    MAX_KEY,
    faulty,
    of_two_people,
    readable,
    without_doubled_keys,
    without_faulty_keys,
)
from provisioner.roster.legibility import legibility_notes
from provisioner.roster.lookups import tables_of
from provisioner.roster.naming import listed, showable
from provisioner.roster.picking import order_of, pick
from provisioner.roster.renaming import renamed
from provisioner.roster.values import Note, Read, Reject, Source, TableFacts, clean_names
from provisioner.settings import RosterSettings

__all__ = ["MAX_KEY", "read"]
_MARKS: Final = rf"[\x00{UNDECODABLE}]"
_DOUBTS: Final = pl.Schema({"_line": pl.Int64, "column": pl.String, "reason": pl.String})
_MOST_LINES: Final = 5


def read(
    source: Source,
    settings: RosterSettings,
    *,
    needs: Collection[str],
    emails: Collection[str] = (),
    names: Collection[str] = (),
    tables: Mapping[str, Source] | None = None,
    zone: ZoneInfo = UTC_ZONE,
) -> Read:
    """Rows of the roster as text; see `Read`.

    Cells are cleaned, columns computed, other tables looked up, and one row is picked for each person, in this order.

    Args:
        needs: the columns that the mapping reads, besides those of the roster's own settings.
        emails: those in which every value has to look like an email address.
        names: those that hold people's names, in which Null is a name, see `without_words`.
        tables: the files of `roster.lookups`, by look-up.
        zone: the organisation's, of days in computed columns.

    Raises:
        RosterError: a file cannot be read as a table, or columns are missing.
        ConfigurationError: the encoding, the sheet, or an expression of the settings is wrong.
    """
    looked = tables_of(settings, tables or {})
    table = renamed(parse(source, settings, file_columns(settings, needs)), settings, source.name)
    plan = plan_columns(settings, table.columns, looked, wanted_by(settings) | set(needs), zone)
    _check_columns(table, source.name, settings, plan.needs)
    if settings.trim:
        table = trimmed(table, emails)
    notes = (*table.notes, *legibility_notes(table, source.name))
    table, errors = _cleaned(table, settings, plan, names)
    notes = (*notes, *_named_null(table, settings, names))
    table, skipped = _without_skipped(table, settings)
    rejects = [Reject(bad.line, readable(bad.key_cell), None, None, bad.reason) for bad in table.bad]
    work = Derivation(plan, emails, [errors])
    frame = work.with_columns(table.frame, plan.early, errors)
    keyed, reasons = _keys(frame, plan, work)
    frame = frame.with_columns(keyed.alias("_key"))
    frame = _without_excluded(frame, settings, rejects)
    frame, unreadable = without_faulty_keys(frame, _shown_key(settings, frame), reasons)
    rejects += unreadable
    fold = fold_keys(frame["_key"])
    # As many hashes as keys prove that no key is doubled
    apart = fold.hash().n_unique() == fold.len()
    frame, undecided, passed_over = (frame, {}, 0) if apart else _picked(frame, fold, settings, plan, zone)
    frame, doubled = without_doubled_keys(frame, _shown_key(settings, frame), rejects, undecided, apart=apart)
    rejects += doubled
    rejects.sort(key=lambda one: one.line)
    own = [name for name in (*table.columns, *plan.early) if name not in plan.key_columns or name != settings.key]
    work.doubts.append(_doubts(frame, own, emails, marked=table.marked))
    if plan.late:
        frame = work.with_columns(frame, plan.late, pl.concat(work.doubts))
        work.doubts.append(_doubts(frame, plan.late, emails, marked=table.marked))
    return Read(
        frame=work.missed(frame),
        rejects=tuple(rejects),
        columns=(*table.columns, *plan.columns),
        rows=table.frame.height + len(table.bad) + len(skipped),
        unreadable_keys=any(one.key is None for one in rejects),
        present=frozenset(one.key for one in rejects if one.key is not None),
        doubts=pl.concat(work.doubts),
        notes=(*notes, *_skipped_note(skipped), *_picked_note(passed_over), *work.notes()),
        encoding=table.encoding,
        tables={name: TableFacts(one.rows, one.digest) for name, one in looked.items() if one.digest is not None},
    )


def _shown_key(settings: RosterSettings, frame: pl.DataFrame) -> str:
    return settings.key if settings.key in frame.columns else "roster.key"


def _cleaned(table: Table, settings: RosterSettings, plan: Plan, names: Collection[str]) -> tuple[Table, pl.DataFrame]:
    """Cells without what spreadsheets and databases leave in them; besides them the errors that are no values."""
    keys = set(plan.key_columns).union(*(one.columns for one in plan.by.values()))
    key = settings.key if settings.key in table.columns else None
    sure = "nulls" in settings.model_fields_set
    return without_words(table, settings.nulls, key, keys, marks=settings.trim, sure=sure, names=names)


def _named_null(table: Table, settings: RosterSettings, names: Collection[str]) -> list[Note]:
    """What is said of people who are called Null."""
    if "nulls" in settings.model_fields_set:
        return []
    columns = [name for name in table.columns if name in names]
    counts = table.frame.select((pl.col(name) == NULL_NAME).sum() for name in columns).row(0) if columns else ()
    return [
        Note(
            f"{count} cells of {name} read {NULL_NAME}, and are taken for names. Where they mean nothing, set "
            f'`roster.nulls: ["NULL", "N/A", "#N/A"]`.'
        )
        for name, count in zip(columns, counts, strict=True)
        if count
    ]


def _without_skipped(table: Table, settings: RosterSettings) -> tuple[Table, pl.Series]:
    """The table without the rows that are no people, and their lines."""
    nobody = pl.Series("_line", [], dtype=pl.Int64)
    if settings.skip.strip().upper() == "FALSE":
        return table, nobody
    expression = compile_expression(settings.skip, table.columns, where="roster.skip", predicate=True)
    out = evaluate_predicate(expression, table.frame).values.fill_null(value=False)
    short = _skipped_short_rows(table, expression)
    if not out.any() and not short:
        return table, nobody
    bad = [one for one in table.bad if one.line not in short]
    lines = pl.concat([table.frame["_line"].filter(out), pl.Series("_line", sorted(short), dtype=pl.Int64)])
    return replace(table, frame=table.frame.filter(~out), bad=bad), lines.sort()


def _skipped_short_rows(table: Table, skip: Expression) -> set[int]:
    """The lines of rows which end too early and are no people by the cells that they have.

    A row without a cell that `skip` reads may be somebody's, and stays a bad one.
    """
    read = [place for place, name in enumerate(table.columns) if name in skip.columns]
    asked = [one for one in table.bad if read and len(one.cells) > max(read)]
    if not asked:
        return set()
    rows = [[one.cells[place] for place in read] for one in asked]
    schema = {table.columns[place]: pl.String for place in read}
    frame = pl.DataFrame(rows, schema=schema, orient="row").select(
        pl.when((cell := pl.col(name).str.strip_chars()) != "").then(cell).alias(name) for name in schema
    )
    out = evaluate_predicate(skip, frame).values.fill_null(value=False)
    return {one.line for one, yes in zip(asked, out, strict=True) if yes}


def _keys(frame: pl.DataFrame, plan: Plan, work: Derivation) -> tuple[pl.Series, dict[int, str]]:
    """The key of each row, and by line why one that looks right is none."""
    key = plan.key
    reasons: dict[int, str] = {}
    if key.text in frame.columns:
        keys = frame[key.text]
    else:
        result = evaluate_text(key, frame)
        keys = result.values.cast(pl.String)
        reasons = {int(frame["_line"][row]): why for row, why in result.reasons.items()}
    if plan.key_columns != {key.text}:
        # A cell that nobody believes may not be part of a key
        spoiled = pl.concat(work.doubts).filter(pl.col("column").is_in(list(plan.key_columns)))
        for line, column, reason in spoiled.iter_rows():
            reasons.setdefault(line, f"{column}: {reason}")
    return clean_names(keys), reasons


def _picked(
    frame: pl.DataFrame, fold: pl.Series, settings: RosterSettings, plan: Plan, zone: ZoneInfo
) -> tuple[pl.DataFrame, dict[int, str], int]:
    """Keep of each person the row that `pick` puts first.

    Args:
        fold: the folded key of each row.

    Returns:
        The frame; by line, why none of a person's rows was picked; and how many rows were left out.
    """
    expression = plan.key.text not in frame.columns or plan.key.text in plan.computed
    apart = of_two_people(frame, fold, plan.key_columns) if expression else {}
    if settings.pick is None:
        return frame, apart, 0
    columns = [name for name in frame.columns if not name.startswith("_")]
    picked = pick(frame, fold, order_of(settings.pick, columns, zone), columns)
    # Rows that may be of several people stay, and contest their key
    kept = picked.kept | frame["_line"].is_in(list(apart))
    return frame.filter(kept), {**picked.undecided, **apart}, int((~kept).sum())


def _skipped_note(lines: pl.Series) -> list[Note]:
    if not lines.len():
        return []
    rows = counted(lines.len(), "row is no person", "rows are no people")
    return [Note(f"{rows} by roster.skip (line {_lines(lines)}).")]


def _picked_note(count: int) -> list[Note]:
    rows = counted(count, "row is a further row", "rows are further rows")
    return [Note(f"{rows} of people, by roster.pick.")] if count else []


def _lines(lines: pl.Series) -> str:
    more = f" and {lines.len() - _MOST_LINES} more" if lines.len() > _MOST_LINES else ""
    return ", ".join(map(str, lines.head(_MOST_LINES).to_list())) + more


def _check_columns(table: Table, name: str, settings: RosterSettings, missing: Collection[str]) -> None:
    if not missing:
        return
    missing = sorted(missing)
    names = showable(table.columns, rows=table.frame.height, bad=len(table.bad))
    by_lower = {column.lower(): column for column in reversed(names)}
    hints = []
    for one in missing:
        near = get_close_matches(one.strip().lower(), by_lower, n=1, cutoff=0.55)
        hints.append(f"{one!r} (did you mean {by_lower[near[0]]!r}?)" if near else repr(one))
    message = f"{name}: {'columns are' if len(missing) > 1 else 'a column is'} missing: {', '.join(hints)}."
    if names:
        raise RosterError(message, remedy=f"The file has: {listed(names, len(table.columns))}.")
    size = f"{len(table.columns)} column{'s' if len(table.columns) > 1 else ''} and {table.frame.height} rows"
    if any(settings.file_key in column for column in table.columns):
        hint = (
            f"Its first line names {settings.file_key!r}, but nothing known parts the columns: export it with commas."
        )
    else:
        hint = "Look whether it is the right file."
    raise RosterError(message, remedy=f"It does not look like a table ({size}), so its first line is not shown. {hint}")


def _without_excluded(frame: pl.DataFrame, settings: RosterSettings, rejected: Sequence[Reject]) -> pl.DataFrame:
    """The rows without those that `exclude` names and that would only spoil others'.

    An excluded row without a readable key is nobody, and one next to another row of its key, such as an employment that
    ended, contests nothing. Of several that are all excluded the first stays.
    """
    if settings.exclude.strip().upper() == "FALSE":
        return frame
    fold = fold_keys(frame["_key"])
    out = fold_keys(pl.Series([one.key for one in rejected if one.key is not None], dtype=pl.String))
    amiss = faulty(frame["_key"])
    asked = amiss | fold.is_duplicated() | fold.is_in(out.implode()).fill_null(value=False)
    if not asked.any():
        return frame
    rows = asked.arg_true()
    exclude = compile_expression(settings.exclude, None, where="roster.exclude", predicate=True)
    if exclude.columns.difference(frame.columns):
        # It reads a look-up in the roster itself, which waits until one row is left for each person
        return frame
    yes = evaluate_predicate(exclude, frame.select(pl.all().gather(rows))).values.fill_null(value=False)
    excluded = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True).scatter(rows, yes)
    kept = ~excluded
    alone = excluded & ~amiss & ~fold.is_in(pl.concat([fold.filter(kept), out]).implode()).fill_null(value=False)
    return frame.filter(kept | (alone & fold.is_first_distinct()))


def _doubts(frame: pl.DataFrame, columns: Sequence[str], emails: Collection[str], *, marked: bool) -> pl.DataFrame:
    """Cells that cannot be right: undecodable bytes, NUL, and what should be an email address and is not.

    A looked-up address that is none is no fault of this row, and is null already.
    """
    tests: list[tuple[str, str | None, pl.Expr]] = []
    for name in columns:
        column = pl.col(name)
        if marked:
            tests.append((name, "bytes of it cannot be decoded", column.str.contains(UNDECODABLE, literal=True)))
            tests.append((name, "it holds a NUL character", column.str.contains("\0", literal=True)))
        if name in emails:
            amiss = improper(column)
            if marked:
                amiss &= ~column.str.contains(_MARKS)
            tests.append((name, None, amiss))
    found = [pl.DataFrame(schema=_DOUBTS)]
    if tests:
        hits = frame.select(test.any().alias(f"{index}") for index, (_, _, test) in enumerate(tests)).row(0)
        for (name, reason, test), hit in zip(tests, hits, strict=True):
            if hit:
                rows = frame.filter(test)
                reasons = [complaint(cell) for cell in rows[name].to_list()] if reason is None else reason
                found.append(pl.DataFrame({"_line": rows["_line"], "column": name, "reason": reasons}, schema=_DOUBTS))
    return pl.concat(found)
