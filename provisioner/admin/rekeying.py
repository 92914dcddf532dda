"""`rekey`: a person goes on under another key. Nothing is written to a vendor; the next plan goes by it.

Links, what was acknowledged, receipts, history and the last clean row move together, while nothing plans: a run that
plans between two of these steps would take the person for two.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl
import structlog

from provisioner.admin.erase import nothing_moves
from provisioner.admin.patience import PATIENCE, settled
from provisioner.dispatch.outcome_spool import Spool
from provisioner.errors import ProvisionerError, UsageError
from provisioner.model.operation import operation_id
from provisioner.model.operation_record import from_json
from provisioner.planning.same_person import Pair
from provisioner.progress.run_status import refresh
from provisioner.roster.classify import row_digests
from provisioner.roster.identity import fold_key
from provisioner.runs.known_as import known_as
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.rekeys import RekeyStore
from provisioner.store.people.snapshots import FrameStore, roster_columns
from provisioner.store.runs.documents import RunStore
from provisioner.store.runs.target_health import HealthStore

log = structlog.get_logger(__name__)

#: Runs in which a new key is looked for that no clean roster holds yet.
_RUNS: Final = 50
_YET: Final = "The key was not changed yet"


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """One person's new key. `targets` are those where a link moved; `dropped` operations had been planned without it.

    `different`: somebody said that the two are different people, so nothing moved.
    """

    old: str
    new: str
    targets: tuple[str, ...] = ()
    dropped: int = 0
    different: bool = False

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        return {**asdict(self), "targets": list(self.targets)}


async def rekey(dep: Deployment, old: str, new: str, *, by: str, patience: float = PATIENCE) -> Rekeyed:
    """Let a person go on under another key.

    Args:
        by: who says so, for the audit trail.
        patience: seconds for which the end of what is under way is awaited.

    Raises:
        UsageError: one of the keys is unknown, both are one, both work here, or both have an account in a target.
        ProvisionerError: what is under way did not end in time; asking again goes on where this ended.
    """
    old, new = await known_as(dep, old), await known_as(dep, new)
    await _check(dep, old, new)
    targets = await dep.erasers.of(old).targets()
    async with nothing_moves(dep, targets, (old, new), patience, _YET):
        # What was acknowledged and kept on disk is about the old key
        await Spool(dep.settings.data_dir).replay(dep.queue)
        await _check_links(dep.ledger, targets, old, new)
        moved: list[str] = []
        runs: list[str] = []
        row = await _row_under(dep.frames, dep.settings, old, new)
        for target in targets:
            await _keep_rejections(dep.runs, dep.health, target, old, new, row)
            linked = await dep.ledger.entry(target, old) is not None
            runs += await _move(dep.rekeys, target, old, new, patience)
            moved += [target] if linked else []
        await dep.rekeys.person(old, new)
        digest = row[1] if row is not None else None
        await dep.frames.rekey_runs(old, new, digest)
        await dep.frames.rekey(old, new, digest)
        await dep.past.rekey(old, new)
        # Whoever was deleted under the old key would else be a leaver by it in each roster to come
        await dep.pushed_people.drop_deleted(fold_key(old))
    for run in dict.fromkeys((*runs, *await dep.runs.recent(_RUNS))):
        await refresh(dep, run)
    await record(dep.audit, by, "rekeyed", people=(old, new), facts={"targets": moved})
    log.info("rekeyed", targets=moved, by=by, dropped=len(runs))
    return Rekeyed(old, new, tuple(moved), len(runs))


async def different(dep: Deployment, old: str, new: str, *, by: str) -> Rekeyed:
    """Say that somebody is nobody who was known before, whatever they agree in.

    Raises:
        UsageError: one of the keys is unknown, or both are one.
    """
    old, new = await known_as(dep, old), await known_as(dep, new)
    await _check_known(dep, old, new)
    await dep.rekeys.say_new(new, {"by": by, "at": await dep.clock.now()})
    await record(dep.audit, by, "told apart", people=(old, new), facts={})
    log.info("told_apart", by=by)
    return Rekeyed(old, new, different=True)


async def rekey_all(
    dep: Deployment, run: str, *, by: str, patience: float = PATIENCE
) -> tuple[list[Rekeyed], list[tuple[Pair, str]]]:
    """Give their new keys to all people whom a run found to be renumbered, where nothing contradicts it.

    Returns:
        Who does, and who was left as they are with the reason.

    Raises:
        UsageError: there is no such run.
        ProvisionerError: what is under way did not end in time; asking again goes on where this ended.
    """
    if not await dep.runs.exists(run):
        raise UsageError(f"There is no run {run!r}.", remedy="`provisioner runs` lists them.")
    found = [Pair(*pair) for pair in json.loads(await dep.runs.get(run, "same") or "[]")]
    times = Counter(key for pair in found for key in (pair.old, pair.new))
    done: list[Rekeyed] = []
    left: list[tuple[Pair, str]] = []
    for pair in found:
        if not pair.sure:
            left.append((pair, f"they agree in {pair.agrees} alone"))
        elif times[pair.old] > 1 or times[pair.new] > 1:
            left.append((pair, "they do not pair up one to one"))
        else:
            try:
                done.append(await rekey(dep, pair.old, pair.new, by=by, patience=patience))
            except UsageError as error:
                left.append((pair, error.message))
    return done, left


async def _check(dep: Deployment, old: str, new: str) -> None:
    await _check_known(dep, old, new)
    people = await dep.frames.known()
    if people is None:
        return
    here = people.filter(people["_verdict"].is_in(["employed", "future"]))["_key"]
    if old in here and new in here:
        raise UsageError(
            f"{old!r} and {new!r} both work here, by the last clean roster, so they are two people.",
            remedy="Correct the roster, then sync and ask again.",
        )


async def _check_known(dep: Deployment, old: str, new: str) -> None:
    if fold_key(old) == fold_key(new):
        raise UsageError(f"{old!r} and {new!r} are one key: case and outer white space do not count.")
    people = await dep.frames.known()
    named = set() if people is None else set(people.filter(people["_key"].is_in([old, new]))["_key"])
    for target in dep.targets:
        named |= (await dep.ledger.entries(target, [old, new])).keys()
    if old not in named:
        raise UsageError(
            f"There is no person {old!r}: neither in the last clean roster nor in the ledger.",
            remedy=f"Use a value of the column {dep.settings.roster.key_name!r}.",
        )
    if new in named:
        return
    for run in await dep.runs.recent(_RUNS):
        if any(pair[1] == new for pair in json.loads(await dep.runs.get(run, "same") or "[]")):
            return
    raise UsageError(
        f"There is no person {new!r}: no roster that was read has them.",
        remedy="Run `provisioner sync` with the roster that has the new key, then ask again.",
    )


async def _check_links(ledger: LedgerStore, targets: Sequence[str], old: str, new: str) -> None:
    for target in targets:
        entries = await ledger.entries(target, [old, new])
        if len(entries) == 2:
            raise _both(target, old, new)


def _both(target: str, old: str, new: str) -> UsageError:
    return UsageError(
        f"{old!r} and {new!r} both have an account in {target}; nothing was changed.",
        remedy=f"Say which is not theirs: provisioner unlink {shlex.quote(old)} {target}, or {shlex.quote(new)}.",
    )


async def _row_under(frames: FrameStore, settings: Settings, old: str, new: str) -> tuple[str, str] | None:
    """The digest of a person's row, and what it is with the new key in it; None where the row is not known."""
    people, key = await frames.known(), settings.roster.key_name
    row = None if people is None else people.filter(people["_key"] == old)
    if row is None or not row.height or key not in row.columns:
        return None
    columns = roster_columns(row.columns)
    renamed = row.with_columns(pl.lit(new).alias(key))
    return row_digests(row, columns)[0], row_digests(renamed, columns)[0]


async def _keep_rejections(
    runs: RunStore, health: HealthStore, target: str, old: str, new: str, row: tuple[str, str] | None
) -> None:
    """Let what somebody said no to stay rejected: what names a change names the person by their key.

    A rejection ends when the person's row changes; that its key did is no such change.
    """
    for name, made in (await health.decisions(target)).items():
        if made["verdict"] != "rejected" or made.get("person") != old:
            continue
        found = await runs.operation(made.get("run", ""), target, name)
        if found is None:
            # Its run is forgotten by now
            continue
        one = from_json(found["doc"])
        same = operation_id(target, new, one.kind, one.before, one.after)
        changed = row[1] if row is not None and row[0] == made["row"] else made["row"]
        await health.decide(target, same, {**made, "person": new, "row": changed})
        await health.undecide(target, name)


async def _move(rekeys: RekeyStore, target: str, old: str, new: str, patience: float) -> tuple[str, ...]:
    """The run of each operation that was dropped, once nothing is being sent about either."""
    late = ProvisionerError(
        f"{_YET}: {target} is being sent something about this person.", remedy="Ask again when that is over."
    )
    changed = await settled(lambda: rekeys.link(target, old, new), patience, late)
    if changed.verdict == "other":
        raise _both(target, old, new)
    return changed.runs
