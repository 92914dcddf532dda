"""What waits for a person: one list for the command, the API and the page."""

from __future__ import annotations

from typing import Any, Final, cast

import polars as pl

from provisioner.admin.absent_people import absent_people
from provisioner.admin.leaver_receipts import unfinished
from provisioner.model.person_report import TodoDocument
from provisioner.model.worklists import PausedRow, RejectionRow, TableRow, WorklistRow
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import FrameStore
from provisioner.store.runs.documents import moment
from provisioner.store.runs.target_health import HealthStore, rejections

#: What is said where nothing does.
NOTHING: Final = "Nothing waits for a person."
#: A receipt's states of an account that a leaver should not have any more.
OPEN: Final = frozenset({"pending", "waiting", "held", "failed", "rejected"})


async def to_do(dep: Deployment, targets: tuple[str, ...]) -> TodoDocument:
    """What only a person can settle in some targets, as JSON.

    ``leavers``: the receipts of those who still have an account that they should not have; ``conflicts`` and ``todos``
    of the newest plans; ``rejections`` that hold good, with who said no, when, why and until when at most; ``absent``:
    who vanished from the roster and is no leaver yet; ``paused``: targets that somebody paused.
    """
    found: TodoDocument = {
        "todos": await lists(dep, "todos", targets),
        "conflicts": await lists(dep, "conflicts", targets),
        "leavers": await unfinished(dep, targets),
        "rejections": await standing_rejections(dep, targets),
        "absent": await absent_people(dep.frames, dep.settings),
        "paused": await pauses(dep.health, targets),
    }
    if dep.settings.roster.label is None:
        return found
    people = {person for row in table_rows(found) if (person := row["person"])}
    return {**found, "labels": await dep.frames.labels(people)}


async def pauses(health: HealthStore, targets: tuple[str, ...]) -> list[PausedRow]:
    """Targets that somebody paused: ``target``, ``by``, ``at`` (a moment, None if not known) and ``reason``."""
    found = [(target, await health.of(target)) for target in targets]
    return [
        {
            "target": target,
            "by": one.paused_by,
            "at": moment(one.paused_at) if one.paused_at else None,
            "reason": one.paused_why,
        }
        for target, one in found
        if one.paused
    ]


async def standing_rejections(
    dep: Deployment, targets: tuple[str, ...], person: str | None = None
) -> list[RejectionRow]:
    """The rejections that hold good, the oldest first: of everybody, or of one person.

    One is over when any column of the person's row changes, and after `guards.rejection`.
    """
    now = await dep.clock.now()
    found: list[dict[str, Any]] = []
    for target in targets:
        longest = dep.settings.guards_of(target).rejection.total_seconds()
        for name, made in rejections(await dep.health.decisions(target), longest, now).items():
            if person is None or made.get("person") == person:
                found.append({"target": target, "id": name, "until": made["at"] + longest, **made})
    rows = await _rows(dep.frames, {one["person"] for one in found if one.get("person")})
    # A row from before the rejection says nothing of it: what was rejected may come from a roster that is not clean
    taken = float((await dep.frames.roster()).get("taken", b"0"))
    found = [one for one in found if one["at"] > taken or rows.get(one.get("person", ""), one["row"]) == one["row"]]
    return [
        {
            "target": one["target"],
            "person": one.get("person"),
            "kind": one.get("kind"),
            "id": one["id"],
            "run": one.get("run"),
            "by": one["by"],
            "at": moment(one["at"]),
            "reason": one["reason"],
            "until": moment(one["until"]),
        }
        for one in sorted(found, key=lambda one: (one["at"], one["target"], one.get("person") or ""))
    ]


def table_rows(found: TodoDocument) -> list[TableRow]:
    """The whole list as rows for people: ``target``, ``person``, ``what``, ``message``, leavers first."""
    rows: list[TableRow] = []
    for one in found["leavers"]:
        for target, part in one["targets"].items():
            if part["status"] in OPEN:
                message = f"Left, and still has an account: {part['status']}"
                message += f", {part['message']}" if part["message"] else ""
                rows.append({"target": target, "person": one["person"], "what": "leaver", "message": message})
    for no in found["rejections"]:
        because = f": {no['reason']}" if no["reason"] else ""
        back = f" Take it back: provisioner reject {no['run']} --undo --person {no['person']}" if no["run"] else ""
        message = f"{no['kind'] or 'operation'} rejected by {no['by']}{because}; holds until {no['until']}.{back}"
        rows.append({"target": no["target"], "person": no["person"], "what": "rejection", "message": message})
    for stop in found["paused"]:
        since = f" since {stop['at']}" if stop["at"] else ""
        why = f": {stop['reason']}" if stop["reason"] else ""
        message = f"Paused{since} by {stop['by'] or 'somebody'}{why}. Go on: provisioner resume {stop['target']}"
        rows.append({"target": stop["target"], "person": "", "what": "paused", "message": message})
    rows += [cast("TableRow", {**one, "what": "conflict"}) for one in found["conflicts"]]
    rows += [cast("TableRow", {**one, "what": "to do"}) for one in found["todos"]]
    return rows + [cast("TableRow", {"target": "", "what": "absent", **one}) for one in found["absent"]]


async def _rows(frames: FrameStore, people: set[str]) -> dict[str, str]:
    """The digests of these people's rows in the last clean roster, where it has any."""
    known = await frames.known() if people else None
    if known is None or "_digest" not in known.columns:
        return {}
    rows = known.filter(pl.col("_key").is_in(list(people))).select("_key", "_digest").iter_rows()
    return {key: digest for key, digest in rows if digest}


async def lists(dep: Deployment, name: str, targets: tuple[str, ...]) -> list[WorklistRow]:
    """One of the lists that a person looks after (`todos`, `conflicts`, `drift`, `orphans`), over some targets."""
    rows: list[WorklistRow] = []
    for target in targets:
        found = await dep.health.list(target, name)
        listed = [{"target": target, **(one if isinstance(one, dict) else {"account": one})} for one in found]
        rows += cast("list[WorklistRow]", listed)
    return rows
