"""`forget`, `backup` and `restore`: what is kept, and what is kept no longer."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner.cli.render.output import cells, console, local, plain, print_json, table
from provisioner.cli.runs import Json, Key
from provisioner.cli.session import LONG_COMMAND, settings_and_logs, who
from provisioner.model.wording import counted
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.admin.backup import Saved
    from provisioner.admin.erase import Forgotten

File = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="The backup.")]
Force = Annotated[bool, typer.Option("--force", help="Also over links that are there; they are lost.")]


def forget(key: Key, as_json: Json = False) -> int:
    """Erase a person's data here, and say which accounts the vendors still hold."""
    settings = settings_and_logs()
    forgotten = asyncio.run(_forgotten(settings, key))
    if as_json:
        print_json(asdict(forgotten))
    else:
        _tell(forgotten)
    return 0


def backup(file: File, as_json: Json = False) -> int:
    """Save the ledger, and what else could not be found out again, to one file."""
    settings = settings_and_logs()
    saved = asyncio.run(_saved(settings, file))
    _say(saved, settings, "written", as_json=as_json)
    return 0


def restore(file: File, force: Force = False, as_json: Json = False) -> int:
    """Bring a backup back, all of it or nothing; stop the workers and beat first."""
    settings = settings_and_logs()
    saved = asyncio.run(_restored(settings, file, force=force))
    _say(saved, settings, "restored", as_json=as_json)
    return 0


async def _forgotten(settings: Settings, key: str) -> Forgotten:
    # Celery, polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.admin.erase import forget as erase
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=LONG_COMMAND) as dep:
        return await erase(dep, key, by=who())


async def _saved(settings: Settings, file: Path) -> Saved:
    from provisioner.admin.backup import backup as save
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=LONG_COMMAND) as dep:
        return await save(dep, file)


async def _restored(settings: Settings, file: Path, *, force: bool) -> Saved:
    from provisioner.admin.backup import restore as bring_back
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=LONG_COMMAND) as dep:
        return await bring_back(dep, file, force=force)


def _tell(forgotten: Forgotten) -> None:
    out = console()
    gone = ", ".join(f"{count} {name}" for name, count in forgotten.erased.items() if count) or "nothing else"
    out.print(f"Forgotten: {plain(forgotten.person)} ({gone}; {counted(forgotten.dropped, 'operation')} not sent).")
    if forgotten.accounts:
        out.print("The vendors still hold these accounts, which only they or you can delete there:")
        rows = table("target", "account", "state", "made by us")
        for one in forgotten.accounts:
            rows.add_row(*cells(one.target, one.account, one.state, "yes" if one.created else "no"))
        out.print(rows)
        out.print("Until they are deleted, listings show them here again, as accounts of nobody (orphans).")
    else:
        out.print("No account at any vendor was linked to this person.")
    if forgotten.listed:
        out.print("The last roster still had this person. If the next one does too, they are taken for somebody new.")
    else:
        out.print("Should a later roster have this person again, they are taken for somebody new.")
    if forgotten.pushed:
        out.print("The roster that was pushed lies here until the next one comes: push one without this person.")
    out.print("Backups from before still hold this person: make a new one, and destroy those.")


def _say(saved: Saved, settings: Settings, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(saved))
        return
    out = console()
    made = local(saved.made_at, settings.zone)
    out.print(f"{what.capitalize()}: {plain(saved.file)}, layout {saved.schema}, as of {made}.")
    rows = table("what", "entries", numbers=("entries",))
    for name, count in sorted(saved.entries.items()):
        rows.add_row(*cells(name, count))
    out.print(rows)
    if what == "restored":
        out.print("Next: provisioner plan shows what a sync would do. Then start the workers and beat.")
