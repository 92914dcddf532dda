"""Who gets an account: members without one, whom the target would take."""

from __future__ import annotations

import polars as pl

from provisioner.planning.correlate import DESIRED_ROW, Conflict, Correlation, colliding
from provisioner.planning.desired import MEMBER, PERSON, STANDING, Desired
from provisioner.planning.first_free import chosen_attributes
from provisioner.planning.spec import TargetSpec
from provisioner.planning.target_plan import Todo


def creates_of(
    spec: TargetSpec, desired: Desired, found: Correlation
) -> tuple[pl.DataFrame, tuple[Conflict, ...], list[Todo]]:
    """Who gets an account: members without one, unless two would share it or something that it needs is missing."""
    unsettled = [*(one.person for one in found.conflicts), *(one.person for one in found.claims)]
    rows = desired.frame.filter(
        (desired.frame[STANDING] == MEMBER) & _without(found.pairs, desired.frame.height)
    ).filter(~pl.col(PERSON).is_in(unsettled))
    clashes = colliding(rows, spec.settings.match, spec.attributes)
    rows = rows.filter(~pl.col(PERSON).is_in([conflict.person for conflict in clashes]))
    required = [
        name for name, attribute in spec.attributes.items() if attribute.required and f"w:{name}" in rows.columns
    ]
    lacking = [pl.col(f"w:{name}").is_null() | (pl.col(f"w:{name}") == "") for name in required]
    todos = []
    if lacking:
        for row in rows.filter(pl.any_horizontal(lacking)).iter_rows(named=True):
            names = ", ".join(name for name in required if not row[f"w:{name}"])
            sentence = f"cannot be created without {names}. Fill in the roster's row."
            todos.append(Todo(row[PERSON], sentence, linked=False))
        rows = rows.filter(~pl.any_horizontal(lacking))
    refused = _refused(spec, rows)
    todos += [Todo(person, f"cannot be created: {why}.", linked=False) for person, why in refused.items()]
    return rows.filter(~pl.col(PERSON).is_in(list(refused))) if refused else rows, clashes, todos


def _refused(spec: TargetSpec, rows: pl.DataFrame) -> dict[str, str]:
    """Of those who would get an account, whom the target would refuse for a value, and why."""
    found: dict[str, str] = {}
    chosen = chosen_attributes(spec)
    for name, attribute in spec.attributes.items():
        column = f"w:{name}"
        if attribute.fault is None or column not in rows.columns or name in chosen:
            continue
        values = rows[column].unique().drop_nulls().to_list()
        faults = {value: why for value in values if value and (why := attribute.fault(value))}
        if faults:
            amiss = rows.filter(pl.col(column).is_in(list(faults))).select(PERSON, column)
            for person, value in amiss.iter_rows():
                found.setdefault(person, faults[value].rstrip("."))
    return found


def _without(pairs: pl.DataFrame, height: int) -> pl.Series:
    """Whether nobody's account is paired with it, by the row of the desired frame."""
    return pl.repeat(True, height, dtype=pl.Boolean, eager=True).scatter(pairs[DESIRED_ROW], False)
