"""Expressions worked out over a frame of text columns; a row that fails fails alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeVar

import polars as pl

from provisioner.errors import ConfigurationError
from provisioner.expressions.expression import FAILURES, Expression, parsed, with_helpers
from provisioner.expressions.rewriting import ASCII, DAYS

_CONVERSION: Final = re.compile(r"conversion from `str` to `([^`]+)` failed in column '([^']*)'")
# Telling bad rows one by one costs some evaluations each; a share this large condemns the whole roster anyway
_LEAST_TOLD: Final = 1_000
_SHARE_TOLD: Final = 20
_EXACT_WHOLE: Final = 2**53
Text = TypeVar("Text", pl.Series, pl.Expr)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`values` and `failed` are as long as the frame; a failed row's value is null, `reasons` says why by row number.

    Reasons never repeat a value, since it may be personal.
    """

    values: pl.Series
    failed: pl.Series
    reasons: dict[int, str] = field(default_factory=dict)


def evaluate(expression: Expression, frame: pl.DataFrame) -> Evaluated:
    """Work an expression out for every row of a frame whose columns are text; a constant is repeated.

    Raises:
        ConfigurationError: the frame lacks a column; never because of what the cells hold.
    """
    _check_columns(expression, frame)
    return _Bisection(expression, frame).run()


def _check_columns(expression: Expression, frame: pl.DataFrame) -> None:
    missing = sorted(expression.columns.difference(frame.columns))
    if missing:
        raise ConfigurationError(f"{expression.where}: {expression.text!r}: there is no column {missing[0]!r}.")


def evaluate_text(expression: Expression, frame: pl.DataFrame) -> Evaluated:
    """`evaluate`, with every value as canonical text.

    Booleans are ``true`` and ``false``, dates ISO, numbers plain without trailing zeros; text is NFC and stripped,
    and the empty text is null.
    """
    result = evaluate(expression, frame)
    if expression.constant and frame.height > 1 and not result.reasons:
        values, failed = _as_text(result.values.head(1))
        values = values.new_from_index(0, frame.height)
        failed = None if failed is None else failed.new_from_index(0, frame.height)
    else:
        values, failed = _as_text(result.values)
    return _told(result, values, failed)


def _told(result: Evaluated, values: pl.Series, failed: pl.Series | None) -> Evaluated:
    """A result with its values as text, and those failed that are no finite number."""
    if failed is None:
        return Evaluated(values, result.failed, result.reasons)
    rows = (failed & ~result.failed).arg_true().to_list()
    return Evaluated(values, result.failed | failed, result.reasons | dict.fromkeys(rows, "the number is not finite"))


def evaluate_texts(expressions: Sequence[Expression], frame: pl.DataFrame) -> list[Evaluated]:
    """`evaluate_text` of many expressions: all at once, and only if a row fails of one, each by itself.

    Raises:
        ConfigurationError: see `evaluate`.
    """
    for expression in expressions:
        _check_columns(expression, frame)
    varying = {str(place): one for place, one in enumerate(expressions) if not one.constant}
    try:
        whole = with_helpers(varying.values(), frame)
        values = whole.select(parsed(one.text).alias(name) for name, one in varying.items())
    except FAILURES:
        return [evaluate_text(one, frame) for one in expressions]
    texts = _plain_texts(values)
    untouched = _none_of(frame.height)
    found = []
    for place, expression in enumerate(expressions):
        name = str(place)
        if name in texts:
            found.append(Evaluated(texts[name].alias("value"), untouched))
        elif name in varying:
            found.append(_told(Evaluated(values[name].alias("value"), untouched), *_as_text(values[name])))
        else:
            found.append(evaluate_text(expression, frame))
    return found


def _plain_texts(values: pl.DataFrame) -> dict[str, pl.Series]:
    """What `_as_text` makes of those columns that are no numbers or times, and in which nobody's text is beyond ASCII.

    All are gone through together, which the processors share.
    """
    columns = {
        name: pl.col(name).cast(pl.String)
        for name, dtype in values.schema.items()
        if not (dtype.is_temporal() or dtype.is_float() or dtype.is_decimal())
    }
    if not columns:
        return {}
    beyond = values.select(beyond_ascii(text).any().alias(name) for name, text in columns.items()).row(0, named=True)
    texts = values.select(text.str.strip_chars() for name, text in columns.items() if not beyond[name])
    blank = texts.select((pl.all() == "").any()).row(0, named=True) if texts.width else {}
    return {name: texts[name].set(texts[name] == "", None) if blank[name] else texts[name] for name in texts.columns}


def evaluate_predicate(expression: Expression, frame: pl.DataFrame) -> Evaluated:
    """`evaluate`, with every value as yes, no, or null for unknown.

    The texts true and false count as such, whatever their case; any other text fails its row.
    """
    result = evaluate(expression, frame)
    values = result.values
    if values.dtype == pl.Boolean:
        return result
    if values.dtype == pl.Null:
        return Evaluated(values.cast(pl.Boolean), result.failed, result.reasons)
    if values.dtype != pl.String:
        raise ConfigurationError(f"{expression.where}: {expression.text!r}: it is neither true nor false.")
    text = values.str.strip_chars().str.to_lowercase().replace("", None)
    answers = text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    wrong = text.is_not_null() & answers.is_null()
    reasons = dict.fromkeys(wrong.arg_true().to_list(), "the answer is neither true nor false")
    return Evaluated(answers, result.failed | wrong, result.reasons | reasons)


class _Bisection:
    """Halves a frame that fails until the bad rows are alone."""

    def __init__(self, expression: Expression, frame: pl.DataFrame) -> None:
        self._expression = expression
        self._parsed = parsed(expression.text)
        self._constant = expression.constant
        self._frame = frame.select(sorted(expression.columns))
        self._height = frame.height
        self._reasons: dict[int, str] = {}

    def run(self) -> Evaluated:
        if self._constant:
            return self._constantly()
        pieces: list[pl.Series] = []
        waiting = [(0, self._height)]
        limit = max(_LEAST_TOLD, self._height // _SHARE_TOLD)
        while waiting:
            start, length = waiting.pop()
            try:
                pieces.append(self._select(self._frame.slice(start, length)))
            except FAILURES as exc:
                if length > 1 and len(self._reasons) < limit:
                    half = length // 2
                    waiting += [(start + half, length - half), (start, half)]
                    continue
                reason = _reason(exc) if length == 1 else f"more than {limit} rows fail; this one was not tried"
                self._reasons.update(dict.fromkeys(range(start, start + length), reason))
                pieces.append(self._nulls(length))
        values = pl.concat(pieces, how="vertical") if pieces else self._nulls(0)
        return Evaluated(values.alias("value"), self._mask(), self._reasons)

    def _constantly(self) -> Evaluated:
        try:
            value = self._select(pl.DataFrame({"": [None]}))
        except FAILURES as exc:
            self._reasons = dict.fromkeys(range(self._height), _reason(exc))
            return Evaluated(pl.Series("value", [None] * self._height, pl.Null), self._mask(), self._reasons)
        return Evaluated(value.new_from_index(0, self._height), self._mask(), self._reasons)

    def _select(self, frame: pl.DataFrame) -> pl.Series:
        return with_helpers([self._expression], frame).select(self._parsed.alias("value")).to_series()

    def _nulls(self, length: int) -> pl.Series:
        names = self._frame.columns
        if not names:
            return pl.Series("value", [None] * length, pl.Null)
        empty = pl.DataFrame({name: [None] for name in names}, schema=dict.fromkeys(names, pl.String))
        return pl.Series("value", [None] * length, self._select(empty).dtype)

    def _mask(self) -> pl.Series:
        mask = _none_of(self._height)
        return mask.scatter(pl.Series(list(self._reasons), dtype=pl.UInt32), True) if self._reasons else mask


def _none_of(height: int) -> pl.Series:
    return pl.repeat(False, height, dtype=pl.Boolean, eager=True).alias("failed")


def _reason(error: BaseException) -> str:
    found = _CONVERSION.search(str(error))
    if found:
        name = found[2].removesuffix(DAYS).removesuffix(ASCII)
        if "date" not in found[1]:
            return f"{name} holds no number"
        return f"{name} holds no date ({'yyyy-mm-dd' if found[2].endswith(DAYS) else 'as the expression wants it'})"
    return f"it cannot be worked out for this row ({type(error).__name__})"


def _as_text(values: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    failed: pl.Series | None = None
    if values.dtype == pl.Date:
        text = values.dt.to_string("%Y-%m-%d")
    elif values.dtype == pl.Datetime:
        text = values.dt.to_string("iso:strict")
    elif values.dtype in (pl.Float32, pl.Float64) or isinstance(values.dtype, pl.Decimal):
        text, failed = _plain_numbers(values)
    else:
        text = values.cast(pl.String)
    text = composed(text).str.strip_chars()
    blank = text == ""
    return (text.set(blank, None) if blank.any() else text), failed


def composed(text: pl.Series) -> pl.Series:
    """Text in Unicode form NFC, which plain ASCII is already."""
    beyond = beyond_ascii(text)
    if not beyond.any():
        return text
    rows = beyond.arg_true()
    return text.scatter(rows, text.gather(rows).str.normalize("NFC"))


def beyond_ascii(text: Text) -> Text:
    """Which texts hold more than ASCII. Only these need the rules of Unicode, which take twenty times as long."""
    return text.str.len_bytes() != text.str.len_chars()


def _plain_numbers(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Numbers without exponent and trailing zeros: 1001.0 is 1001."""
    if isinstance(values.dtype, pl.Decimal):
        text = values.cast(pl.String)
        infinite = pl.repeat(False, values.len(), dtype=pl.Boolean, eager=True)
    else:
        infinite = (~values.is_finite()).fill_null(False)
        values = values.set(infinite, None).cast(pl.Float64)
        whole = (values.round(0) == values) & (values.abs() < _EXACT_WHOLE)
        text = values.cast(pl.String)
        text = text.zip_with(
            ~whole.fill_null(False), values.set(~whole.fill_null(False), None).cast(pl.Int64).cast(pl.String)
        )
        odd = text.str.contains("e", literal=True).fill_null(False)
        if odd.any():
            rows = odd.arg_true()
            text = text.scatter(rows, [format(Decimal(one), "f") for one in text.gather(rows).to_list()])
    fractions = text.str.contains(".", literal=True)
    return text.zip_with(~fractions.fill_null(False), text.str.strip_chars_end("0").str.strip_chars_end(".")), infinite
