"""Accounts of leavers that somebody who works here may have a right to: a person settles whose they are. Pure.

The leave of such an account waits, and so does the account that would be made next to it.

A conflict so stops both sides. The claim has to be worth something: a match that adopts nobody (see
`provisioner.planning.claims`) stops no leave, or anybody could keep their account by taking a colleague's name.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import polars as pl

from provisioner.model.attributes import Type
from provisioner.planning.claims import folded
from provisioner.planning.correlate import Correlation
from provisioner.planning.desired import LEAVER, PERSON, STANDING, Desired
from provisioner.planning.same_person import MANY
from provisioner.planning.spec import ACCOUNT, Alike, Planning, TargetSpec


def contested(spec: TargetSpec, desired: Desired, found: Correlation, circumstances: Planning) -> Mapping[str, str]:
    """By the person whom the ledger has as an account's owner, why their leave waits.

    So does that of somebody who leaves only by a status that no clean roster held yet.
    """
    claims = [(conflict.owner, conflict.person) for conflict in found.conflicts if conflict.owner is not None]
    people = desired.frame.select(PERSON, STANDING).filter(pl.col(PERSON).is_in([new for _, new in claims]))
    here = set(people.filter(pl.col(STANDING) != LEAVER)[PERSON])
    claims = [(old, new) for old, new in claims if new in here]
    # Of these it is known that they work here, though they may be none of those whom the plan is about
    claims += [(old, new) for new, alike in circumstances.alike.items() for old in alike.old]
    if circumstances.disputed:
        owners = found.pairs.filter(pl.col(ACCOUNT).is_in(list(circumstances.disputed)))
        claims += [(old, circumstances.disputed[one]) for old, one in owners.select(PERSON, ACCOUNT).iter_rows()]
    new_words = {person: _unfamiliar(person, status) for person, status in circumstances.unfamiliar.items()}
    return new_words | {old: _sentence(spec.name, old, new) for old, new in claims if old != new}


def _unfamiliar(person: str, status: str) -> str:
    return (
        f"{person} leaves only by {status}, which no clean roster held yet. If it means that somebody left, approve "
        "this; it is known from then on. If not, correct the row or roster.employed."
    )


def resembling(
    spec: TargetSpec, creates: pl.DataFrame, desired: Desired, ledger: pl.DataFrame, circumstances: Planning
) -> dict[str, Alike]:
    """Who would get an account next to one with the same address that belongs to somebody who left.

    The rows of leavers often lose their address, so the ledger says which one their account has.

    Args:
        creates: rows of the desired frame that have no account.
        ledger: see `plan_target`.
    """
    found: dict[str, set[str]] = {}
    names = [
        name
        for name in spec.settings.attributes
        if spec.attributes[name].type is Type.EMAIL and (name in spec.settings.match or name == "email")
    ]
    for name in names:
        if not creates.height or f"w:{name}" not in creates.columns or f"l:{name}" not in ledger.columns:
            continue
        wanted = creates.select(pl.col(PERSON).alias("_new"), folded(pl.col(f"w:{name}"), Type.EMAIL).alias("_m"))
        wanted = wanted.filter(pl.col("_m").fill_null("") != "")
        held = ledger.select(PERSON, "_state", folded(pl.col(f"l:{name}"), Type.EMAIL).alias("_m"))
        held = held.filter(pl.col("_m").is_in(wanted["_m"].implode()))
        if not held.height:
            continue
        held = held.join(desired.frame.select(PERSON, STANDING), on=PERSON, how="left")
        held = held.filter((pl.col(STANDING) == LEAVER) | (pl.col(STANDING).is_null() & (pl.col("_state") == "left")))
        held = held.filter(pl.len().over("_m") <= MANY)
        for new, old in wanted.join(held, on="_m").select("_new", PERSON).iter_rows():
            found.setdefault(new, set()).add(old)
    settled = {*circumstances.alike, *circumstances.newcomers}
    return {new: _beside(spec.name, new, sorted(old)) for new, old in found.items() if new not in settled}


def _beside(target: str, new: str, old: list[str]) -> Alike:
    one, other = shlex.quote(old[0]), shlex.quote(new)
    return Alike(
        tuple(old),
        f"{new} has the address of the account that {', '.join(old)} left in {target}, and may be the same person with "
        f"a new key. If they are: provisioner rekey {one} {other}. If {new} is somebody new: approve this, or "
        f"provisioner rekey {one} {other} --different",
    )


def _sentence(target: str, old: str, new: str) -> str:
    one, other = shlex.quote(old), shlex.quote(new)
    return (
        f"{old} leaves, but {new}, who has no account in {target}, may be the same person. If they are: provisioner "
        f"rekey {one} {other}. If they are not, correct one of the two rows, or approve this leave."
    )
