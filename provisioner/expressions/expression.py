"""From a setting's text to an expression that is known to be harmless."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.errors import ConfigurationError
from provisioner.expressions.moments import UTC_ZONE, days_of
from provisioner.expressions.naming import suspect
from provisioner.expressions.rewriting import ASCII, DAYS, with_ascii_columns, with_explicit_dates
from provisioner.expressions.tokens import WordingError, check_words, tokenise
from provisioner.expressions.transliteration import transliterated
from provisioner.expressions.tree import TreeError, check_tree

#: Longest expression, in characters.
MAX_LENGTH: Final = 20_000
_MAX_SHOWN: Final = 200
_MAX_COLUMNS_SHOWN: Final = 40

FAILURES: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)

_SCALARS: Final = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Decimal, pl.Null)
# Two rows of each sort of value; an expression that reads a date fails on the others, which says nothing about it
_SAMPLES: Final = (("alpha", "Beta Gamma"), ("2024-01-31", "2023-06-05"), ("12", "7"), ("a@example.com", "true"))


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that passed every check.

    `text` as the settings have it; `columns` those that it reads; `constant` if it reads none; `where` the setting's
    path, for messages; `days` the columns that it reads as days, which are those of `zone`; `ascii` the expressions
    whose text it reads transliterated.
    """

    text: str
    columns: frozenset[str]
    constant: bool
    where: str = ""
    days: frozenset[str] = frozenset()
    zone: ZoneInfo = UTC_ZONE
    ascii: tuple[Expression, ...] = ()


def with_helpers(expressions: Iterable[Expression], frame: pl.DataFrame) -> pl.DataFrame:
    """A frame with what some expressions read besides the roster's columns: days, and transliterated text.

    Raises:
        FAILURES: a transliterated expression cannot be worked out for some row.
    """
    asked = list(expressions)
    wanted = {name: one.zone for one in asked for name in one.days}
    added = [days_of(frame[name], zone).alias(f"{name}{DAYS}") for name, zone in wanted.items()]
    for inner in {one.text: one for outer in asked for one in outer.ascii}.values():
        values = with_helpers([inner], frame).select(parsed(inner.text).cast(pl.String).alias("text")).to_series()
        whole = values if values.len() == frame.height else values.new_from_index(0, frame.height)
        added.append(transliterated(whole).alias(f"{inner.text}{ASCII}"))
    return frame.with_columns(added)


@lru_cache(maxsize=4096)
def parsed(text: str) -> pl.Expr:
    """polars' form of an expression's text, with its words and its tree checked.

    Raises:
        WordingError, TreeError: it holds what it may not.
        pl.exceptions.PolarsError: it is no SQL.
    """
    if not text.strip():
        raise WordingError("it is empty; write NULL for no value")
    if len(text) > MAX_LENGTH:
        raise WordingError(f"it is {len(text)} characters long; at most {MAX_LENGTH} are read")
    if "\0" in text:
        raise WordingError("it holds a NUL character")
    tokens = tokenise(text)
    check_words(tokens)
    plain = with_ascii_columns(text)
    tokens = tokenise(plain)
    expression = pl.sql_expr(with_explicit_dates(plain, tokens))
    check_tree(expression)
    roots = frozenset(name for name in expression.meta.root_names() if not name.endswith(ASCII))
    return pl.sql_expr(with_explicit_dates(plain, tokens, roots))


def _sources(root: str) -> frozenset[str]:
    """The roster's columns behind one that polars reads."""
    if root.endswith(ASCII):
        inner = parsed(root.removesuffix(ASCII)).meta.root_names()
        return frozenset().union(*(_sources(name) for name in inner))
    return frozenset({root.removesuffix(DAYS)})


def compile_expression(
    text: str, columns: Collection[str] | None, *, where: str, predicate: bool = False, zone: ZoneInfo = UTC_ZONE
) -> Expression:
    """Check an expression and find the columns that it reads.

    `columns` are the known ones (None: any name will do); `where` is the setting's path; `predicate` demands an
    answer of yes or no: a boolean, NULL, or a column that holds the texts true and false. ``DATE(x)`` of a moment is
    its day in `zone`.

    Raises:
        ConfigurationError: names the setting, the expression, what is wrong, and the nearest known column.
    """
    try:
        expression = parsed(text)
        inner = frozenset(expression.meta.root_names())
        sources = frozenset[str]().union(*(_sources(name) for name in inner))
    except (WordingError, TreeError) as exc:
        raise _wrong(where, text, str(exc), _in_quotes(text, columns)) from None
    except FAILURES as exc:
        found = _in_quotes(text, columns)
        complaint = "it is no SQL expression" if found else f"it is no SQL expression: {_first_line(exc)}"
        raise _wrong(where, text, complaint, found) from None
    if columns is not None:
        _check_columns(sources, columns, where, text)
    return _checked(text, inner, where, zone, predicate=predicate)


@lru_cache(maxsize=4096)
def _checked(text: str, inner: frozenset[str], where: str, zone: ZoneInfo, *, predicate: bool) -> Expression:
    """The checks that know nothing of a roster: every run asks for the same ones."""
    expression = parsed(text)
    texts = sorted(name.removesuffix(ASCII) for name in inner if name.endswith(ASCII))
    ascii_ = tuple(
        _checked(one, frozenset(parsed(one).meta.root_names()), where, zone, predicate=False) for one in texts
    )
    dtype = _check_types(expression, sorted(inner), where, text)
    if predicate and not _is_truth(expression, dtype, constant=not inner):
        raise _wrong(where, text, "it is neither true nor false; compare it with something, such as status = 'active'")
    _check_rows_alone(expression, sorted(inner), where, text)
    days = frozenset(name.removesuffix(DAYS) for name in inner if name.endswith(DAYS))
    columns = frozenset[str]().union(*(_sources(name) for name in inner))
    return Expression(text, columns, constant=not columns, where=where, days=days, zone=zone, ascii=ascii_)


def _is_truth(expression: pl.Expr, dtype: pl.DataType, *, constant: bool) -> bool:
    if dtype in (pl.Boolean, pl.Null):
        return True
    if dtype != pl.String:
        return False
    if constant:
        return str(pl.select(expression).item()).strip().lower() in {"true", "false"}
    return expression.meta.is_column()


def _wrong(where: str, text: str, complaint: str, remedy: str | None = None) -> ConfigurationError:
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return ConfigurationError(f"{where}: {shown!r}: {complaint.rstrip('.')}.", remedy=remedy)


def _in_quotes(text: str, columns: Collection[str] | None) -> str | None:
    taken = suspect(text, columns)
    return None if taken is None else f"If {taken.name} is a column, put its name in double quotes: {taken.mended}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _last_line(error: BaseException) -> str:
    """What is wrong with a pattern; polars quotes the pattern itself before it."""
    lines = [line for line in str(error).splitlines() if line.startswith("error:")]
    return lines[0].removeprefix("error:").strip() if lines else _first_line(error)


def _check_columns(roots: frozenset[str], columns: Collection[str], where: str, text: str) -> None:
    unknown = sorted(roots.difference(columns))
    if not unknown:
        return
    known = sorted(columns)
    shown = ", ".join(known[:_MAX_COLUMNS_SHOWN]) + (
        f" and {len(known) - _MAX_COLUMNS_SHOWN} more" if len(known) > _MAX_COLUMNS_SHOWN else ""
    )
    taken = suspect(text, columns)
    if taken is not None:
        complaint = f"{taken.column!r} is a column, but without quotes SQL reads {taken.name} otherwise"
        raise _wrong(where, text, complaint, f"Put its name in double quotes: {taken.mended}")
    complaint = "; ".join(f"there is no column {name!r}{_nearest(name, known)}" for name in unknown[:10])
    raise _wrong(where, text, complaint, f"The columns are: {shown or 'none'}.")


def _nearest(name: str, known: Sequence[str]) -> str:
    def folded(one: str) -> str:
        return re.sub(r"[\s_-]+", "", one).lower()

    for column in known:
        if column.strip().lower() == name.strip().lower():
            return f" (there is {column!r}, which differs only in case or space around it)"
    for column in known:
        if folded(column) == folded(name):
            return f" (did you mean {column!r}?)"
    by_lower = {column.lower(): column for column in reversed(known)}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.55)
    return f" (did you mean {by_lower[found[0]]!r}?)" if found else ""


def _check_types(expression: pl.Expr, roots: Sequence[str], where: str, text: str) -> pl.DataType:
    """Evaluate rows without any value: what fails there fails because of types, never because of data."""
    try:
        result = _values(expression, {name: [None, None] for name in roots})
    except FAILURES as exc:
        if "regex" in str(exc):
            raise _wrong(where, text, f"its pattern cannot be read: {_last_line(exc)}") from None
        taken = suspect(text, None)
        if taken is not None:
            complaint = f"SQL reads {taken.name} as a calculation, and columns are text"
            raise _wrong(where, text, complaint, _in_quotes(text, None)) from None
        raise _wrong(
            where,
            text,
            f"its types do not fit: {_first_line(exc)}",
            "Every column is text: compare it with text in single quotes, or first write TRY_CAST(column AS INTEGER), "
            "DATE(column) or column = 'true'; compare a date with DATE('2024-01-31').",
        ) from None
    if not isinstance(result.dtype, _SCALARS) and not result.dtype.is_numeric():
        raise _wrong(where, text, f"it gives a {result.dtype}, which is no single value")
    return result.dtype


def _check_rows_alone(expression: pl.Expr, roots: Sequence[str], where: str, text: str) -> None:
    """Check that each of two rows gives the same value alone as together."""
    for first, second in _SAMPLES:
        try:
            together = _values(expression, {name: [first, second] for name in roots})
            alone = [_values(expression, {name: [value] for name in roots}) for value in (first, second)]
        except FAILURES as exc:
            if "regex" in str(exc):
                raise _wrong(where, text, f"its pattern cannot be read: {_last_line(exc)}") from None
            continue
        if roots and together.to_list() != [one for series in alone for one in series]:
            raise _wrong(where, text, "it looks at other rows than the person's own")


def _values(expression: pl.Expr, columns: dict[str, list[str | None]]) -> pl.Series:
    frame = pl.DataFrame(columns or {"": [None]}, schema_overrides=dict.fromkeys(columns, pl.String))
    return frame.select(expression.alias("value")).to_series()
