"""Attributes that are set once, in accounts that we made and of which the target refused the value. Pure."""

from __future__ import annotations

import polars as pl

from provisioner.planning.claims import folded
from provisioner.planning.desired import MEMBER, PERSON, STANDING
from provisioner.planning.refused_once import refused_of, set_once
from provisioner.planning.spec import TargetSpec


def sent_again(spec: TargetSpec, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """Mark what was refused and is still empty, and for which another value is wanted by now.

    Args:
        frame: as `provisioner.planning.diff.differing` left it.

    Returns:
        The frame with one boolean ``r:<attribute>`` each, where somebody has one, and a to-do for each person of whom
        the refused value is still wanted.
    """
    todos: list[tuple[str, str]] = []
    rules = spec.settings.attributes
    for name in sorted(set_once(rules)):
        refused, wanted, flag = pl.col(f"l:{refused_of(name)}"), pl.col(f"w:{name}"), f"d:{name}"
        if f"l:{refused_of(name)}" not in frame.columns or flag not in frame.columns:
            continue
        missing = (
            pl.col(flag)
            & (pl.col(STANDING) == MEMBER)
            & (pl.col("_matched") == "link")
            & pl.col("_created")
            & (refused != "")
            & (wanted != "")
            & pl.col(f"h:{name}").is_null()
        ).fill_null(value=False)
        attribute = spec.attributes[name]
        # Whose value was chosen among free ones has no other one
        stays = pl.lit(value=bool(rules[name].first_free) or not attribute.on_update)
        same = stays | folded(wanted, attribute.type).eq_missing(folded(refused, attribute.type))
        marked = frame.select(PERSON, refused.alias("_value"), missing.alias("_missing"), same.alias("_same"))
        stuck = marked.filter(pl.col("_missing") & pl.col("_same"))
        todos += [(person, _sentence(spec, name, value)) for person, value in stuck.select(PERSON, "_value").rows()]
        again = marked["_missing"] & ~marked["_same"]
        if again.any():
            frame = frame.with_columns(again.alias(f"r:{name}"))
    return frame, todos


def _sentence(spec: TargetSpec, name: str, value: str) -> str:
    return (
        f"{name} {value!r} was refused by {spec.name} for the account that we made, and is set once, so the same value "
        f"is not sent again. Set it in {spec.name} by hand, or let the roster or the mapping say another one."
    )
