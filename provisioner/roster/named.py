"""Settings that are the name of a column, or an SQL expression over the row. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.errors import ConfigurationError
from provisioner.expressions import Evaluated, Expression, compile_expression, evaluate_text
from provisioner.expressions.moments import UTC_ZONE
from provisioner.settings import RosterSettings

#: Signs of an expression, which the name of a column hardly has.
_EXPRESSION: Final = re.compile(r"\|\||['\"`]|\w\(")


def column_or_expression(
    text: str, columns: Collection[str] | None, *, where: str, zone: ZoneInfo = UTC_ZONE
) -> Expression:
    """What a setting names: a column of exactly this name, else an expression.

    The text of a column's expression is the column's name.

    Args:
        columns: the known ones, by which a name is recognised; other names may stand in the expression all the same.

    Raises:
        ConfigurationError: it is an expression, and a wrong one.
    """
    if columns is not None and text in columns:
        return _column(text)
    try:
        return compile_expression(text, None, where=where, zone=zone)
    except ConfigurationError:
        # Names such as `E-Mail` and `Employee ID` are no SQL
        if _EXPRESSION.search(text):
            raise
        return _column(text)


def _column(name: str) -> Expression:
    return Expression(name, frozenset({name}), constant=False)


def columns_of(text: str, *, where: str) -> frozenset[str]:
    """The columns that a setting reads, before anybody knows which there are.

    Raises:
        ConfigurationError: see `column_or_expression`.
    """
    return column_or_expression(text, None, where=where).columns


def cells_of(text: str, frame: pl.DataFrame, *, where: str, zone: ZoneInfo = UTC_ZONE) -> Evaluated:
    """The cells of the column that a setting names, or what its expression gives, as text.

    Raises:
        ConfigurationError: there is no such column, or the expression is wrong.
    """
    if text in frame.columns:
        nobody = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
        return Evaluated(frame[text], nobody)
    expression = compile_expression(text, frame.columns, where=where, zone=zone)
    result = evaluate_text(expression, frame)
    return Evaluated(result.values.cast(pl.String), result.failed, result.reasons)


def as_in_file(settings: RosterSettings, names: Iterable[str]) -> frozenset[str]:
    """Names of columns as the file's header has them, before `rename`."""
    before = {new: old for old, new in settings.rename.items()}
    return frozenset(before.get(name, name) for name in names)


def key_names(settings: RosterSettings) -> frozenset[str]:
    """The names by which the line of the header is known: those of the key's own columns."""
    text = settings.columns.get(settings.key, settings.key)
    return as_in_file(settings, columns_of(text, where="roster.key"))
