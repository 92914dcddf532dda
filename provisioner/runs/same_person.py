"""Who of a roster may be somebody else under a new key, and what that means for one target."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import polars as pl

from provisioner.model.wording import counted
from provisioner.planning.same_person import Pair, same_people
from provisioner.planning.spec import Alike
from provisioner.roster.identity import fold_key, moved
from provisioner.roster.lost_zeros import has_lost_zeros, lost_zeros
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import Snapshot, roster_columns

_ZEROS: Final = ". A spreadsheet takes leading zeros: if it did, export the key as text instead"
#: Examples that a sentence names.
_NAMED: Final = 3


async def pairs_of(dep: Deployment, people: pl.DataFrame, previous: pl.DataFrame | None = None) -> tuple[Pair, ...]:
    """Everybody who has no account yet where somebody who is gone and agrees with them has one.

    Args:
        people: rows of the roster with `_verdict`, as read now or as known.
        previous: rows of people whose row is missing now.
    """
    gone = people.filter(pl.col("_verdict").is_in(["leaver", "absent"]))
    vanished: frozenset[str] = frozenset(gone.filter(pl.col("_verdict") == "absent")["_key"])
    columns = roster_columns(people.columns)
    if previous is not None and previous.height:
        lost = previous.select(
            pl.col(name).cast(dtype) if name in previous.columns else pl.lit(None, dtype).alias(name)
            for name, dtype in people.schema.items()
        )
        gone = pl.concat([gone, lost])
        vanished |= frozenset(lost.filter(pl.col("_verdict") != "leaver")["_key"])
    here = people.filter(pl.col("_verdict").is_in(["employed", "future"]))
    same = dep.settings.roster.same_person
    found = await asyncio.to_thread(same_people, dep.specs, columns, gone, here, same, vanished)
    found = (*found, *_by_zeros(found, gone.filter(pl.col("_key").is_in(list(vanished)))["_key"], here["_key"]))
    if not found:
        return ()
    new = set(map(fold_key, await dep.rekeys.newcomers()))
    found = tuple(pair for pair in found if fold_key(pair.new) not in new)
    keys = list(dict.fromkeys(key for pair in found for key in (pair.old, pair.new)))
    open_: set[Pair] = set()
    for target in dep.targets:
        linked = await dep.ledger.entries(target, keys)
        open_ |= {pair for pair in found if pair.old in linked and pair.new not in linked}
    return tuple(pair for pair in found if pair in open_)


def _by_zeros(found: Sequence[Pair], gone: pl.Series, here: pl.Series) -> list[Pair]:
    """Of those who vanished, whose key is there without its leading zeros; whoever was found already is not again."""
    known = {(pair.old, pair.new) for pair in found}
    new = here.filter(~here.is_in(gone.implode()))
    return [
        Pair(old, other, "the key but for its leading zeros", sure=False, vanished=True)
        for old, other in lost_zeros(gone, new)
        if (old, other) not in known
    ]


def vanished_sentence(pairs: Sequence[Pair], run: str | None = None) -> str | None:
    """Why a roster is not believed in which people vanished while others appeared who agree with them."""
    lost = [pair for pair in pairs if pair.vanished]
    if not lost:
        return None
    named = ", ".join(f"{pair.old} and {pair.new}" for pair in lost[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    one, other = shlex.quote(lost[0].old), shlex.quote(lost[0].new)
    gone = len({pair.old for pair in lost})
    return (
        f"{counted(gone, 'person', 'people')} vanished while others appeared who agree with them in "
        f"{lost[0].agrees} ({named}{more}), so they are taken for the same people with new keys. If they are: "
        f"provisioner rekey {one} {other}, or all at once: provisioner rekey --all {run or 'RUN'}. If not, approve the "
        "accounts of the new ones, or say so: "
        f"provisioner rekey {one} {other} --different"
        f"{_ZEROS if any(has_lost_zeros(pair.old, pair.new) for pair in lost) else ''}"
    )


@dataclass(frozen=True, slots=True)
class Identities:
    """A target's ledger by the keys under which people go on, and what follows for its plan.

    `moves` are keys of the ledger and those under which they go on, `returned` of these by the new key the old one of
    those who left. The rest as in `provisioner.planning.spec.Planning`.
    """

    ledger: pl.DataFrame
    moves: Mapping[str, str]
    returned: Mapping[str, str]
    alike: Mapping[str, Alike]
    unsettled: tuple[tuple[str, str], ...]


def identities(target: str, snapshot: Snapshot, ledger: pl.DataFrame) -> Identities:
    """Whose the entries of a ledger are, by a snapshot of the roster."""
    moves, doubled = moved(ledger["_person"], snapshot.people["_key"], snapshot.renamed)
    renamed = _by(ledger, moves)
    handed, alike = at_target([Pair(*pair) for pair in snapshot.alike], renamed)
    return Identities(
        _by(renamed, handed),
        {**moves, **handed},
        {new: old for old, new in handed.items()},
        alike,
        tuple((new, _two_spellings(target, old, new)) for old, new in doubled.items()),
    )


def _by(ledger: pl.DataFrame, moves: Mapping[str, str]) -> pl.DataFrame:
    return ledger.with_columns(pl.col("_person").replace(dict(moves))) if moves else ledger


def _two_spellings(target: str, old: str, new: str) -> str:
    return (
        f"has two accounts in {target}: one was linked while the key was written {old}, another under {new}. "
        f"Say which is not theirs: provisioner unlink {shlex.quote(old)} {target}, or {shlex.quote(new)}."
    )


def at_target(pairs: Sequence[Pair], ledger: pl.DataFrame) -> tuple[dict[str, str], dict[str, Alike]]:
    """What follows in one target.

    Args:
        ledger: `_person` and `_state`, by the keys under which people go on.

    Returns:
        By the old key, the new one to which an account in leaver state is handed; and by the new key, who waits.
    """
    if not pairs:
        return {}, {}
    keys = {key for pair in pairs for key in (pair.old, pair.new)}
    entries = ledger.filter(pl.col("_person").is_in(list(keys)))
    states: Mapping[str, str] = dict(entries.select("_person", "_state").iter_rows())
    handed: dict[str, str] = {}
    alike: dict[str, Alike] = {}
    for new, group in groupby(sorted(pairs, key=lambda pair: (pair.new, pair.old)), key=lambda pair: pair.new):
        if new in states:
            continue
        found = list(group)
        linked = [pair for pair in found if pair.old in states]
        if len(linked) == 1 and linked[0].sure and not linked[0].vanished and states[linked[0].old] == "left":
            handed[linked[0].old] = new
            continue
        about = linked or [pair for pair in found if pair.vanished]
        if about:
            alike[new] = Alike(tuple(pair.old for pair in about), _sentence(about))
    return handed, alike


def _sentence(pairs: Sequence[Pair]) -> str:
    new, old = pairs[0].new, ", ".join(pair.old for pair in pairs)
    one, other = shlex.quote(pairs[0].old), shlex.quote(new)
    how = "vanished from the roster" if pairs[0].vanished else "left"
    return (
        f"{new} agrees with {old}, who {how}, in {pairs[0].agrees}, and may be the same person with a new key. If they "
        f"are: provisioner rekey {one} {other}. If {new} is somebody new: approve this, or provisioner rekey {one} "
        f"{other} --different"
    )


async def disputed(dep: Deployment, target: str, snapshot: Snapshot) -> dict[str, str]:
    """By account who lays claim to it, of people whom a run about some people does not see."""
    if snapshot.keys is None:
        return {}
    conflicts = [one for one in await dep.health.list(target, "conflicts") if one["person"] not in snapshot.keys]
    return {account: conflict["person"] for conflict in conflicts for account in conflict["accounts"]}
