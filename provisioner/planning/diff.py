"""What differs between the desired and the held account of everybody who has one, attribute by attribute.

Raw values are compared first; only where they differ are they folded and compared again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from provisioner.model.attributes import DETAILS_READ_AT, Type, canonical, members
from provisioner.planning.correlate import folded
from provisioner.planning.desired import LEAVER, PERSON, STANDING
from provisioner.planning.spec import ACCOUNT, READ, UNTOUCHABLE, Observation, TargetSpec

STATE, CREATED = "_state", "_created"


@dataclass(frozen=True, slots=True)
class Held:
    """Everybody who has an account, with what they should hold and what they hold.

    Columns: those of the desired frame, `_account`, `_matched`, `_state` (active, left, null when adopted now),
    `_untouchable`, and per attribute ``h:<attribute>`` (held, as seen or else as last acknowledged), ``k:<attribute>``
    (whether that is known at all) and ``l:<attribute>`` (what the ledger last acknowledged).
    """

    frame: pl.DataFrame
    names: tuple[str, ...]


def hold(
    spec: TargetSpec, desired: pl.DataFrame, pairs: pl.DataFrame, observation: Observation, ledger: pl.DataFrame
) -> Held:
    """Lay together desired, observed and acknowledged values.

    What the ledger recorded after an account was read wins over what was observed.
    """
    names = tuple(column[2:] for column in desired.columns if column.startswith("w:"))
    observed = observation.frame
    seen = [name for name in names if name in observed.columns and not _hidden(spec, observed, name)]
    extra = [name for name in (*spec.carried, DETAILS_READ_AT) if name in observed.columns]
    times = [READ] if READ in observed.columns else []
    right = observed.select(
        ACCOUNT, UNTOUCHABLE, *times, *(pl.col(name).alias(f"o:{name}") for name in dict.fromkeys([*seen, *extra]))
    )
    frame = desired.join(pairs, on=PERSON, how="inner", maintain_order="left").join(
        right.with_columns(pl.lit(value=True).alias("_seen")), on=ACCOUNT, how="left", maintain_order="left"
    )
    # What was acknowledged of an account that is gone says nothing of the one that was found in its place
    frame = frame.join(ledger, on=[PERSON, ACCOUNT], how="left", maintain_order="left")
    frame = frame.with_columns(
        pl.col("_seen").fill_null(value=False),
        (pl.col("_recorded") > _read_at(observation)).fill_null(value=False).alias("_fresh"),
        _since_details(observation).alias("_fresh_detail"),
    )
    columns = []
    for name in names:
        acknowledged = pl.col(f"l:{name}") if f"l:{name}" in frame.columns else pl.lit(None, dtype=pl.String)
        if name in seen:
            fresh = "_fresh_detail" if spec.attributes[name].detail else "_fresh"
            stand_in = ~pl.col("_seen") | (pl.col(fresh) & acknowledged.is_not_null())
            held = pl.when(stand_in).then(acknowledged).otherwise(pl.col(f"o:{name}"))
            known = pl.col("_seen") | acknowledged.is_not_null()
        else:
            held, known = acknowledged, acknowledged.is_not_null()
        columns += [held.replace("", None).alias(f"h:{name}"), known.alias(f"k:{name}")]
        if f"l:{name}" not in frame.columns:
            columns.append(acknowledged.alias(f"l:{name}"))
    return Held(frame.with_columns(columns), names)


def _read_at(observation: Observation) -> pl.Expr:
    """When an account was read; one that no vendor called changed since was not read anew."""
    began = pl.lit(observation.began)
    return pl.coalesce(READ, began) if READ in observation.frame.columns else began


def _hidden(spec: TargetSpec, observed: pl.DataFrame, name: str) -> bool:
    """Whether nobody's details show it: then we may not see it, which is not the same as being empty."""
    return spec.attributes[name].detail and observed[name].null_count() == observed.height


def _since_details(observation: Observation) -> pl.Expr:
    """Whether the ledger recorded something after an account's details were read, which may be runs ago."""
    if DETAILS_READ_AT not in observation.frame.columns:
        return pl.col("_recorded").is_not_null() & (pl.col("_recorded") > observation.began)
    read_at = pl.col(f"o:{DETAILS_READ_AT}").cast(pl.Float64, strict=False).fill_null(0.0)
    return (pl.col("_recorded") > pl.min_horizontal(read_at, pl.lit(observation.began))).fill_null(value=False)


def ours_to_clear(spec: TargetSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """The date of a last day is cleared only where we set it and it still stands; one set by hand is left alone."""
    name = spec.ends_attribute
    if name is None or name in spec.settings.attributes or f"w:{name}" not in frame.columns:
        return frame
    wanted, held, ours = pl.col(f"w:{name}"), pl.col(f"h:{name}"), pl.col(f"l:{name}")
    foreign = (wanted == "") & (held.is_null() | ours.ne_missing(held))
    return frame.with_columns(pl.when(foreign).then(None).otherwise(wanted).alias(f"w:{name}"))


def merged(spec: TargetSpec, frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """For sets to which others add members: wanted becomes held, less what we once set, plus what we want.

    Our own part goes on as ``own:<attribute>``, since only that may ever be taken away again.
    """
    for name in names:
        if not spec.attributes[name].merge:
            continue
        sides = [pl.col(f"{prefix}:{name}") for prefix in "whl"]
        distinct = frame.filter(sides[0].is_not_null()).select(sides).unique()
        laid = [_laid_over(wanted, held, ours) for wanted, held, ours in distinct.iter_rows()]
        whole = distinct.with_columns(pl.Series("_whole", laid, dtype=pl.String))
        frame = (
            frame.join(whole, on=[f"{prefix}:{name}" for prefix in "whl"], how="left", nulls_equal=True)
            .with_columns(pl.col(f"w:{name}").alias(f"own:{name}"), pl.col("_whole").alias(f"w:{name}"))
            .drop("_whole")
        )
    return frame


def _laid_over(wanted: str, held: str | None, ours: str | None) -> str:
    """Others keep their spelling; whoever spells one of ours otherwise means the same."""
    own = {name.lower() for side in (wanted, ours) for name in members(side)}
    kept = [name for name in members(held) if name.lower() not in own]
    return canonical([*kept, *members(wanted)], Type.SET) or ""


def differing(spec: TargetSpec, held: Held) -> pl.DataFrame:
    """The frame with one boolean ``d:<attribute>`` each: wanted and held are not the same."""
    columns = []
    for name in held.names:
        attribute = spec.attributes[name]
        wanted, have = pl.col(f"w:{name}"), pl.col(f"h:{name}")
        raw = wanted.is_not_null() & wanted.replace("", None).ne_missing(have)
        same = folded(wanted.replace("", None), attribute.type).eq_missing(folded(have, attribute.type))
        # Written once, if it can be neither observed nor found in the ledger; clearing the unknown is no news
        unknown = ~pl.col(f"k:{name}") & wanted.is_not_null() & (wanted != "")
        columns.append(((raw & ~same) | unknown).alias(f"d:{name}"))
    return held.frame.with_columns(columns)


def enforced(spec: TargetSpec, names: Sequence[str], standing: str) -> list[str]:
    """The attributes whose difference makes an operation on an existing account of that standing."""
    rules = spec.settings.leaver if standing == LEAVER else spec.settings.attributes
    chosen = []
    for name in names:
        attribute = spec.attributes[name]
        rule = rules.get(name)
        if rule is None and not (name == spec.ends_attribute and standing != LEAVER):
            continue
        if rule is not None and rule.authority != "roster":
            continue
        if not attribute.identifier and attribute.on_update:
            chosen.append(name)
    return chosen


def any_of(frame: pl.DataFrame, names: Iterable[str], prefix: str = "d:") -> pl.Expr:
    """Whether any of the flags is set."""
    flags = [pl.col(f"{prefix}{name}") for name in names if f"{prefix}{name}" in frame.columns]
    return pl.any_horizontal(flags) if flags else pl.lit(value=False)


__all__ = ["CREATED", "STANDING", "STATE", "Held", "any_of", "differing", "enforced", "hold", "merged", "ours_to_clear"]
