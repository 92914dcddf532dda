"""Which account is whose: by the ledger's link, else by the `match` attributes in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from provisioner.model.attributes import Attribute, Type
from provisioner.planning.desired import LEAVER, PERSON, REASON, STANDING
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Observation

FOLDING = frozenset({Type.FOLDED, Type.EMAIL, Type.SET})


@dataclass(frozen=True, slots=True)
class Conflict:
    """Accounts and people that do not pair up one to one; nothing is done about them until a person settles it."""

    person: str
    accounts: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Correlation:
    """`pairs` has `_person`, `_account` and `_matched` (``link`` or the matching attribute's name); `missing` are
    people whose linked account an authoritative observation does not show; `orphans` accounts without a person."""

    pairs: pl.DataFrame
    conflicts: tuple[Conflict, ...]
    missing: tuple[str, ...]
    orphans: tuple[str, ...]


def folded(column: pl.Expr, type_: Type) -> pl.Expr:
    """The vectorised twin of `provisioner.model.attributes.fold`."""
    return column.str.to_lowercase() if type_ in FOLDING else column


def correlate(
    desired: pl.DataFrame,
    observation: Observation,
    links: pl.DataFrame,
    match: Sequence[str],
    attributes: Mapping[str, Attribute],
) -> Correlation:
    """Pair people with accounts.

    Args:
        desired: frame of `provisioner.planning.desired.Desired`.
        links: the ledger's `_person` and `_account` of everybody, also of people who are in no roster any more.
        match: the names of the attributes to match by, in order.
    """
    observed = observation.frame
    linked = desired.select(PERSON).join(links.select(PERSON, ACCOUNT), on=PERSON, how="inner", maintain_order="left")
    shared = linked.filter(pl.col(ACCOUNT).is_duplicated())
    linked = linked.join(shared, on=PERSON, how="anti", maintain_order="left")
    conflicts = [
        Conflict(person, (account,), f"account {account} is linked to several people. Correct their rows.")
        for person, account in shared.iter_rows()
    ]
    present = linked.join(observed.select(ACCOUNT), on=ACCOUNT, how="semi", maintain_order="left")
    missing: tuple[str, ...] = ()
    if observation.authoritative:
        gone = linked.join(present, on=PERSON, how="anti", maintain_order="left")
        missing = tuple(gone[PERSON].to_list())
        linked = present
        # Someone may have made the account anew by hand, so whoever lost theirs is matched again
        links = links.join(gone.select(PERSON), on=PERSON, how="anti", maintain_order="left")
    pairs = [linked.with_columns(pl.lit("link").alias("_matched"))]
    owners = dict(zip(links[ACCOUNT].to_list(), links[PERSON].to_list(), strict=True)) if links.height else {}
    free = desired.join(links.select(PERSON), on=PERSON, how="anti", maintain_order="left").filter(
        pl.col(REASON) != "excluded"
    )
    leaving = pl.col(STANDING) == LEAVER
    for pool, yields in ((free.filter(~leaving), False), (free.filter(leaving), True)):
        for name in match:
            if not pool.height or f"m:{name}" not in pool.columns or name not in observed.columns:
                continue
            hits = _hits(pool, observed, name, attributes[name].type)
            if yields:
                # Who left does not contest the account of someone who is here, such as themselves under a newer key
                settled = [*owners, *(account for conflict in conflicts for account in conflict.accounts)]
                hits = hits.filter(~pl.col(ACCOUNT).is_in(settled))
            if not hits.height:
                continue
            good, clashes = _one_to_one(hits, owners, name)
            conflicts += clashes
            pairs.append(good.with_columns(pl.lit(name).alias("_matched")))
            owners.update(zip(good[ACCOUNT].to_list(), good[PERSON].to_list(), strict=True))
            pool = pool.join(hits.select(PERSON).unique(), on=PERSON, how="anti", maintain_order="left")
    paired = pl.concat(pairs)
    taken = {account for conflict in conflicts for account in conflict.accounts}
    ordinary = observed.filter(pl.col(UNTOUCHABLE).is_null()).select(ACCOUNT)
    known = pl.concat([paired.select(ACCOUNT), links.select(ACCOUNT)])
    orphans = ordinary.join(known, on=ACCOUNT, how="anti", maintain_order="left")[ACCOUNT].to_list()
    return Correlation(paired, tuple(conflicts), missing, tuple(account for account in orphans if account not in taken))


def _hits(pool: pl.DataFrame, observed: pl.DataFrame, name: str, type_: Type) -> pl.DataFrame:
    """Every pairing of a person and an account whose values of one attribute are the same."""
    left = pool.select(PERSON, folded(pl.col(f"m:{name}"), type_).alias("_m")).filter(
        pl.col("_m").is_not_null() & (pl.col("_m") != "")
    )
    right = observed.select(ACCOUNT, folded(pl.col(name), type_).alias("_m")).filter(
        pl.col("_m").is_not_null() & (pl.col("_m") != "")
    )
    return left.join(right, on="_m", how="inner", maintain_order="left_right").drop("_m")


def _one_to_one(hits: pl.DataFrame, owners: Mapping[str, str], name: str) -> tuple[pl.DataFrame, list[Conflict]]:
    counted = hits.with_columns(
        pl.len().over(PERSON).alias("_accounts"), pl.len().over(ACCOUNT).alias("_people")
    ).with_columns(
        pl.col(ACCOUNT).is_in(list(owners)).alias("_owned") if owners else pl.lit(value=False).alias("_owned")
    )
    clear = (pl.col("_accounts") == 1) & (pl.col("_people") == 1) & ~pl.col("_owned")
    good = counted.filter(clear).select(PERSON, ACCOUNT)
    conflicts = []
    for key, rows in counted.filter(~clear).group_by(PERSON, maintain_order=True):
        person, accounts = str(key[0]), tuple(sorted(rows[ACCOUNT].to_list()))
        conflicts.append(Conflict(person, accounts, _sentence(accounts, rows, owners, name)))
    return good, conflicts


def _sentence(accounts: Sequence[str], rows: pl.DataFrame, owners: Mapping[str, str], name: str) -> str:
    if len(accounts) > 1:
        return f"{len(accounts)} accounts have this person's {name}: {', '.join(accounts)}. Merge or rename them."
    owner = owners.get(accounts[0])
    if owner is not None:
        return f"account {accounts[0]} has this person's {name} but belongs to {owner}. Correct one of the two rows."
    return f"account {accounts[0]} is matched by {rows['_people'][0]} people by {name}. Correct their rows."


def colliding(creates: pl.DataFrame, match: Sequence[str], attributes: Mapping[str, Attribute]) -> tuple[Conflict, ...]:
    """People to be created who share the value of a matching attribute: two people would get one account.

    Args:
        creates: rows of the desired frame that have no account.
    """
    found: dict[str, Conflict] = {}
    for name in match:
        column = f"m:{name}"
        if column not in creates.columns or creates.height < 2:
            continue
        keyed = creates.select(PERSON, folded(pl.col(column), attributes[name].type).alias("_m")).filter(
            pl.col("_m").is_not_null() & (pl.col("_m") != "")
        )
        for _, rows in keyed.filter(pl.len().over("_m") > 1).group_by("_m", maintain_order=True):
            people = rows[PERSON].to_list()
            for person in people:
                others = ", ".join(sorted(other for other in people if other != person)[:5])
                found.setdefault(
                    person, Conflict(person, (), f"shares its {name} with {others}. Correct one of the rows.")
                )
    return tuple(found.values())
