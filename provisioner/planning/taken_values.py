"""Changes that cannot be sent as they are: a value that somebody else has, and people who exchange theirs."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from provisioner.model.attributes import Attribute
from provisioner.planning.claims import folded
from provisioner.planning.desired import MEMBER, PERSON, STANDING
from provisioner.planning.spec import ACCOUNT, TargetSpec


def without_taken(
    spec: TargetSpec, frame: pl.DataFrame, observed: pl.DataFrame
) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """Leave alone what another account has taken: the vendor would refuse to give it to a second one.

    Args:
        frame: as `differing` left it.

    Returns:
        The frame, and a to-do for each person of whom something is left alone.
    """
    todos: list[tuple[str, str]] = []
    for name in spec.settings.match:
        attribute = spec.attributes[name]
        if not attribute.chosen_by_user or name not in observed.columns or f"d:{name}" not in frame.columns:
            continue
        wanted = frame.filter(pl.col(f"d:{name}"))
        if not wanted.height:
            continue
        taken = _held_by_others(wanted, observed, name, attribute)
        if not taken.height:
            continue
        frame = _left_alone(frame, name, taken[PERSON])
        todos += [
            (person, f"{name} cannot become {value}: account {holder} in {spec.name} has it. Change it there.")
            for person, value, holder in taken.select(PERSON, "_value", "_holder").iter_rows()
        ]
    return frame, todos


def _held_by_others(rows: pl.DataFrame, observed: pl.DataFrame, name: str, attribute: Attribute) -> pl.DataFrame:
    """Of these rows those whose wanted value another account has, with `_value` and `_holder`."""
    wanted = pl.col(f"w:{name}").replace("", None)
    asked = rows.select(PERSON, ACCOUNT, wanted.alias("_value"), folded(wanted, attribute.type).alias("_m"))
    holders = observed.select(pl.col(ACCOUNT).alias("_holder"), folded(pl.col(name), attribute.type).alias("_m"))
    taken = asked.join(holders, on="_m", how="inner", maintain_order="left")
    return taken.filter(pl.col("_holder") != pl.col(ACCOUNT))


def _left_alone(frame: pl.DataFrame, name: str, people: pl.Series) -> pl.DataFrame:
    """The frame in which an attribute of some people is not changed, nor travels with another change."""
    those = pl.col(PERSON).is_in(people.unique().to_list())
    kept = pl.when(those).then(None).otherwise(pl.col(f"w:{name}")).alias(f"w:{name}")
    return frame.with_columns(pl.col(f"d:{name}") & ~those, kept)


def without_circles(
    spec: TargetSpec, frame: pl.DataFrame, observed: pl.DataFrame
) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """Leave alone what goes round in a circle: each is to get a value that the next still has, so none can be first.

    Args:
        frame: as `differing` left it.

    Returns:
        The frame, and a to-do for each person of whom something is left alone.
    """
    todos: list[tuple[str, str]] = []
    for name, attribute in spec.attributes.items():
        if not attribute.unique or name not in observed.columns or f"d:{name}" not in frame.columns:
            continue
        moving = frame.filter(pl.col(f"d:{name}") & (pl.col(STANDING) == MEMBER))
        if moving.height < 2:
            continue
        taken = _held_by_others(moving, observed, name, attribute)
        after = dict(taken.select(ACCOUNT, "_holder").iter_rows())
        circling = [account for account in after if _comes_back(account, after)]
        if not circling:
            continue
        stuck = taken.filter(pl.col(ACCOUNT).is_in(circling)).sort(PERSON)
        frame = _left_alone(frame, name, stuck[PERSON])
        why = "waits for another in turn. Change one of them there by hand; the others follow."
        todos += [
            (person, f"{name} cannot become {value}: account {holder} in {spec.name} has it, and {why}")
            for person, value, holder in stuck.select(PERSON, "_value", "_holder").iter_rows()
        ]
    return frame, todos


def _comes_back(account: str, after: Mapping[str, str]) -> bool:
    """Whether the way from an account, to whoever has what it is to get, leads back to it."""
    here = after.get(account)
    for _ in range(len(after)):
        if here is None or here == account:
            break
        here = after.get(here)
    return here == account
