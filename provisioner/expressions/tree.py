"""polars' own tree of an expression: which nodes work row by row. Unknown nodes are refused."""

from __future__ import annotations

import json
from typing import Any

import polars as pl


class TreeError(ValueError):
    """The expression is more than a computation over the columns of one row."""


# By polars' names; what is not here is refused, so a new kind of node never slips through
_PLAIN = frozenset(
    {"Coalesce", "MaxHorizontal", "MinHorizontal", "Abs", "Floor", "Ceil", "Sign", "FillNull", "Negate", "Round"}
)
_BY_FAMILY: dict[str, frozenset[str] | None] = {
    "StringExpr": frozenset(
        {
            *("Lowercase", "Uppercase", "Titlecase", "Reverse", "Normalize", "Slice", "Head", "Tail", "Replace"),
            *("StripChars", "StripCharsStart", "StripCharsEnd", "PadStart", "PadEnd", "ConcatHorizontal", "Split"),
            *("LenChars", "LenBytes", "StartsWith", "EndsWith", "Contains", "Strptime"),
        }
    ),
    "Boolean": frozenset({"IsNull", "IsNotNull", "Not", "IsIn", "IsBetween", "AllHorizontal", "AnyHorizontal"}),
    "TemporalExpr": frozenset(
        {
            *("ToString", "Year", "IsoYear", "Month", "Quarter", "Week", "WeekDay", "Day", "OrdinalDay", "Hour"),
            *("Minute", "Second", "Century", "Millennium", "Date"),
        }
    ),
    "ListExpr": frozenset({"Get"}),
    "Sql": None,  # polars' arithmetic with SQL's rules: ROUND, MOD, division
    "Round": None,
}
_CHILDREN = {
    "Function": ("input",),
    "BinaryExpr": ("left", "right"),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Cast": ("expr",),
}
_COMPLAINTS = {
    "Alias": (
        "two words follow each other; a column name with spaces, hyphens or capitals SQL knows is written in double "
        'quotes, such as "Work Email"'
    ),
    "Selector": "a wildcard is no column",
    "Agg": "it looks at other rows",
    "Len": "it looks at other rows",
    "Over": "it looks at other rows",
    "Explode": "one row has to stay one row",
    "SubPlan": "an expression cannot hold a query",
}


def check_tree(expression: pl.Expr) -> None:
    """Refuse an expression with a node that is not known to work row by row.

    Raises:
        TreeError: says what is wrong with it.
    """
    try:
        waiting: list[Any] = [json.loads(expression.meta.serialize(format="json"))]
    except RecursionError:
        raise TreeError("it is nested too deeply; split a long CASE or || into fewer parts") from None
    while waiting:
        node = waiting.pop()
        kind, body = next(iter(node.items())) if isinstance(node, dict) else (str(node), {})
        if kind in ("Column", "Literal"):
            continue
        if kind not in _CHILDREN:
            raise TreeError(_COMPLAINTS.get(kind, f"polars makes a {kind} of it, which is not known to be row by row"))
        if kind == "Function":
            _check_function(body["function"])
        for name in _CHILDREN[kind]:
            child = body[name]
            waiting.extend(child if isinstance(child, list) else [child])


def _check_function(function: Any) -> None:
    family, member = next(iter(function.items())) if isinstance(function, dict) else (str(function), "")
    name = next(iter(member)) if isinstance(member, dict) else str(member)
    if family in _PLAIN:
        return
    if family == "StructExpr":
        raise TreeError('a column whose name holds a dot is written in double quotes, such as "a.b"')
    allowed = _BY_FAMILY.get(family, frozenset())
    if allowed is not None and name not in allowed:
        raise TreeError(
            f"polars makes {family} {name or ''} of it, which is not known to be row by row".replace("  ", " ")
        )
