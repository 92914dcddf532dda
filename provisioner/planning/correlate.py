"""Which account is whose: by the ledger's link, else by the `match` attributes in their order.

A match that proves nothing (see `provisioner.planning.claims`) adopts nobody; it is a claim.

Everybody is known by row numbers here. Wide frames are never joined: a column of somebody's is taken by its number.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from provisioner.model.attributes import Attribute, Type
from provisioner.planning.claims import Claim, folded, proven, unlinked
from provisioner.planning.desired import LEAVER, PERSON, REASON, STANDING
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Observation

#: Columns of row numbers: of the desired frame, of the ledger, and of the observed frame.
DESIRED_ROW, LEDGER_ROW, OBSERVED_ROW = "_desired", "_entry", "_observed"
LINK = "link"
_SEED: Final = secrets.randbits(64)
_COLUMNS = (PERSON, ACCOUNT, "_matched", DESIRED_ROW, LEDGER_ROW, OBSERVED_ROW)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Accounts and people that do not pair up one to one; nothing is done about them until a person settles it.

    `owner` is whom the ledger has as the one person of the one account.
    """

    person: str
    accounts: tuple[str, ...]
    sentence: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Correlation:
    """`pairs` has, in the order of the desired frame, `_person`, `_account`, `_matched` (``link`` or the matching
    attribute's name) and the row numbers `_desired`, `_entry` (null unless it is the ledger's link) and `_observed`
    (null where the account was not seen); `missing` are people whose linked account an authoritative observation does
    not show; `orphans` accounts without a person; `claims` what others hold of people who have no account."""

    pairs: pl.DataFrame
    conflicts: tuple[Conflict, ...]
    missing: tuple[str, ...]
    orphans: tuple[str, ...]
    claims: tuple[Claim, ...] = ()


def correlate(
    desired: pl.DataFrame,
    observation: Observation,
    links: pl.DataFrame,
    match: Sequence[str],
    attributes: Mapping[str, Attribute],
    apart: Mapping[str, Collection[str]] | None = None,
    young: Collection[str] = (),
) -> Correlation:
    """Pair people with accounts.

    Args:
        desired: frame of `provisioner.planning.desired.Desired`.
        links: the ledger's `_person` and `_account` of everybody, also of people who are in no roster any more.
        match: the names of the attributes to match by, in order.
        apart: by person the accounts that were unlinked from them by hand, which are not matched again.
        young: the people whose link remains although their account is not shown.
    """
    observed = observation.frame
    entries = _beside(links.select(PERSON, ACCOUNT), observed[ACCOUNT], on=ACCOUNT, rows=(LEDGER_ROW, OBSERVED_ROW))
    linked = _beside(desired.select(PERSON), entries[PERSON], on=PERSON, rows=(DESIRED_ROW, "_entry_row"))
    linked = linked.filter(linked["_entry_row"].is_not_null())
    linked = linked.with_columns(
        *(entries[name].gather(linked["_entry_row"]) for name in (ACCOUNT, LEDGER_ROW, OBSERVED_ROW)),
        pl.lit(LINK).alias("_matched"),
    ).select(_COLUMNS)
    free = _flags(desired.height, linked[DESIRED_ROW], inverted=True)
    linked, conflicts = _unshared(linked, observed.height)
    missing: tuple[str, ...] = ()
    if observation.authoritative:
        lost = pl.col(OBSERVED_ROW).is_null() & ~pl.col(PERSON).is_in(list(young))
        gone = linked.filter(lost)
        if gone.height:
            missing = tuple(gone[PERSON].to_list())
            linked = linked.filter(~lost)
            # Someone may have made the account again by hand, so whoever lost theirs is matched again
            free = free.scatter(gone[DESIRED_ROW], True)
    pairs = [linked]
    owners = _Owners(entries, observed.height)
    columns = [PERSON, STANDING, *(f"m:{name}" for name in match if f"m:{name}" in desired.columns)]
    unpaired = desired.with_row_index(DESIRED_ROW).filter(free & (desired[REASON] != "excluded"))
    unpaired = unpaired.select(DESIRED_ROW, *columns)
    leaving = pl.col(STANDING) == LEAVER
    sifted = _Sifted(desired, observed, attributes, apart or {})
    for pool, yields in ((unpaired.filter(~leaving), False), (unpaired.filter(leaving), True)):
        for name in match:
            if not pool.height or f"m:{name}" not in pool.columns or name not in observed.columns:
                continue
            hits = owners.marked(_hits(pool, observed, name, attributes[name].type))
            if yields:
                # Who left does not contest the account of someone who is here, such as themselves under a newer key
                contested = [account for conflict in conflicts for account in conflict.accounts]
                hits = hits.filter(~pl.col("_owned"), ~pl.col(ACCOUNT).is_in(contested))
            hits = sifted.proven(hits, name)
            if not hits.height:
                continue
            good, clashes = _one_to_one(hits, owners, name)
            conflicts += clashes
            pairs.append(good)
            owners.add(good)
            pool = pool.join(hits.select(DESIRED_ROW), on=DESIRED_ROW, how="anti", maintain_order="left")
    taken = {account for conflict in conflicts for account in conflict.accounts}
    ownerless = observed.filter(observed[UNTOUCHABLE].is_null() & ~owners.flags)[ACCOUNT].to_list()
    orphans = tuple(account for account in ownerless if account not in taken)
    paired = linked if len(pairs) == 1 else pl.concat(pairs).sort(DESIRED_ROW)
    settled = {*paired[PERSON].to_list(), *(conflict.person for conflict in conflicts)} if sifted.claims else ()
    claims = tuple(claim for claim in sifted.claims.values() if claim.person not in settled)
    return Correlation(paired, tuple(conflicts), missing, orphans, claims)


@dataclass(slots=True)
class _Sifted:
    """Takes the matches that prove nothing out of the others, and keeps them as claims."""

    desired: pl.DataFrame
    observed: pl.DataFrame
    attributes: Mapping[str, Attribute]
    apart: Mapping[str, Collection[str]]
    claims: dict[tuple[str, str], Claim] = field(default_factory=dict)

    def proven(self, hits: pl.DataFrame, name: str) -> pl.DataFrame:
        """The hits of one attribute that are worth being believed."""
        if not hits.height or not (self.apart or self.attributes[name].chosen_by_user):
            return hits
        apart = unlinked(hits[PERSON], hits[ACCOUNT], self.apart)
        good = ~apart
        if self.attributes[name].chosen_by_user:
            rows = (DESIRED_ROW, OBSERVED_ROW)
            good &= proven(hits, self.desired, self.observed, self.attributes, rows=rows)
        doubtful = hits.select(PERSON, ACCOUNT, OBSERVED_ROW).filter(~good)
        values = self.observed[name].gather(doubtful[OBSERVED_ROW])
        pairs = zip(doubtful[PERSON], doubtful[ACCOUNT], values, apart.filter(~good), strict=True)
        for person, account, value, no in pairs:
            self.claims.setdefault((person, account), Claim(person, account, name, value, no))
        return hits.filter(good)


def _beside(frame: pl.DataFrame, others: pl.Series, *, on: str, rows: tuple[str, str]) -> pl.DataFrame:
    """A left join with the row numbers of both sides, in the order of the left one.

    Texts are distinguished by their digests, which join in half the time. What joined so must agree in a second digest
    too, whose seed nobody knows beforehand: together they are as good as the text. Should one not, the texts join.

    Args:
        others: the other side's texts, found where they equal the frame's column `on`.
        rows: what to call the row numbers of the frame and of the other side; the latter are null where none was found.
    """
    mine, theirs = rows
    texts = frame[on]
    if not texts.null_count() and not others.null_count():
        found = _joined(texts.hash(), others.hash(), rows)
        hashed = texts.hash(_SEED)
        whole = found.height == frame.height
        if ((hashed if whole else hashed.gather(found[mine])) == others.hash(_SEED).gather(found[theirs])).all():
            return pl.concat([frame if whole else frame.select(pl.all().gather(found[mine])), found], how="horizontal")
    found = _joined(texts, others, rows)
    return pl.concat([frame.select(pl.all().gather(found[mine])), found], how="horizontal")


def _joined(left: pl.Series, right: pl.Series, rows: tuple[str, str]) -> pl.DataFrame:
    sides = [side.alias("_on").to_frame().with_row_index(name) for side, name in zip((left, right), rows, strict=True)]
    return sides[0].join(sides[1], on="_on", how="left", maintain_order="left").select(rows)


class _Owners:
    """Which observed accounts belong to somebody, and to whom: by the ledger, then by what was matched."""

    def __init__(self, entries: pl.DataFrame, accounts: int) -> None:
        self._found = [entries.select(PERSON, OBSERVED_ROW)]
        self.flags = _flags(accounts, entries[OBSERVED_ROW].drop_nulls())

    def add(self, pairs: pl.DataFrame) -> None:
        self._found.append(pairs.select(PERSON, OBSERVED_ROW))
        self.flags = self.flags.scatter(pairs[OBSERVED_ROW], True)

    def marked(self, hits: pl.DataFrame) -> pl.DataFrame:
        """The hits with `_owned`."""
        return hits.with_columns(self.flags.gather(hits[OBSERVED_ROW]).alias("_owned"))

    def of(self, rows: pl.Series) -> dict[int, str]:
        """Owners by the row number of their account; where there are several, the one found last."""
        found = pl.concat(self._found).filter(pl.col(OBSERVED_ROW).is_in(rows.implode()))
        return dict(found.select(OBSERVED_ROW, PERSON).iter_rows())


def _flags(height: int, rows: pl.Series, *, inverted: bool = False) -> pl.Series:
    """One boolean a row: true at these row numbers and false elsewhere, or the other way round."""
    return pl.repeat(inverted, height, dtype=pl.Boolean, eager=True).scatter(rows, not inverted)


def _unshared(linked: pl.DataFrame, accounts: int) -> tuple[pl.DataFrame, list[Conflict]]:
    """The links without those by which several people have one of so many accounts."""
    seen = linked[OBSERVED_ROW]
    if not seen.null_count() and _flags(accounts, seen).sum() == linked.height:
        return linked, []
    shared = linked[ACCOUNT].is_duplicated()
    conflicts = [
        Conflict(person, (account,), f"account {account} is linked to several people. Correct their rows.")
        for person, account in linked.filter(shared).select(PERSON, ACCOUNT).iter_rows()
    ]
    return linked.filter(~shared), conflicts


def _hits(pool: pl.DataFrame, observed: pl.DataFrame, name: str, type_: Type) -> pl.DataFrame:
    """Every pairing of a person and an account whose values of one attribute are the same."""
    filled = pl.col("_m").is_not_null() & (pl.col("_m") != "")
    left = pool.select(DESIRED_ROW, PERSON, folded(pl.col(f"m:{name}"), type_).alias("_m")).filter(filled)
    texts = observed.select(folded(pl.col(name), type_))[name]
    # By digests who might be meant, since few of them are; by texts who is
    rows = texts.hash().is_in(left["_m"].hash().implode()).arg_true()
    right = pl.DataFrame({OBSERVED_ROW: rows, ACCOUNT: observed[ACCOUNT].gather(rows), "_m": texts.gather(rows)})
    return left.join(right, on="_m", how="inner", maintain_order="left_right").select(
        PERSON,
        ACCOUNT,
        pl.lit(name).alias("_matched"),
        DESIRED_ROW,
        pl.lit(None, dtype=pl.UInt32).alias(LEDGER_ROW),
        OBSERVED_ROW,
    )


def _one_to_one(hits: pl.DataFrame, owners: _Owners, name: str) -> tuple[pl.DataFrame, list[Conflict]]:
    clear = ~hits[DESIRED_ROW].is_duplicated() & ~hits[OBSERVED_ROW].is_duplicated() & ~hits["_owned"]
    good = hits.filter(clear).select(_COLUMNS)
    conflicts = []
    if good.height < hits.height:
        counted = hits.with_columns(pl.len().over(OBSERVED_ROW).alias("_people")).filter(~clear)
        owned = owners.of(counted[OBSERVED_ROW])
        for key, rows in counted.group_by(PERSON, maintain_order=True):
            accounts = tuple(sorted(rows[ACCOUNT].to_list()))
            owner = owned.get(rows[OBSERVED_ROW][0])
            person = str(key[0])
            sentence = _sentence(person, accounts, rows["_people"][0], owner, name)
            conflicts.append(Conflict(person, accounts, sentence, owner if len(accounts) == 1 else None))
    return good, conflicts


def _sentence(person: str, accounts: Sequence[str], people: int, owner: str | None, name: str) -> str:
    if len(accounts) > 1:
        return f"{len(accounts)} accounts have this person's {name}: {', '.join(accounts)}. Merge or rename them."
    if owner is not None:
        rekey = f"provisioner rekey {shlex.quote(owner)} {shlex.quote(person)}"
        return (
            f"account {accounts[0]} has this person's {name} but belongs to {owner}. Correct one of the two rows. If "
            f"both are the same person: {rekey}"
        )
    return f"account {accounts[0]} is matched by {people} people by {name}. Correct their rows."


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
        for _, rows in keyed.filter(pl.col("_m").is_duplicated()).group_by("_m", maintain_order=True):
            people = rows[PERSON].to_list()
            for person in people:
                others = ", ".join(sorted(other for other in people if other != person)[:5])
                found.setdefault(
                    person, Conflict(person, (), f"shares its {name} with {others}. Correct one of the rows.")
                )
    return tuple(found.values())
