"""`webhooks`: events that came in and webhooks that go out, those that failed for good, and sending them again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from provisioner.cli.render.output import cells, console, local, plain, print_json, table
from provisioner.cli.runs import Json
from provisioner.cli.session import ANSWERS_WITHIN, settings_and_logs, who
from provisioner.errors import UsageError, WorkerError
from provisioner.logs import get_logger
from provisioner.model.event_lists import DeadLetter, EventLists
from provisioner.model.wording import counted
from provisioner.settings import Settings

log = get_logger(__name__)

_ALL: Final = "all"
_WORDS: Final = {
    "waiting": "events wait",
    "taken": "of them are in progress",
    "put_off": "events wait for what they need",
    "dead": "events are dead letters",
    "outgoing": "webhooks are to be sent",
    "undelivered": "webhooks were taken by nobody",
}


def webhooks(
    dead: Annotated[bool, typer.Option("--dead", help="Only the dead letters.")] = False,
    show: Annotated[str | None, typer.Option("--show", metavar="ID", help="One dead letter with its body.")] = None,
    replay: Annotated[
        list[str] | None, typer.Option("--replay", metavar="ID|all", help="Put this dead letter back to work, or all.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many rows of each list.")] = 100,
    as_json: Json = False,
) -> int:
    """Show events that came and webhooks that go out: what waits, what died and why; and send it again."""
    if show and replay:
        raise UsageError("--show and --replay do not go together.", remedy="Use one after the other.")
    settings = settings_and_logs()
    if replay:
        done = asyncio.run(_replayed(settings, None if _ALL in replay else replay))
        if as_json:
            print_json({"replayed": done})
        else:
            console().print(
                f"Put back to work: {counted(done['in'], 'event')}, {counted(done['out'], 'outgoing webhook')}."
            )
        return 0
    if show:
        print_json(asyncio.run(_letter(settings, show)))
        return 0
    found = asyncio.run(_waiting(settings, limit))
    shown: Mapping[str, Any] = {"backlog": found["backlog"], "dead": found["dead"]} if dead else found
    if as_json:
        print_json(shown)
    else:
        _tell(console(), shown, settings)
    return 0


def _tell(out: Console, found: Mapping[str, Any], settings: Settings) -> None:
    backlog = found["backlog"]
    out.print(", ".join(f"{backlog[name]} {words}" for name, words in _WORDS.items()) + ".")
    counts = [(target, name, count) for target, of in found.get("counts", {}).items() for name, count in of.items()]
    if counts:
        rows = table("target", "event", "came", numbers=("came",))
        for one in counts:
            rows.add_row(*cells(*one))
        out.print()
        out.print(rows)
    for title, name, columns in (
        ("Dead letters; put them back with: provisioner webhooks --replay ID", "dead", ("died", "tries", "error")),
        ("Waiting for what they need", "put_off", ("due",)),
        ("To be sent", "outgoing", ("due", "tries")),
        ("Not named by the vendors' pages", "unknown", ()),
    ):
        _list(out, title, found.get(name, ()), columns, settings)


def _list(
    out: Console, title: str, rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], settings: Settings
) -> None:
    if not rows:
        return
    shown = table("id", "direction", "target", "event", "came", *columns, whole=("id",))
    for row in rows:
        own = [local(row[name], settings.zone) if name in ("due", "died") else row[name] for name in columns]
        came = local(row["at"], settings.zone)
        shown.add_row(*cells(row["id"], row["direction"], row["target"], row["event"], came, *own))
    out.print()
    out.print(plain(title), style="bold")
    out.print(shown)


async def _waiting(settings: Settings, limit: int) -> EventLists:
    from provisioner.events.dead_letters import waiting
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        return await waiting(dep, limit)


async def _letter(settings: Settings, name: str) -> DeadLetter:
    from provisioner.events.dead_letters import letter
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        return await letter(dep, name)


async def _replayed(settings: Settings, ids: Sequence[str] | None) -> dict[str, int]:
    from provisioner.events.dead_letters import replay
    from provisioner.runtime.context import Deployment
    from provisioner.worker.event_tasks import EventNudge

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        done = await replay(dep, ids, by=who())
    try:
        await asyncio.to_thread(EventNudge(settings).send)
    except WorkerError as exc:
        # Beat nudges every other second besides
        log.warning("not_nudged", error=exc.message)
    return done
