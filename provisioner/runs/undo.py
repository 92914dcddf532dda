"""Asking for the way back from a run: whom it is about, and what of the run no call takes back."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.errors import UsageError
from provisioner.model.run_document import LeftOutRow
from provisioner.planning.undo_images import Image, Undo, images_of, stays
from provisioner.roster.identity import fold_key
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request, RunStore
from provisioner.store.runs.done_operations import DoneOperationStore

TRIGGER = "undo"


async def undo_request(
    dep: Deployment, run: str, targets: Sequence[str] | None, people: Sequence[str] | None, *, force: bool
) -> Request:
    """The request for a run that takes another one back.

    Args:
        targets, people: only these; None for all that the run changed.
        force: also where somebody changed it since.

    Raises:
        UsageError: there is no such run, target or person in it, or it changed nothing that is still known.
    """
    if not await dep.runs.exists(run):
        raise UsageError(f"There is no run {run!r}.", remedy="`provisioner runs` lists them.")
    chosen = dep.chosen(targets)
    there = await dep.runs.targets(run)
    if targets and (absent := [name for name in chosen if name not in there]):
        raise UsageError(f"Run {run} has no part for the target {absent[0]!r}.")
    changed = {name: await _images(dep.done, dep.runs, run, name) for name in there if name in chosen}
    everybody = dict.fromkeys(person for images in changed.values() for person in images)
    folded = {fold_key(person): person for person in everybody}
    unknown = [person for person in people or () if fold_key(person) not in folded]
    if unknown:
        raise UsageError(
            f"Run {run} changed no account of {', '.join(unknown)}.",
            remedy=f"`provisioner show {run} --operations` lists whom it changed.",
        )
    wanted = [folded[fold_key(person)] for person in people] if people else list(everybody)
    about = {name: [one for one in wanted if one in images] for name, images in changed.items()}
    linked: dict[str, None] = {}
    for name, some in about.items():
        entries = await dep.ledger.entries(name, some)
        linked |= dict.fromkeys(person for person in some if person in entries)
    if not linked:
        days = dep.settings.retention.operations.total_seconds() / 86400
        raise UsageError(
            f"There is nothing to take back of run {run}: it changed no account that is still linked.",
            remedy=f"Operations are kept for {days:g} days (retention.operations).",
        )
    names = tuple(name for name, some in about.items() if some)
    return Request(TRIGGER, targets=names, people=tuple(linked), undo=run, force=force)


async def undo_of(done: DoneOperationStore, runs: RunStore, request: Request, target: str) -> Undo:
    """What of a run is taken back in one target."""
    run = request.undo or ""
    images = await _images(done, runs, run, target)
    people = request.people
    chosen = images if people is None else {person: images[person] for person in people if person in images}
    return Undo(run, chosen, request.force)


async def staying_of(dep: Deployment, request: Request) -> list[LeftOutRow]:
    """What of a run no call takes back, of those whom an undo is about."""
    run, people = request.undo or "", request.people
    found: list[LeftOutRow] = []
    for target in request.targets or await dep.runs.targets(run):
        sent = dep.done.of(await dep.runs.holders(run, target), target)
        done = [one async for one, succeeded in sent if succeeded]
        found += [one for one in stays(done) if people is None or one["person"] in people]
    return found


async def _images(done: DoneOperationStore, runs: RunStore, run: str, target: str) -> dict[str, Image]:
    sent = done.of(await runs.holders(run, target), target)
    return images_of([one async for one, succeeded in sent if succeeded or one.account is not None])
