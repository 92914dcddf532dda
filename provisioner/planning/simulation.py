"""A target as it would be if every plan were carried out at once; no vendor is asked. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final

import polars as pl

from provisioner.model.attributes import FOLDING, Attribute
from provisioner.model.operation import ACCOUNT_KINDS, Kind, Operation
from provisioner.model.outcome import Done
from provisioner.planning.compiled import CompiledTarget
from provisioner.planning.correlate import correlate
from provisioner.planning.desired import PERSON, desired_accounts
from provisioner.planning.joiners import creates_of
from provisioner.planning.leaver_steps import LEFT, STEP
from provisioner.planning.ledger_update import ledger_patch
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Observation, Planning, TargetSpec
from provisioner.planning.target_plan import Link

#: The account of a person whom a simulation gave one.
_MADE: Final = "simulated:"
_LEDGER: Final[Mapping[str, pl.DataType]] = {
    PERSON: pl.String(),
    ACCOUNT: pl.String(),
    "_state": pl.String(),
    "_created": pl.Boolean(),
    "_matched_by": pl.String(),
    "_recorded": pl.Float64(),
    "_linked": pl.Float64(),
    "_makes": pl.Int64(),
    "_loops": pl.String(),
    LEFT: pl.String(),
    STEP: pl.Int64(),
    "_owed": pl.String(),
    "_enrolled": pl.List(pl.String()),
}


@dataclass(frozen=True, slots=True)
class World:
    """Accounts that nobody but us changes.

    `ledger` is as `plan_target` wants it, `seen` as an observation has it. `blank` is, by attribute, what an account of
    a simulation shows before anything was written.
    """

    ledger: pl.DataFrame
    seen: pl.DataFrame
    blank: Mapping[str, str]

    @classmethod
    def empty(cls, attributes: Mapping[str, Attribute], shown: Iterable[str], blank: Mapping[str, str]) -> World:
        """Nobody has an account.

        Args:
            attributes: those that either mapping writes.
            shown: what an observation shows besides those of them that can be observed.
        """
        written = dict.fromkeys((f"l:{name}" for name in attributes), pl.String())
        observed = [name for name, one in attributes.items() if one.observed]
        seen = dict.fromkeys((ACCOUNT, UNTOUCHABLE, *observed, *shown), pl.String())
        return cls(pl.DataFrame(schema={**_LEDGER, **written}), pl.DataFrame(schema=seen), blank)

    def observation(self, began: float) -> Observation:
        """What a complete listing would show."""
        return Observation(self.seen, complete=True, began=began)


def settled(
    world: World, spec: TargetSpec, compiled: CompiledTarget, people: pl.DataFrame, circumstances: Planning
) -> World:
    """A world without accounts, in which everybody who should have one has got it."""
    desired = desired_accounts(
        spec, compiled, people,
        today=circumstances.today, today_utc=circumstances.now.astimezone(UTC).date(), ends=circumstances.ends,
    )  # fmt: skip
    found = correlate(desired.frame, world.observation(0.0), world.ledger, spec.settings.match, spec.attributes)
    rows, _, _ = creates_of(spec, desired, found)
    names = [name for name in spec.attributes if f"w:{name}" in rows.columns and f"l:{name}" in world.ledger.columns]
    values = {name: pl.col(f"w:{name}") for name in names}
    account = pl.concat_str(pl.lit(_MADE), PERSON)
    codes = [pl.when(f"e:{rule.code}").then(pl.lit(rule.code)) for rule in spec.enrolments]
    enrolled = pl.concat_list(codes).list.drop_nulls() if codes else pl.lit([], dtype=_LEDGER["_enrolled"])
    fixed = {"_state": "active", "_created": True, "_matched_by": "created", "_makes": 0}
    ledger = rows.select(
        PERSON,
        account.alias(ACCOUNT),
        *(pl.lit(value, dtype=_LEDGER[name]).alias(name) for name, value in fixed.items()),
        *(pl.lit(0.0).alias(name) for name in ("_recorded", "_linked")),
        enrolled.alias("_enrolled"),
        *(value.alias(f"l:{name}") for name, value in values.items()),
    )
    blank = {name: pl.lit(text) for name, text in world.blank.items()}
    shown = {name: value for name, value in {**blank, **values}.items() if name in world.seen.columns}
    seen = rows.select(account.alias(ACCOUNT), *(value.alias(name) for name, value in shown.items()))
    return World(
        pl.concat([world.ledger, ledger], how="diagonal"), pl.concat([world.seen, seen], how="diagonal"), world.blank
    )


def renamed(world: World, moves: Mapping[str, str]) -> World:
    """A world in which people go on under other keys, unless these have an account of their own."""
    if not moves:
        return world
    there = set(world.ledger[PERSON].to_list())
    free = {old: new for old, new in moves.items() if old in there and new not in there}
    return World(world.ledger.with_columns(pl.col(PERSON).replace(free)), world.seen, world.blank)


def with_shown(world: World, shown: pl.DataFrame) -> World:
    """The same world, showing what the target was last seen to hold wherever no mapping wrote a value.

    Args:
        shown: by `_person`, attributes and `_untouchable`.
    """
    accounts = world.ledger.select(PERSON, ACCOUNT).join(shown, on=PERSON, how="inner").drop(PERSON)
    names = [name for name in accounts.columns if name in world.seen.columns and name != ACCOUNT]
    known = world.seen.join(accounts.select(ACCOUNT, *(pl.col(name).alias(f"{name}?") for name in names)), on=ACCOUNT,
                            how="left", maintain_order="left")  # fmt: skip
    seen = known.with_columns(pl.coalesce(name, f"{name}?").alias(name) for name in names).select(world.seen.columns)
    return World(world.ledger, seen, world.blank)


def carried_out(world: World, operations: Iterable[Operation], links: Iterable[Link], moment: float) -> World:
    """The world after a plan.

    Args:
        operations: those that take effect; each is taken to succeed.
        links: what the ledger learns without any request.
        moment: epoch seconds.
    """
    rows: list[dict[str, object]] = []
    shown: list[dict[str, object]] = []
    enrolled: dict[str, list[str]] = defaultdict(list)
    names = {name.removeprefix("l:") for name in world.ledger.columns if name.startswith("l:")}
    for operation in operations:
        account = operation.account or f"{_MADE}{operation.person}"
        patch = ledger_patch(operation, Done(account=account))
        enrolled[operation.person] += patch.get("enrolled", [])
        if operation.kind not in ACCOUNT_KINDS:
            continue
        values = {name: value for name, value in patch["values"].items() if name in names}
        row: dict[str, object] = {PERSON: operation.person, ACCOUNT: account, "_state": patch.get("state")}
        if patch.get("state") == "active":
            # What is left out of a row stays, so whoever is back is at no step
            row |= {LEFT: "", STEP: 1}
        elif "left" in patch:
            row |= {LEFT: patch["left"], STEP: patch["step"]}
        if operation.kind is Kind.CREATE:
            row |= {"_created": True, "_matched_by": "created", "_linked": 0.0, "_makes": 0, "_enrolled": []}
        rows.append(row | {"_recorded": moment} | {f"l:{name}": value for name, value in values.items()})
        blank = world.blank if operation.kind is Kind.CREATE else {}
        shown.append({ACCOUNT: account, **blank, **{n: v for n, v in values.items() if n in world.seen.columns}})
    states: list[dict[str, object]] = [
        {PERSON: one.person, ACCOUNT: one.account, "_state": one.state}
        | ({LEFT: one.left, STEP: one.step} if one.left else {LEFT: "", STEP: 1} if one.state == "active" else {})
        for one in links
    ]
    ledger = _updated(_updated(world.ledger, rows, on=PERSON), states, on=PERSON)
    codes = {person: found for person, found in enrolled.items() if found}
    if codes:
        more = pl.DataFrame(
            {PERSON: list(codes), "_more": list(codes.values())},
            schema={PERSON: pl.String, "_more": _LEDGER["_enrolled"]},
        )
        both = pl.concat_list(pl.col("_enrolled").fill_null([]), pl.col("_more").fill_null([])).list.unique()
        ledger = ledger.join(more, on=PERSON, how="left", maintain_order="left").with_columns(both.alias("_enrolled"))
        ledger = ledger.drop("_more")
    return World(ledger, _updated(world.seen, shown, on=ACCOUNT), world.blank)


def _updated(frame: pl.DataFrame, rows: Sequence[Mapping[str, object]], *, on: str) -> pl.DataFrame:
    """The frame with some rows changed or added; what a row leaves out stays."""
    if not rows:
        return frame
    columns = dict.fromkeys(name for row in rows for name in row)
    schema = {name: frame.schema[name] for name in columns}
    changes = pl.DataFrame([[row.get(name) for name in columns] for row in rows], schema=schema, orient="row")
    return frame.update(changes.unique(on, keep="last", maintain_order=True), on=on, how="full")


def unlike(running: World, other: World, attributes: Mapping[str, Attribute]) -> pl.DataFrame:
    """People whose account differs between two worlds: `_person`, ``state:running``, ``state:other`` (null: no account)
    and for each attribute its two values, ``running:<attribute>`` and ``other:<attribute>``."""
    both = _flat(running, attributes, "running").join(
        _flat(other, attributes, "other"), on=PERSON, how="full", coalesce=True
    )
    different = [pl.col("state:running").ne_missing(pl.col("state:other"))]
    for name, attribute in attributes.items():
        sides = [_folded(f"{side}:{name}", attribute) for side in ("running", "other")]
        different.append(sides[0].ne_missing(sides[1]))
    return both.filter(pl.any_horizontal(different)).sort(PERSON)


def _flat(world: World, attributes: Mapping[str, Attribute], side: str) -> pl.DataFrame:
    known = world.ledger.join(world.seen, on=ACCOUNT, how="left", maintain_order="left")
    return known.select(
        PERSON,
        pl.col("_state").alias(f"state:{side}"),
        *(
            pl.col(name if name in world.seen.columns else f"l:{name}").replace("", None).alias(f"{side}:{name}")
            for name in attributes
        ),
    )


def _folded(column: str, attribute: Attribute) -> pl.Expr:
    return pl.col(column).str.to_lowercase() if attribute.type in FOLDING else pl.col(column)


@dataclass(frozen=True, slots=True)
class Unlike:
    """What differs of one person's account: its `states` (none, active, left), and attributes; each pair is the running
    settings' and the other's."""

    states: tuple[str, str] | None
    attributes: Mapping[str, tuple[str | None, str | None]]


def differing(frame: pl.DataFrame, attributes: Mapping[str, Attribute]) -> dict[str, Unlike]:
    """By person of a frame of `unlike`, what differs; attributes only where both sides have an account."""
    found: dict[str, Unlike] = {}
    for row in frame.iter_rows(named=True):
        before, after = row["state:running"], row["state:other"]
        values = {name: (row[f"running:{name}"], row[f"other:{name}"]) for name in attributes}
        told = {name: pair for name, pair in values.items() if not _same(*pair, attributes[name])}
        states = None if before == after else (before or "none", after or "none")
        found[row[PERSON]] = Unlike(states, told if before and after else {})
    return found


def _same(one: str | None, other: str | None, attribute: Attribute) -> bool:
    if one is not None and other is not None and attribute.type in FOLDING:
        return one.lower() == other.lower()
    return one == other
