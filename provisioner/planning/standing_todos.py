"""To-dos that hold as long as something is so: an account that cannot be used, a value that no vendor takes. Pure."""

from __future__ import annotations

import polars as pl

from provisioner.planning.correlate import DESIRED_ROW, OBSERVED_ROW
from provisioner.planning.desired import MEMBER, PERSON, STANDING
from provisioner.planning.spec import ACCOUNT, Observation, TargetSpec


def unusable(
    spec: TargetSpec, desired: pl.DataFrame, pairs: pl.DataFrame, observation: Observation
) -> list[tuple[str, str]]:
    """A to-do for each member whose account is in a state in which they cannot use it, and which no call changes.

    Args:
        pairs: see `provisioner.planning.correlate.Correlation`.
    """
    todos: list[tuple[str, str]] = []
    seen = pairs.filter(pl.col(OBSERVED_ROW).is_not_null())
    for name, attribute in spec.attributes.items():
        if not attribute.usable or name not in observation.frame.columns or not seen.height:
            continue
        states = pl.DataFrame(
            {
                PERSON: seen[PERSON],
                ACCOUNT: seen[ACCOUNT],
                STANDING: desired[STANDING].gather(seen[DESIRED_ROW]),
                "_state": observation.frame[name].gather(seen[OBSERVED_ROW]),
            }
        )
        states = states.filter(
            pl.col(STANDING) == MEMBER, pl.col("_state").is_not_null(), ~pl.col("_state").is_in(list(attribute.usable))
        )
        advice = (attribute.advice or f"change it in {spec.name} by hand").rstrip(".")
        todos += [
            (person, f"should have access, but {name} of account {account} is {state}: {advice}.")
            for person, account, state in states.select(PERSON, ACCOUNT, "_state").iter_rows()
        ]
    return todos


def without_unfit(spec: TargetSpec, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """Leave alone what the vendor would refuse for its form.

    Args:
        frame: as `provisioner.planning.diff.differing` left it.

    Returns:
        The frame, and a to-do for each person of whom something is left alone.
    """
    todos: list[tuple[str, str]] = []
    for name, attribute in spec.attributes.items():
        flag, column = f"d:{name}", f"w:{name}"
        if attribute.update_fault is None or flag not in frame.columns or not frame.height:
            continue
        values = frame.filter(pl.col(flag))[column].drop_nulls().unique()
        faults = {value: fault for value in values if value and (fault := attribute.update_fault(value))}
        if not faults:
            continue
        bad = pl.col(flag) & pl.col(column).is_in(list(faults)).fill_null(value=False)
        todos += [
            (person, f"{name} cannot become {value!r}: {faults[value]}.")
            for person, value in frame.filter(bad).select(PERSON, column).iter_rows()
        ]
        # What is not sent must not travel with another change either
        frame = frame.with_columns(
            (pl.col(flag) & ~bad).alias(flag), pl.when(bad).then(None).otherwise(pl.col(column)).alias(column)
        )
    return frame, todos
