"""`roster`: which roster runs read, since when, and the way back to `roster.url`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner.cli.render.output import console, local, plain, print_json
from provisioner.cli.runs import Json
from provisioner.cli.session import ANSWERS_WITHIN, settings_and_logs, who
from provisioner.errors import UsageError
from provisioner.model.run_document import RosterInUse
from provisioner.settings import Settings
from provisioner.settings.place import shown

if TYPE_CHECKING:
    from provisioner.runtime.context import Deployment

Drop = Annotated[bool, typer.Option("--drop-push", help="Drop the pushed roster that runs read.")]


def roster(drop_push: Drop = False, as_json: Json = False) -> int:
    """Say which roster runs read, and since when; with --drop-push, go back to the one before."""
    settings = settings_and_logs()
    found = asyncio.run(_dropped(settings) if drop_push else _source(settings))
    if as_json:
        print_json(found)
        return 0
    out = console()
    if found["dropped"]:
        out.print(f"Dropped: the roster pushed at {local(found['dropped'], settings.zone)}.")
    if found["kind"] == "push":
        out.print(f"Runs read the roster pushed at {local(found['since'], settings.zone)}.")
        if not found["believed"]:
            out.print("It is degraded, so removals wait until somebody accepts it.")
        out.print(plain(f"roster.url ({found['url']}) is not read. Go back: provisioner roster --drop-push"))
    elif settings.roster.pushed_people:
        last = f"the last change came at {local(found['since'], settings.zone)}" if found["since"] else "nobody was yet"
        out.print(plain(f"Runs read the people pushed to /scim/v2 ({found['url']}); {last}."))
    else:
        out.print(plain(f"Runs read roster.url ({found['url']})."))
    if found["dropped"]:
        out.print("Next: provisioner plan shows what a sync would do now.")
    return 0


async def _source(settings: Settings) -> RosterInUse:
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, reading=True) as dep:
        return await _now(dep)


async def _dropped(settings: Settings) -> RosterInUse:
    from provisioner.runtime.audit import record
    from provisioner.runtime.context import Deployment
    from provisioner.store.runs.documents import moment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        dropped = await dep.frames.drop_pushed()
        if dropped is None:
            raise UsageError(
                "No pushed roster is kept.", remedy=f"Runs read roster.url ({shown(settings.roster.url)})."
            )
        await record(dep.audit, who(), "push dropped", facts={"pushed": moment(dropped.at)})
        return {**await _now(dep), "dropped": moment(dropped.at)}


async def _now(dep: Deployment) -> RosterInUse:
    from provisioner.store.runs.documents import moment

    if dep.settings.roster.pushed_people:
        last = (await dep.pushed_people.facts()).pushed
        return {
            "kind": "url",
            "url": shown(dep.settings.roster.url),
            "since": moment(last or None),
            "believed": None,
            "dropped": None,
        }
    kept = await dep.frames.pushed_since(dep.settings.roster.url)
    return {
        "kind": "push" if kept else "url",
        "url": shown(dep.settings.roster.url),
        "since": moment(kept[0]) if kept else None,
        "believed": kept[1] if kept else None,
        "dropped": None,
    }
