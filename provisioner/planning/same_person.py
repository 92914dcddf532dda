"""People who may be others under a new key: somebody works here who agrees with somebody who is gone. Pure.

They agree when every email by which accounts are matched is the same, or, where `roster.same_person` names columns, all
of those. An address comes back to other people, so it alone proves nothing: only with the name or those columns it is
`sure`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.expressions import Expression, evaluate_texts
from provisioner.model.attributes import Type
from provisioner.planning.compiled import compile_target
from provisioner.planning.spec import TargetSpec

#: People on one side who may share a value that still tells them apart; beyond that it is a mailbox of many.
MANY: Final = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """`new` works here and agrees with `old`, who is gone, in what `agrees` says.

    `sure`: nothing speaks against one person. `vanished`: the row of `old` is missing, so nobody says that they left.
    """

    old: str
    new: str
    agrees: str
    sure: bool
    vanished: bool = False


def same_people(
    specs: Mapping[str, TargetSpec],
    columns: Collection[str],
    gone: pl.DataFrame,
    here: pl.DataFrame,
    same_person: Sequence[str],
    vanished: Collection[str] = (),
) -> tuple[Pair, ...]:
    """Everybody who may be somebody else under a new key, by the new key.

    Args:
        columns: those of the roster.
        gone: rows of people who left or vanished, with `_key`.
        here: rows of people who work here or soon will.
        same_person: columns of `roster.same_person`.
        vanished: of `gone` the keys that have no row any more.
    """
    if gone.is_empty() or here.is_empty():
        return ()
    emails, names = _identifying(specs, columns)
    there = [name for name in same_person if name in gone.columns and name in here.columns]
    old, new = (_values(frame, emails, names, there) for frame in (gone, here))
    email, called, stated = (
        [column for column in old.columns if column.startswith(prefix)] for prefix in ("e:", "n:", "s:")
    )
    joins = [stated] if same_person else [[column] for column in email]
    found = [_joined(old, new, on) for on in joins if on]
    if not found:
        return ()
    pairs = pl.concat(found).unique(maintain_order=True)
    rows = pairs.join(old, left_on="old", right_on="_key").join(new, left_on="new", right_on="_key", suffix="'")
    same_email, same_name = _agree(email), _agree(called)
    rows = rows.filter(pl.lit(value=True) if same_person else same_email)
    also = pl.lit(value=True) if same_person else same_name
    alone = ~pl.col("old").is_duplicated()
    rows = rows.select("old", "new", (same_email & also & alone).alias("sure"), same_name.alias("named"))
    return tuple(
        Pair(one, other, _what(there, named=named), sure, one in vanished)
        for one, other, sure, named in rows.sort("new", "old").iter_rows()
    )


def _what(columns: Sequence[str], *, named: bool) -> str:
    return ", ".join(columns) if columns else "email and name" if named else "email"


def _identifying(
    specs: Mapping[str, TargetSpec], columns: Collection[str]
) -> tuple[list[Expression], list[Expression]]:
    """The expressions of the emails that accounts are matched by (or else of everybody's own), and of their names."""
    emails: dict[str, Expression] = {}
    others: dict[str, Expression] = {}
    names: dict[str, Expression] = {}
    for spec in specs.values():
        for name, expression in compile_target(spec, columns).attributes.items():
            attribute = spec.attributes[name]
            if spec.settings.attributes[name].authority == "target":
                continue
            if attribute.type is Type.EMAIL and name in spec.settings.match:
                emails[expression.text] = expression
            elif attribute.type is Type.EMAIL and name == "email":
                others[expression.text] = expression
            elif attribute.person_name:
                names[expression.text] = expression
    return list((emails or others).values()), list(names.values())


def _values(
    frame: pl.DataFrame, emails: Sequence[Expression], names: Sequence[Expression], stated: Iterable[str]
) -> pl.DataFrame:
    results = evaluate_texts([*emails, *names], frame)
    prefixes = [f"e:{place}" for place in range(len(emails))] + [f"n:{place}" for place in range(len(names))]
    columns = {prefix: result.values for prefix, result in zip(prefixes, results, strict=True)}
    columns |= {f"s:{name}": frame[name] for name in stated}
    table = pl.DataFrame({"_key": frame["_key"], **columns})
    plain = (
        pl.exclude("_key")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
        .str.to_lowercase()
        .str.normalize("NFC")
        .replace("", None)
    )
    return table.with_columns(plain)


def _joined(old: pl.DataFrame, new: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """Who has the same in these columns, where few others have."""
    filled = pl.all_horizontal(pl.col(on).is_not_null())
    sides = [side.filter(filled).filter(pl.len().over(on) <= MANY) for side in (old, new)]
    return sides[0].select(pl.col("_key").alias("old"), *on).join(
        sides[1].select(pl.col("_key").alias("new"), *on), on=list(on), maintain_order="left_right"
    ).select("old", "new")  # fmt: skip


def _agree(columns: Sequence[str]) -> pl.Expr:
    """Whether both sides have the same in each column that both fill, and in one at least."""
    if not columns:
        return pl.lit(value=False)
    both = [pl.col(name) == pl.col(f"{name}'") for name in columns]
    return (pl.all_horizontal(one.fill_null(value=True) for one in both)) & pl.any_horizontal(
        one.fill_null(value=False) for one in both
    )
