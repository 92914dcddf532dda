"""What differs between the desired and the held account of everybody who has one, attribute by attribute.

`suspects` goes over everybody and compares raw values first, by their digests; only where those differ are values laid
side by side, folded and compared again. Whoever holds what they should is left behind there: all that follows works on
the others alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from provisioner.model.attributes import DETAILS_READ_AT
from provisioner.model.unconfirmed import marked
from provisioner.planning.claims import folded
from provisioner.planning.correlate import DESIRED_ROW, LEDGER_ROW, OBSERVED_ROW
from provisioner.planning.desired import LEAVER, MEMBER, STANDING
from provisioner.planning.leaver_steps import LEFT, STEP
from provisioner.planning.refused_once import refused_of, set_once
from provisioner.planning.rewrite_loops import LOOPS
from provisioner.planning.spec import ACCOUNT, READ, UNTOUCHABLE, Observation, TargetSpec
from provisioner.planning.withdrawn import withdrawn_of
from provisioner.settings.leaver import steps_of


@dataclass(frozen=True, slots=True)
class Held:
    """People who have an account, with what they should hold and what they hold.

    Columns: those of the desired frame, `_account`, `_matched`, `_observed` (row number), `_seen`, `_state` (active,
    left, null when adopted now), `_untouchable`, and per attribute ``h:<attribute>`` (held, as seen or else as last
    acknowledged), ``k:<attribute>`` (whether that is known at all) and ``l:<attribute>`` (what the ledger last
    acknowledged).
    """

    frame: pl.DataFrame
    names: tuple[str, ...]


def names_of(desired: pl.DataFrame) -> tuple[str, ...]:
    """The attributes that a desired frame speaks of."""
    return tuple(column[2:] for column in desired.columns if column.startswith("w:"))


def suspects(
    spec: TargetSpec, desired: pl.DataFrame, pairs: pl.DataFrame, observation: Observation, ledger: pl.DataFrame
) -> pl.DataFrame:
    """The pairs of which something may have to be changed or recorded, in the order of the desired frame.

    Of all others nothing has: they are linked, in the state that they should be in, were read since they were last
    written, and hold what they should.

    Args:
        pairs: of `provisioner.planning.correlate.Correlation`.
    """
    names = [name for name in names_of(desired) if _matters(spec, name, MEMBER) or _matters(spec, name, LEAVER)]
    names = [name for name in names if desired[f"w:{name}"].null_count() < desired.height]
    shown = _shown(spec, observation, names)
    kept = [name for name in names if name not in shown]
    seen, linked = (_laid_out(pairs, rows, desired.height) for rows in (OBSERVED_ROW, LEDGER_ROW))
    entries = _acknowledged(ledger, names)
    suspicious = _in_doubt(desired, observation, entries, seen, linked, shown=bool(shown), stepwise=stepwise(spec))
    suspicious |= _refused_once(spec, ledger).gather(linked).fill_null(value=False)
    alike = _alike(desired, observation.frame, seen, [(f"w:{name}", name) for name in shown])
    alike &= _alike(desired, entries, linked, [(f"w:{name}", f"l:{name}") for name in kept])
    rows = (~alike & ~suspicious).arg_true()
    if rows.len():
        frame = _side_by_side(
            desired.select(pl.col(STANDING, *(f"w:{name}" for name in names)).gather(rows)),
            _observed(spec, observation, shown),
            entries,
            seen.gather(rows),
            linked.gather(rows),
        )
        differs = pl.any_horizontal(_differs(spec, name, shown=name in shown) for name in names)
        suspicious = suspicious.scatter(rows.filter(frame.select(differs.alias("differs"))["differs"]), True)
    return pairs.filter(suspicious.gather(pairs[DESIRED_ROW]))


def _refused_once(spec: TargetSpec, ledger: pl.DataFrame) -> pl.Series:
    """Of whom something was refused that is set once, by the row of the ledger's frame."""
    columns = [f"l:{refused_of(name)}" for name in sorted(set_once(spec.settings.attributes))]
    flags = [(pl.col(column) != "").fill_null(value=False) for column in columns if column in ledger.columns]
    if not flags:
        return pl.repeat(False, ledger.height, dtype=pl.Boolean, eager=True)
    return ledger.select(pl.any_horizontal(flags).alias("refused"))["refused"]


def stepwise(spec: TargetSpec) -> bool:
    """Whether leavers of a target go in several steps."""
    return len(steps_of(spec.settings.leaver)) > 1


def _in_doubt(
    desired: pl.DataFrame,
    observation: Observation,
    entries: pl.DataFrame,
    seen: pl.Series,
    linked: pl.Series,
    *,
    shown: bool,
    stepwise: bool,
) -> pl.Series:
    """Who is not linked, in another state than they should be, written since they were read, or did not keep what was
    written."""
    standing = pl.col(STANDING)
    doubts = [
        pl.col("_active").is_null(),
        pl.col(LOOPS).is_not_null(),
        (standing == MEMBER) & ~pl.col("_active"),
        (standing == LEAVER) & ~pl.col("_gone"),
    ]
    if stepwise:
        # Of an entry of an earlier version, so that the day counts from now on
        doubts.append((standing == LEAVER) & pl.col(LEFT).is_null())
    if shown:
        doubts += [pl.col("_recorded") > _read_at(observation), _since_details(observation)]
    columns = observation.frame.columns
    times = [pl.col(READ)] if READ in columns else []
    times += [pl.col(DETAILS_READ_AT).alias(f"o:{DETAILS_READ_AT}")] if DETAILS_READ_AT in columns else []
    states = entries.select(
        (pl.col("_state") == "active").alias("_active"),
        (pl.col("_state") == "left").alias("_gone"),
        LEFT,
        "_recorded",
        LOOPS,
    )
    frame = _side_by_side(desired.select(STANDING), observation.frame.select(times), states, seen, linked)
    return frame.select(pl.any_horizontal(doubts).fill_null(value=True).alias("doubt"))["doubt"]


def _alike(
    desired: pl.DataFrame, other: pl.DataFrame, rows: pl.Series, columns: Sequence[tuple[str, str]]
) -> pl.Series:
    """Who is wanted to hold in these columns just what the other frame's row holds, by the row of the desired frame.

    Digests of 64 bits are compared, since to lay a million texts next to each other in another order takes
    ten times as long: one in 18 million million million changed rows passes for unchanged, until it changes again.
    """
    if not columns:
        return pl.repeat(True, desired.height, dtype=pl.Boolean, eager=True)
    wanted, held = (
        _digests(frame.select(names))
        for frame, names in ((desired, [mine for mine, _ in columns]), (other, [theirs for _, theirs in columns]))
    )
    return (wanted == held.gather(rows)).fill_null(value=False)


def _digests(texts: pl.DataFrame) -> pl.Series:
    """A digest of each row; the empty text is the same as none."""
    # To look whether there is one costs less than to lay so many texts down again
    empty = texts.select((pl.all() == "").any()).row(0, named=True)
    return texts.with_columns(pl.col(name).replace("", None) for name, some in empty.items() if some).hash_rows()


def _laid_out(pairs: pl.DataFrame, rows: str, height: int) -> pl.Series:
    """Row numbers of pairs, by the row of the desired frame; null where there is none."""
    numbers = pl.Series(rows, [None], dtype=pl.UInt32).new_from_index(0, height)
    return numbers.scatter(pairs[DESIRED_ROW], pairs[rows])


def _side_by_side(
    desired: pl.DataFrame, observed: pl.DataFrame, entries: pl.DataFrame, seen: pl.Series, linked: pl.Series
) -> pl.DataFrame:
    """A desired frame next to the observed accounts and the ledger's entries of these row numbers."""
    return pl.concat(
        [
            desired,
            observed.select(pl.all().gather(seen)),
            entries.select(pl.all().gather(linked)),
            seen.is_not_null().alias("_seen").to_frame(),
        ],
        how="horizontal",
    )


def _matters(spec: TargetSpec, name: str, standing: str) -> bool:
    """Whether a difference of that attribute means anything for people of that standing."""
    return bool(enforced(spec, [name], standing)) or (standing == MEMBER and name in fixed(spec, [name]))


def _differs(spec: TargetSpec, name: str, *, shown: bool) -> pl.Expr:
    """Whether somebody whom it matters of does not hold what is wanted; folded only where it differs as it is."""
    matters = pl.any_horizontal(
        pl.col(STANDING) == standing for standing in (MEMBER, LEAVER) if _matters(spec, name, standing)
    )
    wanted, held, type_ = pl.col(f"w:{name}"), pl.col(f"l:{name}"), spec.attributes[name].type
    if shown:
        held = pl.when("_seen").then(f"o:{name}").otherwise(held)
    return matters & _unlike(wanted, held) & _unlike(folded(wanted, type_), folded(held, type_))


def _unlike(wanted: pl.Expr, held: pl.Expr) -> pl.Expr:
    """Whether something is wanted that is not held; nothing is held where an empty text is wanted."""
    return wanted.is_not_null() & wanted.ne_missing(held) & ~((wanted == "") & held.is_null())


def _shown(spec: TargetSpec, observation: Observation, names: Iterable[str]) -> list[str]:
    """The attributes that the target shows of anybody."""
    observed = observation.frame
    return [name for name in names if name in observed.columns and not _hidden(spec, observed, name)]


def _observed(spec: TargetSpec, observation: Observation, shown: Sequence[str]) -> pl.DataFrame:
    """Observed accounts with one column ``o:<attribute>`` each, and when they were read."""
    columns = observation.frame.columns
    times = [READ] if READ in columns else []
    extra = [name for name in (*spec.carried, DETAILS_READ_AT) if name in columns]
    return observation.frame.select(
        UNTOUCHABLE, *times, *(pl.col(name).alias(f"o:{name}") for name in dict.fromkeys([*shown, *extra]))
    )


def _acknowledged(ledger: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """The ledger's entries with one column ``l:<attribute>`` each."""
    return ledger.select(
        "_state",
        "_recorded",
        "_created",
        LOOPS,
        *(f"l:{gone}" for name in names if f"l:{(gone := withdrawn_of(name))}" in ledger.columns),
        *(f"l:{past}" for name in names if f"l:{(past := refused_of(name))}" in ledger.columns),
        # An entry of an earlier version was brought about in one step
        (pl.col(STEP).fill_null(1) if STEP in ledger.columns else pl.lit(1, dtype=pl.Int64)).alias(STEP),
        (pl.col(LEFT) if LEFT in ledger.columns else pl.lit(None, dtype=pl.String)).alias(LEFT),
        *(
            pl.col(f"l:{name}") if f"l:{name}" in ledger.columns else pl.lit(None, dtype=pl.String).alias(f"l:{name}")
            for name in names
        ),
    )


def hold(
    spec: TargetSpec,
    desired: pl.DataFrame,
    pairs: pl.DataFrame,
    observation: Observation,
    ledger: pl.DataFrame,
    perhaps: Mapping[str, Sequence[str]],
) -> Held:
    """Lay together desired, observed and acknowledged values of some pairs.

    What the ledger recorded after an account was read wins over what was observed.

    Args:
        perhaps: see `Planning`.
    """
    names = names_of(desired)
    seen = _shown(spec, observation, names)
    frame = _side_by_side(
        pl.concat(
            [desired.select(pl.all().gather(pairs[DESIRED_ROW])), pairs.select(ACCOUNT, "_matched", OBSERVED_ROW)],
            how="horizontal",
        ),
        _observed(spec, observation, seen),
        # What was acknowledged of an account that is gone says nothing of the one that was found in its place
        _acknowledged(ledger, names),
        pairs[OBSERVED_ROW],
        pairs[LEDGER_ROW],
    )
    frame = _in_doubt_of_leavers(frame, perhaps).with_columns(
        (pl.col("_recorded") > _read_at(observation)).fill_null(value=False).alias("_fresh"),
        _since_details(observation).alias("_fresh_detail"),
    )
    columns = []
    for name in names:
        acknowledged = pl.col(f"l:{name}")
        if name in seen:
            fresh = "_fresh_detail" if spec.attributes[name].detail else "_fresh"
            stand_in = ~pl.col("_seen") | (pl.col(fresh) & acknowledged.is_not_null())
            held = pl.when(stand_in).then(acknowledged).otherwise(pl.col(f"o:{name}"))
            known = pl.col("_seen") | acknowledged.is_not_null()
        else:
            held, known = acknowledged, acknowledged.is_not_null()
        columns += [held.replace("", None).alias(f"h:{name}"), known.alias(f"k:{name}")]
    return Held(frame.with_columns(columns), names)


def _in_doubt_of_leavers(frame: pl.DataFrame, perhaps: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Of leavers whom we did not create, mark what nobody knows of their account; see `Planning.perhaps`."""
    leaving = (pl.col(STANDING) == LEAVER) & pl.col("_state").ne_missing("left")
    flags = frame.select((leaving & ~pl.col("_created").fill_null(value=False)).alias("flag"))["flag"]
    if not perhaps or not flags.any():
        return frame
    marks = []
    for column, members in ((f"l:{name}", those) for name, those in perhaps.items()):
        # Of what is no set nothing is known, and nothing can be taken out of it
        if members and column in frame.columns:
            texts = [marked(text, members) if flag else text for text, flag in zip(frame[column], flags, strict=True)]
            marks.append(pl.Series(column, texts, dtype=pl.String))
    return frame.with_columns(marks)


def _read_at(observation: Observation) -> pl.Expr:
    """When an account was read; one that no vendor called changed since was not read again."""
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
    """The date of a last day is cleared only where we set it and it is still there; one set by hand is left alone."""
    name = spec.ends_attribute
    if name is None or name in spec.settings.attributes or f"w:{name}" not in frame.columns:
        return frame
    wanted, held, ours = pl.col(f"w:{name}"), pl.col(f"h:{name}"), pl.col(f"l:{name}")
    foreign = (wanted == "") & (held.is_null() | ours.ne_missing(held))
    return frame.with_columns(pl.when(foreign).then(None).otherwise(wanted).alias(f"w:{name}"))


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


def fixed(spec: TargetSpec, names: Sequence[str]) -> list[str]:
    """Attributes that no update can change: where they differ for a member, that is a to-do."""
    return [
        name
        for name in names
        if name in spec.settings.attributes
        and spec.settings.attributes[name].authority == "roster"
        and (spec.attributes[name].identifier or not spec.attributes[name].on_update)
        and (spec.attributes[name].observed or spec.attributes[name].identifier or spec.attributes[name].late)
    ]


def any_of(frame: pl.DataFrame, names: Iterable[str], prefix: str = "d:") -> pl.Expr:
    """Whether any of the flags is set."""
    flags = [pl.col(f"{prefix}{name}") for name in names if f"{prefix}{name}" in frame.columns]
    return pl.any_horizontal(flags) if flags else pl.lit(value=False)
