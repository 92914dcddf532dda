"""Who leaves a target, and whose leave is unfinished; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from provisioner.model.account import State
from provisioner.planning.claims import Claim
from provisioner.planning.compiled import CompiledTarget
from provisioner.planning.desired import LEAVER, PERSON, REASON, STANDING, STILL, standings
from provisioner.planning.rewrite_loops import LOOPS, Counted
from provisioner.planning.spec import ACCOUNT

_EXCLUDED = "excluded"


def leaving(compiled: CompiledTarget, people: pl.DataFrame) -> tuple[frozenset[str], frozenset[str]]:
    """The keys of those who leave a target, and of those of whom nobody can say it.

    Args:
        people: see `desired_accounts`.
    """
    frame = standings(compiled, people)
    return frozenset(frame.filter(pl.col(STANDING) == LEAVER)[PERSON].to_list()), unsettled(frame)


def unsettled(desired: pl.DataFrame) -> frozenset[str]:
    """The people who stay as they are, since their row or `scope` gives neither yes nor no."""
    return frozenset(desired.filter((pl.col(STANDING) == STILL) & (pl.col(REASON) != _EXCLUDED))[PERSON].to_list())


def to_settle(claims: Sequence[Claim], desired: pl.DataFrame) -> list[Claim]:
    """The claims that somebody has to settle: what was unlinked from a leaver is settled, as they get no account."""
    people = [claim.person for claim in claims if claim.unlinked]
    rows = desired.filter(pl.col(PERSON).is_in(people), pl.col(STANDING) == LEAVER) if people else desired.clear()
    gone = frozenset(rows[PERSON].to_list())
    return [claim for claim in claims if not (claim.unlinked and claim.person in gone)]


def unfinished_leavers(
    desired: pl.DataFrame, pairs: pl.DataFrame, ledger: pl.DataFrame, states: Mapping[str, State]
) -> frozenset[str]:
    """Who leaves and has an account, of which the ledger does not say that it is left.

    Args:
        desired: the frame of `desired_accounts`; `pairs` people and their accounts, see `correlate`.
        states: what the ledger is about to learn, by person.
    """
    leavers = desired.filter(pl.col(STANDING) == LEAVER).select(PERSON)
    linked = ledger.filter(pl.col(ACCOUNT).is_not_null()).select(PERSON, "_state")
    known = leavers.join(linked, on=PERSON, how="inner").iter_rows()
    found = dict.fromkeys(leavers.join(pairs.select(PERSON), on=PERSON, how="semi")[PERSON].to_list(), "active")
    found |= dict(known)
    return frozenset(person for person, state in found.items() if states.get(person, state) != "left")


def accountless_leavers(desired: pl.DataFrame, pairs: pl.DataFrame, ledger: pl.DataFrame) -> frozenset[str]:
    """Who leaves and has no account, as far as the target shows and the ledger tells.

    Args:
        desired, pairs: see `unfinished_leavers`.
    """
    leavers = desired.filter(pl.col(STANDING) == LEAVER).select(PERSON)
    without = leavers.join(pairs.select(PERSON), on=PERSON, how="anti")
    linked = ledger.filter(pl.col(ACCOUNT).is_not_null()).select(PERSON)
    return frozenset(without.join(linked, on=PERSON, how="anti")[PERSON].to_list())


def unkept_leavers(desired: pl.DataFrame, ledger: pl.DataFrame, counted: Sequence[Counted]) -> frozenset[str]:
    """Who leaves and whose leave was acknowledged, while the target shows otherwise.

    Args:
        counted: what this plan found out; of the others the ledger tells.
    """
    known = ledger.filter(pl.col(LOOPS).is_not_null(), pl.col("_state") == "left").select(PERSON)
    found = set(desired.filter(pl.col(STANDING) == LEAVER).join(known, on=PERSON, how="semi")[PERSON].to_list())
    found -= {one.person for one in counted}
    return frozenset(found | {one.person for one in counted if one.left and one.loops})
