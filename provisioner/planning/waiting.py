"""Accounts whose details are still to be read: what a plan leaves alone until then. Pure.

What the listing shows of them is planned as ever, leaves above all. What only details show is unknown, which is not the
same as empty; and whoever has no account yet may have one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from provisioner.planning.claims import Claim
from provisioner.planning.correlate import Correlation
from provisioner.planning.desired import MEMBER, STANDING
from provisioner.planning.spec import ACCOUNT, Observation, TargetSpec


@dataclass(frozen=True, slots=True)
class Sifted:
    """What was found, without what only details can say; `late` are claims that these settle."""

    found: Correlation
    late: Sequence[Claim]

    def sentence(self, claim: Claim, target: str) -> str:
        """Why nothing is done yet about who made a claim."""
        return (
            f"account {claim.account} has this person's {claim.attribute}; whose it is shows when {target}'s details "
            "of it are read. Nothing is to be done: that goes on by itself."
        )


def unidentified(observation: Observation) -> frozenset[str]:
    """The accounts of which nobody knows whose they are before their details are read."""
    return observation.unread & observation.waiting


def without_unidentified(found: Correlation, observation: Observation) -> Sifted:
    """What was found, without accounts that only look as if they were nobody's, or somebody else's."""
    unknown = unidentified(observation)
    if not unknown:
        return Sifted(found, ())
    late = [claim for claim in found.claims if claim.account in unknown and not claim.unlinked]
    claims = tuple(claim for claim in found.claims if claim not in late)
    orphans = tuple(account for account in found.orphans if account not in unknown)
    return Sifted(replace(found, claims=claims, orphans=orphans), late)


def without_unread(spec: TargetSpec, frame: pl.DataFrame, observation: Observation) -> pl.DataFrame:
    """The frame, in which of members whose details are still to be read nothing is wanted that only these show.

    Of a leaver everything stays wanted: to write once more what is so already does no harm, to leave it out might.
    """
    names = [
        column for column in frame.columns
        if column.startswith("w:") and column[2:] in spec.attributes and spec.attributes[column[2:]].detail
    ]  # fmt: skip
    if not observation.waiting or not names:
        return frame
    unread = (pl.col(STANDING) == MEMBER) & pl.col(ACCOUNT).is_in(list(observation.waiting))
    return frame.with_columns(
        pl.when(unread.fill_null(value=False)).then(None).otherwise(pl.col(name)).alias(name) for name in names
    )


def not_created_yet(target: str, accounts: int) -> str:
    """Why somebody is not created before the details of so many accounts are read."""
    return (
        f"not created yet: {target}'s details of {accounts} accounts are still to be read, and one of them may be "
        "theirs. Nothing is to be done: that goes on by itself."
    )
