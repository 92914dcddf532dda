"""Whether a listing is believed: one that lost too many accounts, or what too many of them held, is not.

A key that lost a right, or a vendor that stumbled, answers 200 with a well-formed listing in which accounts are missing
or attributes are empty. Taken at its word it would make us create people twice, rewrite every email and adopt
accounts by whatever is left to match by.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import polars as pl

from provisioner.model.attributes import DETAILS_READ_AT
from provisioner.planning.correlate import DESIRED_ROW, LEDGER_ROW, OBSERVED_ROW, Correlation
from provisioner.planning.desired import LEAVER, PERSON, STANDING, Desired
from provisioner.planning.guards import limit_of
from provisioner.planning.new_accounts import MOST
from provisioner.planning.spec import ACCOUNT, READ, UNTOUCHABLE, Observation, Planning, TargetSpec

#: The errors of a listing that is not believed.
Code = Literal["listing_shrank", "listing_blank", "listing_partial"]
#: Attributes that a sentence names; of the rest it tells the number.
_NAMED: Final = 3
_NOTHING: Final = pl.lit(None, dtype=pl.String)


@dataclass(frozen=True, slots=True)
class Disbelief:
    """Why a listing is not believed; `hidden` are attributes that it lost."""

    code: Code
    sentence: str
    hidden: tuple[str, ...] = ()


def disbelief(
    spec: TargetSpec,
    desired: pl.DataFrame,
    pairs: pl.DataFrame,
    observation: Observation,
    ledger: pl.DataFrame,
    *,
    missing: int,
    base: int,
) -> Disbelief | None:
    """Why a listing is not believed, None if it is. A listing that hints at more than it shows is never believed.

    Args:
        desired: see `provisioner.planning.desired.Desired`.
        pairs: see `provisioner.planning.correlate.Correlation`.
        missing: linked accounts that it does not show, of `base`.
    """
    if observation.doubt:
        return Disbelief(
            "listing_partial",
            f"{spec.name}: {observation.doubt}; the listing is not believed, and nothing is sent but leaves of "
            "accounts that were seen.",
            tuple(name for name, one in spec.attributes.items() if one.merge and name in observation.frame.columns),
        )
    shrunk = _shrunk(spec, missing, base)
    return shrunk or _blank(spec, _Linked(desired, pairs, observation, ledger), observation, base)


def _shrunk(spec: TargetSpec, missing: int, base: int) -> Disbelief | None:
    guards = spec.settings.guards
    if guards is None or not missing:
        return None
    limit = limit_of(guards.missing, base)
    if missing <= limit:
        return None
    return Disbelief(
        "listing_shrank",
        f"{spec.name}: its listing no longer shows {missing} of {base} linked accounts, more than the limit of "
        f"{limit}; it is not believed, and nothing is sent but leaves of accounts that were seen. "
        "Check the target and the rights of its key.",
    )


def _blank(spec: TargetSpec, linked: _Linked, observation: Observation, base: int) -> Disbelief | None:
    """A listing in which an attribute is empty for too many accounts that had a value; see decision 0015."""
    guards = spec.settings.guards
    if guards is None or not linked.pairs.height:
        return None
    lost: dict[str, str] = {}
    for name, had, blank in _emptied(spec, linked, observation):
        # What a vendor demands of every account nobody can have emptied by hand
        certain = spec.attributes[name].required or name in spec.settings.match
        limit = limit_of(guards.missing, had) if certain else max(limit_of(guards.missing, base), had // 2)
        if blank > limit:
            lost[name] = f"{name} for {blank} of {had} (limit {limit})"
    if not lost:
        return None
    named = ", ".join([*lost.values()][:_NAMED])
    more = f" and {len(lost) - _NAMED} attributes more" if len(lost) > _NAMED else ""
    return Disbelief(
        "listing_blank",
        f"{spec.name}: linked accounts that had a value show none in its listing: {named}{more}; it is not believed, "
        "and nothing is sent but leaves of accounts that were seen. Check the rights of its key. If the values are "
        f"meant to be gone, raise targets.{spec.name}.guards.missing for one run.",
        tuple(lost),
    )


class _Linked:
    """Linked accounts that the listing shows, side by side with what is wanted and what the ledger knows of them."""

    def __init__(
        self, desired: pl.DataFrame, pairs: pl.DataFrame, observation: Observation, ledger: pl.DataFrame
    ) -> None:
        whole = not pairs[LEDGER_ROW].null_count() and not pairs[OBSERVED_ROW].null_count()
        seen = pl.col(LEDGER_ROW).is_not_null() & pl.col(OBSERVED_ROW).is_not_null()
        self.pairs = pairs if whole else pairs.filter(seen)
        self.names = list(dict.fromkeys(column[2:] for column in desired.columns if column.startswith(("w:", "m:"))))
        self._sides = (
            (desired, self.pairs[DESIRED_ROW]),
            (observation.frame, self.pairs[OBSERVED_ROW]),
            (ledger, self.pairs[LEDGER_ROW]),
        )

    def columns(self, desired: Iterable[str], observed: Iterable[str], ledger: Iterable[str]) -> pl.DataFrame:
        """Some columns of each side; one that a side does not have is null."""
        chosen = []
        for (side, rows), names in zip(self._sides, (desired, observed, ledger), strict=True):
            there = [name if name in side.columns else _NOTHING.alias(name) for name in names]
            chosen.append(side.select(there).select(pl.all().gather(rows)))
        return pl.concat([self.pairs.select(ACCOUNT), *chosen], how="horizontal")


def _emptied(spec: TargetSpec, linked: _Linked, observation: Observation) -> Iterable[tuple[str, int, int]]:
    """Per attribute: its name, how many linked accounts that should have a value had one, and how many lost it."""
    seen, last = observation.frame, observation.last
    for name in linked.names:
        if name not in seen.columns or not seen[name].null_count() or not _minded(spec, name):
            continue
        glance = linked.columns((f"w:{name}", f"m:{name}"), (name,), ())
        # Nobody lacks what they should have: nearly always so, which then costs no more than this
        if not glance.select((_there(_expected(name)) & ~_there(pl.col(name))).any()).item():
            continue
        rows = linked.columns(
            (STANDING, f"w:{name}", f"m:{name}"), (name, READ, DETAILS_READ_AT), ("_state", "_recorded", f"l:{name}")
        )
        known = pl.col(f"l:{name}")
        read_at = pl.coalesce(pl.col(READ).cast(pl.Float64), pl.lit(observation.began))
        if spec.attributes[name].detail:
            read_at = pl.coalesce(pl.col(DETAILS_READ_AT).cast(pl.Float64, strict=False), read_at)
        # A leaver is only asked for what `leaver` says, and what was written since it was read is news
        rows = rows.filter(
            _there(_expected(name)),
            pl.col("_state") != "left",
            pl.col(STANDING) != LEAVER,
            (pl.col("_recorded") <= read_at).fill_null(value=True),
            # What we emptied ourselves is known to be empty
            known.ne_missing(""),
        )
        then = _NOTHING
        if last is not None and name in last.columns:
            before = last.select(ACCOUNT, pl.col(name).alias("_then")).unique(ACCOUNT)
            rows, then = rows.join(before, on=ACCOUNT, how="left", maintain_order="left"), pl.col("_then")
        evident = pl.lit(value=_may_be_seen(spec, rows, observation, name))
        had = rows.filter(_there(then) | (_there(known) & evident))
        yield name, had.height, had.filter(~_there(pl.col(name))).height


def _minded(spec: TargetSpec, name: str) -> bool:
    """Whether anything follows from an attribute: accounts are matched by it, or it is brought about again."""
    rule = spec.settings.attributes.get(name)
    return name in spec.settings.match or rule is None or rule.authority == "roster"


def _expected(name: str) -> pl.Expr:
    return pl.coalesce(f"m:{name}", f"w:{name}")


def _may_be_seen(spec: TargetSpec, rows: pl.DataFrame, observation: Observation, name: str) -> bool:
    """Whether the ledger may speak for what was seen before.

    It may not for what the last believed listing showed of nobody: then this target never shows it, or not to this key.
    """
    attribute, last = spec.attributes[name], observation.last
    shown = observation.frame[name].null_count() < observation.frame.height
    if last is None:
        # What hides from everybody is taken from the ledger anyway
        return shown or not attribute.detail
    if shown or not last.height:
        return True
    if name in last.columns and last[name].null_count() < last.height:
        return True
    if attribute.required or attribute.detail:
        return False
    return not rows.join(last.select(ACCOUNT), on=ACCOUNT, how="semi").filter(_there(pl.col(f"l:{name}"))).height


def recalled(observation: Observation, names: Collection[str], ledger: pl.DataFrame) -> Observation:
    """The observation, its empty values of some attributes filled from the last believed one, or else the ledger."""
    if not names:
        return observation
    frame, columns = observation.frame, observation.frame.columns
    for prefix, source in (("", observation.last), ("l:", ledger)):
        if source is not None:
            there = [name for name in names if f"{prefix}{name}" in source.columns]
            known = source.select(ACCOUNT, *(pl.col(f"{prefix}{name}").alias(f"was:{name}") for name in there))
            frame = frame.join(known.unique(ACCOUNT), on=ACCOUNT, how="left", maintain_order="left").with_columns(
                pl.coalesce(pl.col(name).replace("", None), pl.col(f"was:{name}").replace("", None)).alias(name)
                for name in there
            )
            frame = frame.select(columns)
    return replace(observation, frame=frame)


def _there(value: pl.Expr) -> pl.Expr:
    return value.fill_null("") != ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Somebody who must not be created, because one of the accounts there may be theirs."""

    person: str
    sentence: str


def doubts(
    spec: TargetSpec,
    creates: pl.DataFrame,
    observation: Observation,
    owned: pl.Series,
    apart: Mapping[str, Collection[str]] | None = None,
) -> list[Doubt]:
    """Who may have an account that we cannot recognise, since it does not show what accounts are matched by.

    Only an attribute that the vendor demands of every account tells: one that does not show it hides it. If none shows
    it, nobody can be distinguished; if only some hide it, those are in doubt whose other names are the same.
    Where the target says that it could not read whose an account is (`Observation.unread`), everybody is in doubt.

    Args:
        creates: rows of the desired frame that have no account.
        owned: accounts that belong to somebody.
        apart: by person the accounts that were unlinked from them by hand.
    """
    if not observation.complete or not creates.height:
        return []
    accounts = observation.frame.filter(pl.col(UNTOUCHABLE).is_null())
    required = [name for name, attribute in spec.attributes.items() if attribute.required and name in accounts.columns]
    found: dict[str, Doubt] = {}
    for name in (name for name in spec.settings.match if name in required and accounts[name].null_count()):
        hidden = accounts.filter(~_there(pl.col(name)), ~pl.col(ACCOUNT).is_in(owned.implode()))
        if not hidden.height:
            continue
        blind = accounts[name].null_count() == accounts.height
        alike = _Alike(hidden, [one for one in required if one != name and f"w:{one}" in creates.columns])
        for row in creates.filter(_there(pl.col(f"m:{name}"))).iter_rows(named=True):
            account = alike.find(row)
            if not blind and account is None:
                continue
            which = "everybody" if blind else f"account {account}"
            sentence = (
                f"not created: {spec.name} hides the {name} of {which} from our key, so an account of theirs may be "
                f"there already. Give the key the right to see the {name} of everybody."
            )
            found.setdefault(row[PERSON], Doubt(row[PERSON], sentence))
    unread = sorted(observation.unread.difference(owned))
    for person in creates[PERSON] if unread else ():
        mine = [account for account in unread if account not in (apart or {}).get(person, ())]
        if mine:
            found.setdefault(person, Doubt(person, _unread(spec.name, person, mine)))
    return list(found.values())


def _unread(target: str, person: str, accounts: Sequence[str]) -> str:
    named = ", ".join(accounts[:_NAMED])
    more = f" and {len(accounts) - _NAMED} more" if len(accounts) > _NAMED else ""
    link = f"provisioner link {shlex.quote(person)} {target} ACCOUNT"
    return (
        f"not created: {target} lists account {named}{more}, but does not show whose that is, so it may be theirs. "
        f"Each run asks again. If it is theirs: {link}. If not, say whose it is by the same command, or delete it in "
        f"{target}."
    )


class _Alike:
    """Accounts by those of some attributes that they show."""

    def __init__(self, accounts: pl.DataFrame, names: Collection[str]) -> None:
        self._by: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
        for row in accounts.iter_rows(named=True):
            shown = tuple(name for name in names if row[name])
            self._by.setdefault(shown, {}).setdefault(tuple(row[name].lower() for name in shown), row[ACCOUNT])

    def find(self, row: Mapping[str, Any]) -> str | None:
        """An account that shows nothing else than a person should have; None if there is none."""
        for shown, known in self._by.items():
            account = known.get(tuple((row[f"w:{name}"] or "").lower() for name in shown))
            if account is not None:
                return account
        return None


@dataclass(frozen=True, slots=True)
class Trust:
    """How far an observation is believed: `missing` ought to be in it and are not, of whom the `unpaired` have no other
    account there; `base` is what guards measure by."""

    missing: pl.DataFrame
    unpaired: pl.DataFrame
    base: int
    unbelieved: Disbelief | None


def trust_of(
    spec: TargetSpec,
    desired: Desired,
    found: Correlation,
    observation: Observation,
    ledger: pl.DataFrame,
    circumstances: Planning,
    unkept: Mapping[str, int],
) -> Trust:
    """How far an observation is believed.

    Args:
        unkept: by person whose account was never shown, how often in a row it was made.
    """
    # Of what was never shown a listing cannot have lost anything; it fails by name
    never = [person for person, makes in unkept.items() if makes >= MOST]
    missing = _missing(desired, found, ledger).filter(~pl.col(PERSON).is_in(never))
    unpaired = missing
    if missing.height:
        unpaired = missing.join(found.pairs.select(PERSON), on=PERSON, how="anti", maintain_order="left")
    left = int((ledger["_state"] == "left").gather(found.pairs[LEDGER_ROW].drop_nulls()).sum())
    base = found.pairs.height - left + unpaired.height + circumstances.others
    why = disbelief(spec, desired.frame, found.pairs, observation, ledger, missing=missing.height, base=base)
    return Trust(missing, unpaired, base, why)


def _missing(desired: Desired, found: Correlation, ledger: pl.DataFrame) -> pl.DataFrame:
    """Whose account ought to be in the listing and is not: a leaver's may have been deleted since, which is no news."""
    return (
        desired.frame.select(PERSON, STANDING)
        .filter(pl.col(PERSON).is_in(list(found.missing)))
        .join(ledger.select(PERSON, ACCOUNT, "_state"), on=PERSON, how="inner", maintain_order="left")
        .filter(pl.col("_state") != "left")
    )
