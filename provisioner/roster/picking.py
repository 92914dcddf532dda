"""Of several rows of one person the first, by `roster.pick`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.errors import ConfigurationError
from provisioner.expressions import Expression, compile_expression, evaluate
from provisioner.expressions.moments import UTC_ZONE
from provisioner.expressions.tokens import Token, WordingError, tokenise


@dataclass(frozen=True, slots=True)
class Order:
    """One part of an ORDER BY list. Who has no value comes last unless `nulls_first`."""

    expression: Expression
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Picked:
    """`kept`: the numbers of the rows that go on; `undecided`: by line, why none of several rows was picked."""

    kept: pl.Series
    undecided: Mapping[int, str]


def order_of(text: str | None, columns: Sequence[str] | None, zone: ZoneInfo = UTC_ZONE) -> tuple[Order, ...]:
    """The parts of `roster.pick`, none if there is none.

    Raises:
        ConfigurationError: it is no list of expressions.
    """
    if text is None:
        return ()
    try:
        tokens = tokenise(text)
    except WordingError as exc:
        raise ConfigurationError(f"roster.pick: {text!r}: {exc}.") from None
    return tuple(_part(text, part, columns, zone) for part in _parts(tokens))


def _parts(tokens: Sequence[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "operator" else 0
        if token.text == "," and token.kind == "operator" and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _part(text: str, tokens: list[Token], columns: Sequence[str] | None, zone: ZoneInfo) -> Order:
    nulls_first = descending = False
    if len(tokens) > 2 and tokens[-2].upper == "NULLS" and tokens[-1].upper in ("FIRST", "LAST"):
        nulls_first = tokens[-1].upper == "FIRST"
        tokens = tokens[:-2]
    if len(tokens) > 1 and tokens[-1].upper in ("ASC", "DESC"):
        descending = tokens[-1].upper == "DESC"
        tokens = tokens[:-1]
    part = text[tokens[0].start : tokens[-1].start + len(tokens[-1].text)] if tokens else ""
    return Order(compile_expression(part, columns, where="roster.pick", zone=zone), descending, nulls_first)


def pick(frame: pl.DataFrame, fold: pl.Series, order: Sequence[Order], columns: Sequence[str]) -> Picked:
    """Of the rows with one key the first.

    Rows that the order does not tell apart are one where all their cells are the same; else none of them is picked.

    Args:
        frame: `_line` and what the order reads.
        fold: by row the key as keys are compared.
        columns: those in which rows may differ.
    """
    rows = fold.is_duplicated().arg_true()
    some = frame.select(pl.all().gather(rows))
    places = [f"#{place}" for place in range(len(order))]
    results = [evaluate(one.expression, some) for one in order]
    told = pl.DataFrame(
        {
            "row": rows,
            "line": some["_line"],
            "fold": fold.gather(rows),
            **{place: result.values for place, result in zip(places, results, strict=True)},
        }
    )
    cells = some.select(pl.struct(columns).hash().alias("cells")) if columns else pl.DataFrame({"cells": rows})
    told = told.hstack([cells["cells"]]).sort(
        ["fold", *places, "line"],
        descending=[False, *(one.descending for one in order), False],
        nulls_last=[True, *(not one.nulls_first for one in order), True],
    )
    undecided: dict[int, str] = {}
    failed: dict[str, str] = {}
    for result in results:
        for row, reason in result.reasons.items():
            failed.setdefault(str(fold[int(rows[row])]), f"in line {some['_line'][row]} {reason}")
    first = told.group_by("fold", maintain_order=True).head(1)
    ties = told.join(first.select("fold", *places), on=["fold", *places], nulls_equal=True)
    tied = ties.filter(pl.col("cells").n_unique().over("fold") > 1)
    for fold_, line in tied.select("fold", "line").iter_rows():
        others = tied.filter((pl.col("fold") == fold_) & (pl.col("line") != line))["line"]
        failed.setdefault(fold_, f"it does not tell lines {line} and {others[0]} apart")
    for fold_, line in told.filter(pl.col("fold").is_in(list(failed))).select("fold", "line").iter_rows():
        undecided[line] = f"roster.pick names none of this key's rows: {failed[fold_]}"
    gone = told.join(first.select("row"), on="row", how="anti").filter(~pl.col("fold").is_in(list(failed)))
    kept = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True).scatter(gone["row"], False)
    return Picked(kept, undecided)
