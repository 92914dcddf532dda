"""Accounts that claim to be somebody's: what matches is what their users can choose themselves. Pure.

Anybody can take a username, so one that equals a person's proves nothing. Such a match adopts an account only where
something agrees too that the vendor verified or that only administrators set (`provisioner.model.attributes.proves`).
Otherwise it is a claim, which only a person can settle. So is an account that a person was unlinked from by hand.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from provisioner.model.attributes import FOLDING, VALUE_FOLDS, Attribute, Type


@dataclass(frozen=True, slots=True)
class Claim:
    """An account that holds what a person should hold in `attribute`, without being adopted.

    `value` is what it holds. `unlinked`: somebody said by hand that the account is not this person's.
    """

    person: str
    account: str
    attribute: str
    value: str
    unlinked: bool = False

    def sentence(self, target: str, attributes: Mapping[str, Attribute]) -> str:
        """What a person has to settle, and how."""
        link = f"provisioner link {shlex.quote(self.person)} {target} {shlex.quote(self.account)}"
        held = f"account {self.account} has this person's {self.attribute} ({self.value})"
        if self.unlinked:
            return (
                f"{held}, but was unlinked from them by hand, and no account can be created next to it. Change its "
                f"{self.attribute} in {target}, or link it again: {link}"
            )
        verified = attributes[self.attribute].verified_when
        why = f"which {target} has not verified" if verified else "which its user can choose"
        return (
            f"{held}, {why}, and nothing that is verified agrees: it may be a stranger's. If it is theirs: {link}. "
            f"If not, change its {self.attribute} or delete it in {target}."
        )


def proving(match: Sequence[str], mapped: Iterable[str], attributes: Mapping[str, Attribute]) -> tuple[str, ...]:
    """The attributes whose equal values can prove a claim: those of `match`, then every mapped email.

    Args:
        mapped: the attributes of the mapping.
    """
    if not any(attributes[name].chosen_by_user for name in match):
        return tuple(match)
    emails = (name for name in mapped if attributes[name].type is Type.EMAIL)
    return tuple(dict.fromkeys([*match, *emails]))


def folded(column: pl.Expr, type_: Type) -> pl.Expr:
    """The vectorised twin of `provisioner.model.attributes.fold`."""
    if type_ is Type.VALUE:
        return _folded_value(column)
    return column.str.to_lowercase() if type_ in FOLDING else column


def _folded_value(column: pl.Expr) -> pl.Expr:
    # What polars and Python take for white space and for digits is the same only in ASCII
    several = column.str.split(";").list.eval(pl.element().str.strip_chars().str.to_lowercase())
    several = several.list.eval(pl.element().filter(pl.element() != "")).list.unique().list.sort().list.join(";")
    one = column
    for pattern, new in VALUE_FOLDS:
        one = one.str.replace(pattern.replace(r"\d", "[0-9]"), new)
    return pl.when(column.str.contains(";", literal=True)).then(several).otherwise(one)


def proven(
    hits: pl.DataFrame,
    desired: pl.DataFrame,
    observed: pl.DataFrame,
    attributes: Mapping[str, Attribute],
    *,
    rows: tuple[str, str],
) -> pl.Series:
    """Of each pairing of a person and an account whether something that agrees is worth being believed.

    Args:
        desired: has one column ``m:<attribute>`` for each attribute that can prove.
        rows: the columns of the hits with row numbers of the desired and of the observed frame.
    """
    mine, theirs = rows
    agreeing = [pl.lit(value=False)]
    columns: dict[str, pl.Series] = {}
    for name in (column[2:] for column in desired.columns if column.startswith("m:")):
        if name not in observed.columns:
            continue
        type_ = attributes[name].type
        columns[f"m:{name}"] = desired[f"m:{name}"].gather(hits[mine])
        columns[f"o:{name}"] = observed[name].gather(hits[theirs])
        wanted, held = (folded(pl.col(f"{side}:{name}").replace("", None), type_) for side in "mo")
        agreeing.append(wanted.eq(held) & _worth(attributes[name], observed, hits[theirs], columns))
    frame = pl.DataFrame(columns, height=hits.height) if columns else hits
    return frame.select(pl.any_horizontal(agreeing).fill_null(value=False).alias("proven"))["proven"]


def _worth(attribute: Attribute, observed: pl.DataFrame, rows: pl.Series, columns: dict[str, pl.Series]) -> pl.Expr:
    """The vectorised twin of `provisioner.model.attributes.proves`; adds the columns that it needs."""
    if not attribute.chosen_by_user:
        return pl.lit(value=True)
    if attribute.verified_when is None or attribute.verified_when[0] not in observed.columns:
        return pl.lit(value=False)
    name, verified = attribute.verified_when
    columns[f"v:{name}"] = observed[name].gather(rows)
    return pl.col(f"v:{name}").is_in(list(verified)).fill_null(value=False)


def unlinked(people: pl.Series, accounts: pl.Series, apart: Mapping[str, Collection[str]]) -> pl.Series:
    """Of each pairing whether somebody said by hand that the account is not this person's."""
    said = [account in apart.get(person, ()) for person, account in zip(people, accounts, strict=True)] if apart else []
    return pl.Series(said or [False] * people.len(), dtype=pl.Boolean)
