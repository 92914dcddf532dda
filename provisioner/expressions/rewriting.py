"""What an expression says beyond polars' SQL, spelt so that polars understands it. Pure text.

Dates with a format of their own, days in the organisation's time zone, transliterated text and names with dots: each
becomes plain SQL, or a column that is worked out besides the roster's.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from provisioner.expressions.tokens import Token, tokenise

#: Ends the name of a column's days; no roster's header holds this sign.
DAYS: Final = "\x1fdays"
#: Ends the name of a column of transliterated text; before it stands the expression of that text.
ASCII: Final = "\x1fascii"
#: Marks a text of which the format's digits are all there.
_MARK: Final = "\x1f"
_DIGITS: Final = {"Y": "[0-9]{4}", "y": "[0-9]{2}", "j": "[0-9]{3}"}
_NUMBERS: Final = frozenset("dmeHIMSklfU")
_NAMES: Final = frozenset("bBhaAp")
_DIRECTIVE: Final = re.compile(r"%([-_0]?)([A-Za-z%])")

_Edit = tuple[int, int, str]


def with_ascii_columns(text: str) -> str:
    """The expression with ``ASCII(x)`` spelt as the column ``"x<ASCII>"``; what stands within is read by itself."""
    edits: list[_Edit] = []
    tokens = tokenise(text)
    begin, depth = -1, 0
    for index, token in enumerate(tokens):
        if token.kind != "operator" or token.text not in "()":
            continue
        if token.text == "(":
            if begin < 0 and index and tokens[index - 1].upper == "ASCII":
                begin, depth = index, 0
            depth += 1
        else:
            depth -= 1
            if begin >= 0 and depth == 0:
                inside = text[tokens[begin].start + 1 : token.start].strip()
                edits.append((tokens[begin - 1].start, token.start + 1, _quoted(f"{inside}{ASCII}")))
                begin = -1
    return _edited(text, edits)


@dataclass(slots=True)
class _Call:
    """An open parenthesis: whether it is that of DATE, where its first argument begins, and what was edited in it."""

    date: bool
    begin: int
    comma: Token | None = None
    days: list[_Edit] | None = None


def with_explicit_dates(text: str, tokens: list[Token], columns: Collection[str] = ()) -> str:
    """The expression with dates as polars reads them row by row, and names with dots in quotes.

    ``DATE(x)`` becomes ``DATE("x<DAYS>", '%Y-%m-%d')`` for each of the columns. Without a format polars guesses one
    from the first value of the whole column, so that one row's date would depend on another row. The column of days has
    each moment as its day in the organisation's time zone. In ``DATE(x, format)`` a year has exactly the digits that
    the format asks for: polars takes 24 for the year 24.
    """
    edits: list[_Edit] = []
    stack: list[_Call] = []
    for index, token in enumerate(tokens):
        if token.kind == "operator":
            if token.text == "(":
                date = index > 0 and tokens[index - 1].upper == "DATE"
                stack.append(_Call(date, token.start + 1, days=[] if date else None))
            elif token.text == "," and stack:
                # With a format of its own, it reads what the roster wrote
                stack[-1].days = None
                stack[-1].comma = stack[-1].comma or token
            elif token.text == ")" and stack:
                call = stack.pop()
                if call.days is not None:
                    edits += [*call.days, (token.start, token.start, ", '%Y-%m-%d'")]
                elif call.date and call.comma is not None:
                    edits += _strict(call, tokens, index)
            continue
        name = _column(token)
        day = name in columns and next((call.days for call in reversed(stack) if call.days is not None), None)
        if isinstance(day, list):
            day.append((token.start, token.start + len(token.text), _quoted(f"{name}{DAYS}")))
        elif token.kind == "word" and "." in token.text:
            edits.append((token.start, token.start + len(token.text), _quoted(token.text)))
    return _edited(text, edits)


def _strict(call: _Call, tokens: list[Token], end: int) -> list[_Edit]:
    """The edits that make a text with fewer or more digits than the format asks for no date."""
    written = tokens[end - 1]
    if written.kind != "text" or tokens[end - 2] is not call.comma or call.comma is None:
        return []
    format_ = written.text[1:-1]
    pattern = _pattern(format_)
    if pattern is None:
        return []
    return [
        (call.begin, call.begin, "REGEXP_REPLACE("),
        (call.comma.start, call.comma.start, f", '^({pattern})$', '{_MARK}\\1')"),
        (written.start, written.start + len(written.text), f"'{_MARK}{format_}'"),
    ]


def _pattern(format_: str) -> str | None:
    """The texts of a format, None where it asks for no year."""
    parts: list[str] = []
    end = 0
    for found in _DIRECTIVE.finditer(format_.replace("''", "'")):
        parts += [re.escape(found.string[end : found.start()]), _digits(found[2])]
        end = found.end()
    plain = format_.replace("''", "'")
    if not re.search(r"%[-_0]?[Yy]", plain):
        return None
    return "".join([*parts, re.escape(plain[end:])]).replace("'", "''")


def _digits(directive: str) -> str:
    if directive in _DIGITS:
        return _DIGITS[directive]
    if directive in _NUMBERS:
        return "[0-9]+"
    if directive in _NAMES:
        return r"[^\W\d_]+"
    return "%" if directive == "%" else ".+?"


def _edited(text: str, edits: list[_Edit]) -> str:
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead + text[end:]
    return text


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _column(token: Token) -> str:
    """The column that a word or a quoted name may mean; empty for anything else."""
    if token.kind == "quoted":
        sign = token.text[0]
        return token.text[1:-1].replace(sign * 2, sign)
    return token.text if token.kind == "word" else ""
