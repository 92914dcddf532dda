"""The words of an expression: what may occur in one, judged before polars sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Functions that work on one row alone and touch nothing outside it.
FUNCTIONS = frozenset(
    {
        *("LOWER", "UPPER", "INITCAP", "ASCII", "REVERSE", "NORMALIZE", "TRIM", "LTRIM", "RTRIM", "LPAD", "RPAD"),
        *("COALESCE", "IFNULL", "NULLIF", "IF", "GREATEST", "LEAST"),
        *("CONCAT", "CONCAT_WS", "REPLACE", "REGEXP_REPLACE", "SUBSTR", "SUBSTRING", "LEFT", "RIGHT", "SPLIT_PART"),
        *("LENGTH", "CHAR_LENGTH", "CHARACTER_LENGTH", "STARTS_WITH", "ENDS_WITH", "REGEXP_LIKE"),
        *("DATE", "STRFTIME", "EXTRACT", "DATE_PART"),
        *("CAST", "TRY_CAST", "ABS", "ROUND", "FLOOR", "CEIL", "CEILING", "SIGN", "MOD"),
    }
)

_INSTEAD = {
    "NOW": "it changes with the clock; compare dates with `starts` and `ends`",
    "STRPOS": "polars reads its needle as a pattern; use SPLIT_PART or LIKE",
    "POSITION": "polars reads its needle as a pattern; use SPLIT_PART or LIKE",
    "MAX": "it looks at other rows; GREATEST compares the columns of one",
    "MIN": "it looks at other rows; LEAST compares the columns of one",
    "LEN": "use LENGTH",
    "NVL": "use COALESCE",
    "ISNULL": "use IS NULL",
    "CONTAINS": "use LIKE '%…%'",
    "SAFE_CAST": "use TRY_CAST",
}

# What may come before a parenthesis without being a function
_BEFORE_PARENTHESIS = frozenset({"AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE"})
_BEFORE_PARENTHESIS |= frozenset({"REGEXP", "RLIKE", "IS", "FROM", "FOR"})

#: Words that are no column's name unless they are in quotes.
KEYWORDS = _BEFORE_PARENTHESIS | frozenset({"NULL", "TRUE", "FALSE", "UNKNOWN", "END", "AS", "DISTINCT", "ESCAPE"})

_CLOCK = frozenset({"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"})
_REFUSED = {
    **dict.fromkeys(_CLOCK, "it changes with the clock; compare dates with `starts` and `ends`"),
    **dict.fromkeys(("SELECT", "UNION", "EXISTS", "WITH"), "an expression cannot hold a query"),
    **dict.fromkeys(("OVER", "FILTER", "WITHIN", "WINDOW"), "it looks at other rows"),
    "UNNEST": "one row has to stay one row",
}

_CAST = frozenset({"CAST", "TRY_CAST"})
_CAST_TYPES = frozenset(
    {
        *("VARCHAR", "TEXT", "STRING", "CHAR", "TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT"),
        *("DOUBLE", "FLOAT", "REAL", "DECIMAL", "NUMERIC", "PRECISION", "INT2", "INT4", "INT8"),
    }
)
_FROM_INSIDE = frozenset({"EXTRACT", "SUBSTRING", "TRIM"})

_OPERATORS = (
    *("!~~*", "!~~", "!~*", "~~*", "<=>", "!~", "~~", "~*", "||", "::", "<>", "!=", "<=", ">=", "=="),
    *("=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ",", "~"),
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--|/\*)
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<word>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
    |(?P<operator>"""
    + "|".join(re.escape(operator) for operator in _OPERATORS)
    + r")",
    re.VERBOSE,
)


class WordingError(ValueError):
    """A word or sign that an expression may not hold; the message says which, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word or sign; `kind` is text, quoted, number, word or operator, `start` its place in the expression.

    A word may have parts joined by dots, as ``manager.work_email`` has: the name of a column.
    """

    kind: str
    text: str
    start: int

    @property
    def upper(self) -> str:
        """The word as SQL knows it; empty for anything else, so that a quoted name is never taken for a keyword."""
        return self.text.upper() if self.kind == "word" else ""


def tokenise(text: str) -> list[Token]:
    """The words and signs of an expression, without the space between them.

    Raises:
        WordingError: a quotation mark is left open, or a sign has no business in an expression.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            sign = text[position]
            if sign in "'\"`":
                raise WordingError(f"the quotation mark {sign} at character {position + 1} is never closed")
            if sign == ".":
                raise WordingError('a column whose name holds a dot is written in double quotes, such as "a.b"')
            raise WordingError(f"the sign {sign!r} at character {position + 1} means nothing here")
        kind = str(match.lastgroup)
        if kind == "comment":
            raise WordingError("comments are not allowed inside an expression")
        if kind != "space":
            tokens.append(Token(kind, match.group(), position))
        position = match.end()
    return tokens


def check_words(tokens: list[Token]) -> None:
    """Refuse functions that are not on the list, aliases, queries, clocks, and types that polars cannot cast to.

    Raises:
        WordingError: says which word, and what to write instead.
    """
    callers: list[str] = []
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else Token("", "", 0)
        after = tokens[index + 1] if index + 1 < len(tokens) else Token("", "", 0)
        if token.text == "(" and token.kind == "operator":
            callers.append(before.upper)
            if before.kind == "quoted":
                raise WordingError(f"{before.text} is no function")
        elif token.text == ")" and token.kind == "operator":
            if callers:
                callers.pop()
        elif token.text == "::":
            _check_type(after)
        elif token.kind == "word":
            _check_word(token, before, after, callers[-1] if callers else "", tokens[max(0, index - 2) : index])


def _check_word(token: Token, before: Token, after: Token, caller: str, behind: list[Token]) -> None:
    word = token.upper
    if word in _REFUSED:
        raise WordingError(f"{token.text} is not allowed: {_REFUSED[word]}")
    if word == "AS":
        if caller not in _CAST:
            raise WordingError("AS is only for CAST(… AS …): an expression has no other name than its attribute's")
        _check_type(after)
    elif word == "FROM":
        if caller not in _FROM_INSIDE and before.upper != "DISTINCT":
            raise WordingError("FROM is not allowed: an expression cannot hold a query")
    elif word in {"TRUE", "FALSE", "UNKNOWN"} and any(one.upper == "IS" for one in behind):
        raise WordingError(
            f"IS {word} is not allowed: polars answers NULL where SQL says FALSE; write COALESCE(…, FALSE) or compare"
        )
    elif after.text == "(" and after.kind == "operator":
        typed = word in _CAST_TYPES and (before.upper == "AS" or before.text == "::")
        if word not in FUNCTIONS and word not in _BEFORE_PARENTHESIS and not typed:
            hint = _INSTEAD.get(word, f"the functions are {', '.join(sorted(FUNCTIONS))}")
            raise WordingError(f"the function {token.text} is not allowed: {hint}")


def _check_type(token: Token) -> None:
    if token.upper in {"DATE", "TIMESTAMP", "DATETIME", "TIME"}:
        raise WordingError("there is no CAST to a date; write DATE(column), or DATE(column, '%d/%m/%Y')")
    if token.upper in {"BOOLEAN", "BOOL"}:
        raise WordingError("there is no CAST to a boolean; compare instead, such as column = 'true'")
    if token.upper not in _CAST_TYPES:
        raise WordingError(
            f"there is no CAST to {token.text or 'nothing'}; types are VARCHAR, INTEGER, BIGINT, DOUBLE "
            "and DECIMAL(p, s)"
        )
