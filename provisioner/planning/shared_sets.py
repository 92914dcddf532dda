"""Sets that others fill too: what stays besides what we want, and what we never wrote and would take away. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.model.attributes import Type, canonical, members
from provisioner.model.operation import REMOVALS, Kind
from provisioner.planning.correlate import OBSERVED_ROW
from provisioner.planning.desired import LEAVER, MEMBER, PERSON, STANDING
from provisioner.planning.guards import limit_of
from provisioner.planning.rewrite_loops import LOOPS
from provisioner.planning.spec import ACCOUNT, Observation, Planning, TargetSpec
from provisioner.planning.withdrawn import still_ours, withdrawn_of

#: Values that a sentence names; of the rest it tells the number.
_NAMED: Final = 5


def merged(
    spec: TargetSpec,
    frame: pl.DataFrame,
    names: Iterable[str],
    yields: Mapping[str, frozenset[str]],
    last_read: float | None = None,
) -> pl.DataFrame:
    """Want of sets to which others add members what is held, without what is ours to take away, and with what we add.

    Our own part goes on as ``own:<attribute>``, since only that may ever be taken away again.

    Args:
        yields: of `yielded`.
        last_read: of `Observation`.
    """
    for name in names:
        if not spec.attributes[name].merge:
            continue
        sides = [pl.col(f"{prefix}:{name}") for prefix in "whl"]
        frame = frame.with_columns(_unkept(frame, name, last_read).alias("_unkept"))
        merging = pl.lit(value=True) if name in spec.shared else _merges(spec, name)
        distinct = frame.filter(sides[0].is_not_null() & merging).select(*sides, "_unkept").unique()
        laid = [
            _laid_over(wanted, held, ours, (*yields.get(name, ()), *members(unkept)))
            for wanted, held, ours, unkept in distinct.iter_rows()
        ]
        whole = distinct.with_columns(pl.Series("_whole", laid, dtype=pl.String))
        frame = (
            frame.join(whole, on=[*(f"{prefix}:{name}" for prefix in "whl"), "_unkept"], how="left", nulls_equal=True)
            .with_columns(
                sides[0].alias(f"own:{name}"), pl.when(merging).then("_whole").otherwise(sides[0]).alias(f"w:{name}")
            )
            .drop("_whole", "_unkept")
        )
    return frame


def _unkept(frame: pl.DataFrame, name: str, last_read: float | None) -> pl.Series:
    """By person what we took away and is still ours to take away, in lower case; null for nearly everybody."""
    column = f"l:{withdrawn_of(name)}"
    if column not in frame.columns or frame[column].null_count() == frame.height:
        return pl.Series([None] * frame.height, dtype=pl.String)
    ours = (
        canonical(sorted(still_ours(kept, name, last_read, loops)), Type.SET)
        for kept, loops in frame.select(column, LOOPS).iter_rows()
    )
    return pl.Series(list(ours), dtype=pl.String)


def _merges(spec: TargetSpec, name: str) -> pl.Expr:
    """Whether the setting for people of that standing says so."""
    sections = (
        (spec.settings.attributes, pl.col(STANDING) != LEAVER),
        (spec.settings.leaver, pl.col(STANDING) == LEAVER),
    )
    merging = [standing for rules, standing in sections if name in rules and rules[name].set == "merge"]
    return pl.any_horizontal(merging) if merging else pl.lit(value=False)


def _laid_over(wanted: str, held: str | None, ours: str | None, yields: Collection[str]) -> str:
    """Others keep their spelling; whoever spells one of ours otherwise means the same."""
    own = {name.lower() for side in (wanted, ours) for name in members(side)}
    kept = [name for name in members(held) if name.lower() not in own and name.lower() not in yields]
    return canonical([*kept, *members(wanted)], Type.SET) or ""


def yielded(spec: TargetSpec, desired: pl.DataFrame, ledger: pl.DataFrame) -> Mapping[str, frozenset[str]]:
    """By set with `set: merge` what the mapping yields for anybody, and what we wrote for anybody, in lower case."""
    found: dict[str, frozenset[str]] = {}
    rules = (*spec.settings.attributes.items(), *spec.settings.leaver.items())
    for name in dict.fromkeys(name for name, rule in rules if rule.set == "merge"):
        sides = [
            frame[column]
            for frame, column in ((desired, f"w:{name}"), (ledger, f"l:{name}"))
            if column in frame.columns
        ]
        texts = {text for side in sides for text in side.drop_nulls().unique().to_list()}
        found[name] = frozenset(member.lower() for text in texts for member in members(text))
    return found


@dataclass(frozen=True, slots=True)
class Removal:
    """A member of a set that an update would take away, and that we never wrote."""

    attribute: str
    value: str


def foreign_removals(spec: TargetSpec, frame: pl.DataFrame, names: Iterable[str]) -> dict[str, tuple[Removal, ...]]:
    """By person what their update would take away that we never wrote.

    Args:
        frame: as `differing` left it.
    """
    found: dict[str, tuple[Removal, ...]] = {}
    for name in names:
        attribute = spec.attributes[name]
        if attribute.type is not Type.SET or not attribute.observed or f"d:{name}" not in frame.columns:
            continue
        rows = frame.filter(pl.col(f"d:{name}"), pl.col("_seen"), pl.col(STANDING) == MEMBER)
        for person, wanted, held, ours in rows.select(PERSON, f"w:{name}", f"h:{name}", f"l:{name}").iter_rows():
            ours_or_wanted = {one.lower() for side in (wanted, ours) for one in members(side)}
            gone = [Removal(name, one) for one in members(held) if one and one.lower() not in ours_or_wanted]
            if gone:
                found[person] = (*found.get(person, ()), *gone)
    return found


def observed_values(spec: TargetSpec, pairs: pl.DataFrame, observation: Observation, names: Iterable[str]) -> int:
    """How many members the sets of linked accounts hold, by which `guards.removals` measures."""
    columns = [name for name in names if spec.attributes[name].type is Type.SET and name in observation.frame.columns]
    linked = observation.frame.select(ACCOUNT, *columns).select(pl.all().gather(pairs[OBSERVED_ROW].drop_nulls()))
    return sum(int(linked.select((pl.col(name).str.count_matches(";") + 1).sum()).item() or 0) for name in columns)


@dataclass(frozen=True, slots=True)
class TooManyRemovals:
    """The guard `removals`, which holds; `values` with how often each would be taken away, and how many others take."""

    values: tuple[tuple[Removal, int], ...]
    limit: int
    base: int
    others: int = 0

    @classmethod
    def of(cls, counted: Counter[Removal], limit: int, base: int, others: int = 0) -> TooManyRemovals | None:
        """What holds, None if nothing does.

        Args:
            others: how many values others took away without approval within the window, or are about to.
        """
        if not counted or counted.total() + others <= limit:
            return None
        return cls(tuple(counted.most_common()), limit, base, others)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of operations that the guard holds."""
        return (Kind.UPDATE,)

    @property
    def sentence(self) -> str:
        """The sentence for the operator while this guard holds operations."""
        return f"{self.finding}: held until approved. With `set: merge`, what others added stays."

    @property
    def finding(self) -> str:
        """What would be taken away, and how it compares with the limit."""
        named = ", ".join(f"{one.attribute} {one.value!r} of {count}" for one, count in self.values[:_NAMED])
        more = f" and {len(self.values) - _NAMED} values more" if len(self.values) > _NAMED else ""
        total = sum(count for _, count in self.values)
        beside = f" and {self.others} sent or decided without approval in the window make {total + self.others}"
        return (
            f"{total} values that we never wrote would be taken away ({named}{more}){beside if self.others else ''}, "
            f"more than the limit of {self.limit} (of {self.base} observed)"
        )


def removal_base(
    spec: TargetSpec, pairs: pl.DataFrame, observation: Observation, names: Sequence[str], circumstances: Planning
) -> int:
    """How many values the guard of removals measures by; those of all people also where the plan is about some."""
    guards = spec.settings.guards
    if guards is None or guards.removals is None:
        return 0
    return max(observed_values(spec, pairs, observation, names), circumstances.values)


def too_many_removals(
    spec: TargetSpec, removals: Counter[Removal], values: int, circumstances: Planning
) -> TooManyRemovals | None:
    """The guard over what would be taken away that we never wrote, if it holds."""
    guards = spec.settings.guards
    if guards is None or guards.removals is None:
        return None
    others = circumstances.sent.get(REMOVALS, 0) + circumstances.decided.get(REMOVALS, 0)
    return TooManyRemovals.of(removals, limit_of(guards.removals, values), values, others)
