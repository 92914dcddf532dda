"""Accounts that a listing does not show yet, and accounts that were acknowledged and that no listing ever showed. Pure.

A vendor may show a new account minutes after it was made. Until then the link is believed, so that nobody is made
twice. Afterwards the account is missing and is made again. One that was made twice in a row and never shown is not made
again by itself: the vendor says that it keeps it, and does not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from provisioner.planning.desired import PERSON
from provisioner.planning.spec import ACCOUNT, Observation, Planning, TargetSpec

#: How often in a row an account is made that no listing shows.
MOST: Final = 2
CODE: Final = "not_kept"


def settling(spec: TargetSpec, ledger: pl.DataFrame, circumstances: Planning) -> frozenset[str]:
    """The people whose link is so new that a listing may not show their account yet."""
    guards = spec.settings.guards
    if guards is None:
        return frozenset()
    since = circumstances.now.timestamp() - guards.settle.total_seconds()
    return frozenset(ledger.filter(pl.col("_linked") > since)[PERSON].to_list())


def note(spec: TargetSpec, pairs: pl.DataFrame, young: Collection[str], observed: pl.Series) -> tuple[str, ...]:
    """What a plan says of new accounts that are not shown.

    Args:
        pairs: see `Correlation`; `observed` are the accounts that were seen.
    """
    if not young:
        return ()
    mine = pairs.filter(pl.col(PERSON).is_in(list(young)), ~pl.col(ACCOUNT).is_in(observed.implode()))
    if not mine.height:
        return ()
    sentence = (
        f"{spec.name} does not show {mine.height} new accounts yet: for {_minutes(spec)} after it was made or linked "
        "an account counts as being there."
    )
    return (sentence,)


def never_shown(missing: Collection[str], ledger: pl.DataFrame, observation: Observation) -> Mapping[str, int]:
    """By person whose account is missing: how often in a row it was made and not shown, if it ever was.

    Args:
        missing: the people whose linked account an observation does not show.
    """
    if not missing:
        return {}
    rows = ledger.filter(pl.col(PERSON).is_in(list(missing)), pl.col("_makes") > 0)
    shown = set(observation.listed.to_list()) if observation.listed is not None and rows.height else None
    # What was made again counts until it is shown; of what was made once only the last listing tells
    return {
        person: makes
        for person, account, makes in rows.select(PERSON, ACCOUNT, "_makes").iter_rows()
        if makes >= MOST or (shown is not None and account not in shown)
    }


def shown_at_last(pairs: pl.DataFrame, ledger: pl.DataFrame, observed: pl.Series) -> tuple[str, ...]:
    """The people whose account was made again and is shown now."""
    again = ledger.filter(pl.col("_makes") >= MOST).select(PERSON)
    if not again.height:
        return ()
    mine = pairs.filter(pl.col(ACCOUNT).is_in(observed.implode())).join(again, on=PERSON, how="semi")
    return tuple(mine[PERSON].to_list())


def sentence(spec: TargetSpec, makes: int) -> str:
    """The sentence for the operator about an account that was made `makes` times and never shown."""
    return (
        f"{spec.name} accepted a new account for this person {makes} times in a row, and its listing never showed one. "
        "It is not made again by itself. See in the target whether it keeps what it accepts, and whether the key sees "
        "the accounts that it makes; then send it again with `provisioner retry RUN`."
    )


def _minutes(spec: TargetSpec) -> str:
    guards = spec.settings.guards
    return f"{guards.settle.total_seconds() / 60:g} min" if guards else "0 min"
