"""What no listing shows of an account, and what that may be where the ledger is behind. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from provisioner.model.attributes import Type
from provisioner.model.unconfirmed import parted
from provisioner.planning.desired import CompiledTarget, desired_accounts
from provisioner.planning.spec import TargetSpec


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
    names = [
        name
        for name in dict.fromkeys([*spec.settings.attributes, *spec.settings.leaver])
        if name in spec.attributes and not spec.attributes[name].observed and spec.attributes[name].on_update
    ]
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
