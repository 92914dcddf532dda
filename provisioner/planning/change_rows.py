"""From flagged columns to rows: one person and their account, as the decision table takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl
from msgspec import Struct

from provisioner.model.account import State
from provisioner.planning.claims import folded
from provisioner.planning.desired import DIGEST, PERSON, REASON, STANDING
from provisioner.planning.leaver_steps import DUE, LEFT, LEFT_ON, STEP
from provisioner.planning.rewrite_loops import LOOPS
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, TargetSpec

Values = tuple[str | None, ...]
NONE: Final[Mapping[str, str | None]] = {}


class ChangeRow(Struct, gc=False):
    """One person and their account; values stand at the places of their attributes' names.

    `known`, `differs` and `drifted` are patterns with a sign for each place, ``1`` where it is so: they are few, and
    what follows from one is worked out once. `again` is one of what is set once, was refused and is sent again; empty
    where nobody has any.
    """

    person: str
    account: str
    standing: str
    reason: str
    state: State | None
    matched: str
    untouchable: str | None
    protected: bool
    seen: bool
    digest: str
    recorded: float | None
    loops: str | None
    due: int
    left_on: str | None
    step: int
    left: str | None
    wanted: Values
    held: Values
    known: str
    differs: str
    drifted: str
    again: str
    owned: Mapping[str, str | None]
    carried: Mapping[str, str | None]


_ABOUT = (
    PERSON,
    ACCOUNT,
    STANDING,
    REASON,
    "_state",
    "_matched",
    UNTOUCHABLE,
    "_protected",
    "_seen",
    DIGEST,
    "_recorded",
    LOOPS,
    DUE,
    LEFT_ON,
    STEP,
    LEFT,
)


def rows_of(spec: TargetSpec, frame: pl.DataFrame, names: Sequence[str]) -> Iterator[ChangeRow]:
    """The rows one by one: values as tuples, since a mapping of all columns would cost more than all that follows."""
    owned = [name for name in names if f"own:{name}" in frame.columns]
    carried = [name for name in spec.carried if f"o:{name}" in frame.columns]
    patterns = (
        _pattern(pl.col(f"k:{name}") for name in names).alias("known"),
        _pattern(pl.col(f"d:{name}") for name in names).alias("differs"),
        _pattern(_drifted(spec, name, owned=name in owned) for name in names).alias("drifted"),
        _again(frame, names).alias("again"),
    )
    sides = zip(
        frame.select(*_ABOUT, *patterns).iter_rows(),
        *(_values(frame, side, names) for side in ("w", "h")),
        _values(frame, "own", owned),
        _values(frame, "o", carried),
        strict=True,
    )
    for about, wanted, held, ours, along in sides:
        person, account, standing, reason, state, matched, untouchable, protected = about[:8]
        seen, row, recorded, loops, due, left_on, step, left, known, differs, drifted, again = about[8:]
        yield ChangeRow(
            person, account, standing, reason, state, matched, untouchable, protected, seen, row, recorded, loops,
            due, left_on, step, left,
            wanted, held, known, differs, drifted, again,
            dict(zip(owned, ours, strict=True)) if owned else NONE,
            dict(zip(carried, along, strict=True)) if carried else NONE,
        )  # fmt: skip


def _pattern(flags: Iterable[pl.Expr]) -> pl.Expr:
    signs = [pl.when(flag).then(pl.lit("1")).otherwise(pl.lit("0")) for flag in flags]
    return pl.concat_str(signs) if signs else pl.lit("")


def _again(frame: pl.DataFrame, names: Sequence[str]) -> pl.Expr:
    """See `provisioner.planning.set_once.sent_again`."""
    flags = [f"r:{name}" for name in names]
    if not any(flag in frame.columns for flag in flags):
        return pl.lit("")
    return _pattern(pl.col(flag) if flag in frame.columns else pl.lit(value=False) for flag in flags)


def _drifted(spec: TargetSpec, name: str, *, owned: bool) -> pl.Expr:
    """Whether we once brought about what is wanted now, and the target shows something else."""
    acknowledged, wanted = pl.col(f"l:{name}"), pl.col(f"own:{name}" if owned else f"w:{name}")
    type_ = spec.attributes[name].type
    same = acknowledged.eq_missing(wanted) | folded(acknowledged, type_).eq_missing(folded(wanted, type_))
    return pl.col("_seen") & acknowledged.is_not_null() & same


def _values(frame: pl.DataFrame, side: str, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Values of one side, row by row."""
    if not names:
        return (() for _ in range(frame.height))
    return frame.select(f"{side}:{name}" for name in names).iter_rows()
