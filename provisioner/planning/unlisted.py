"""What no listing shows of an account, and what that may be where the ledger is behind; and what all that it shows says
of a leaver. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import polars as pl

from provisioner.model.attributes import Type, fold
from provisioner.model.unconfirmed import parted
from provisioner.planning.compiled import CompiledTarget
from provisioner.planning.desired import LEAVER, MEMBER, STANDING, desired_accounts
from provisioner.planning.spec import TargetSpec


def unlisted_names(spec: TargetSpec, names: Iterable[str]) -> list[str]:
    """Those attributes that no listing shows and that can be written again."""
    known = (name for name in dict.fromkeys(names) if name in spec.attributes)
    return [name for name in known if not spec.attributes[name].observed and spec.attributes[name].on_update]


def telling(
    spec: TargetSpec,
    compiled: CompiledTarget,
    people: pl.DataFrame,
    *,
    today: date,
    today_utc: date,
    ends: bool,
) -> frozenset[str]:
    """The listed attributes by which a leaver's account is told from a member's: no member is given a leaver's value.

    Args:
        people: see `plan_target`; the others: see `desired_accounts`.
    """
    names = [name for name in spec.settings.leaver if name in spec.attributes and spec.attributes[name].observed]
    given: list[dict[str, set[str]]] = []
    for verdict, standing in (("employed", MEMBER), ("leaver", LEAVER)):
        those = people.with_columns(pl.lit(verdict).alias("_verdict"))
        frame = desired_accounts(spec, compiled, those, today=today, today_utc=today_utc, ends=ends).frame
        frame = frame.filter(pl.col(STANDING) == standing)
        given.append({name: _folded(spec, name, frame) for name in names})
    members, leavers = given
    return frozenset(name for name in names if leavers[name] and leavers[name].isdisjoint(members[name]))


def _folded(spec: TargetSpec, name: str, frame: pl.DataFrame) -> set[str]:
    column = f"w:{name}"
    if column not in frame.columns:
        return set()
    return {fold(text, spec.attributes[name].type) or "" for text in frame[column].drop_nulls().unique().to_list()}


def unlisted(
    spec: TargetSpec,
    compiled: CompiledTarget,
    people: pl.DataFrame,
    ledger: pl.DataFrame,
    *,
    today: date,
    today_utc: date,
    ends: bool,
) -> Mapping[str, Sequence[str]]:
    """By mapped attribute that no listing shows and that can be written again, what an account may hold of it.

    Of a set: the members (lower case) that the mapping yields for anybody, or that the ledger has of anybody. Of any
    other attribute: nothing, as nobody knows. See `model.unconfirmed`.

    Args:
        people, ledger: see `plan_target`; the others: see `desired_accounts`.
    """
    names = unlisted_names(spec, [*spec.settings.attributes, *spec.settings.leaver])
    if not names:
        return {}
    # What a leaver would hold as a member, they may hold still
    everybody = people.with_columns(pl.lit("employed").alias("_verdict"))
    desired = desired_accounts(spec, compiled, everybody, today=today, today_utc=today_utc, ends=ends).frame
    found: dict[str, Sequence[str]] = {}
    for name in names:
        if spec.attributes[name].type is not Type.SET:
            found[name] = ()
            continue
        sides = [(desired, f"w:{name}"), (desired, f"m:{name}"), (ledger, f"l:{name}")]
        texts = {
            text
            for frame, column in sides
            if column in frame.columns
            for text in frame[column].drop_nulls().unique().to_list()
        }
        held = {member for text in texts for side in parted(text) for member in side}
        if held:
            found[name] = sorted(held)
    return found
