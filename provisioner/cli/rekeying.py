"""`rekey`: a person goes on under another key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner.cli.render.output import console, plain, print_json
from provisioner.cli.runs import Json
from provisioner.cli.session import settings_and_logs, who
from provisioner.errors import UsageError
from provisioner.model.wording import counted
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.admin.rekeying import Rekeyed
    from provisioner.planning.same_person import Pair

Old = Annotated[str | None, typer.Argument(metavar="OLD", help="The key under which the person is known.")]
New = Annotated[str | None, typer.Argument(metavar="NEW", help="The key that they have now.")]
Run = Annotated[str | None, typer.Option("--all", metavar="RUN", help="Everybody whom that run took for renumbered.")]
Different = Annotated[bool, typer.Option("--different", help="Say that they are two people; nothing moves.")]


def rekey(
    old: Old = None, new: New = None, run: Run = None, different: Different = False, as_json: Json = False
) -> int:
    """Let a person go on under another key: links, receipts and history move."""
    if (run is None) == (old is None or new is None) or (run is not None and (old is not None or different)):
        raise UsageError("Say who: provisioner rekey OLD NEW, or provisioner rekey --all RUN.")
    settings = settings_and_logs()
    if run is not None:
        done, left = asyncio.run(_everybody(settings, run))
    else:
        done, left = [asyncio.run(_one(settings, str(old), str(new), different=different))], []
    if as_json:
        rows = [one.to_json() for one in done]
        rest = [{"old": pair.old, "new": pair.new, "agrees": pair.agrees, "reason": why} for pair, why in left]
        print_json({"rekeyed": rows, "left": rest} if run is not None else rows[0])
        return 0
    _say(done, left)
    return 0


def _say(done: list[Rekeyed], left: list[tuple[Pair, str]]) -> None:
    out = console()
    for one in done:
        if one.different:
            out.print(f"{plain(one.new)} is taken for somebody new.")
            continue
        where = ", ".join(one.targets) or "no target: there was no account"
        out.print(f"{plain(one.old)} goes on as {plain(one.new)} (accounts: {plain(where)}).")
        if one.dropped:
            some = counted(one.dropped, "operation that was", "operations that were")
            out.print(f"Not sent: {some} planned without this.")
    for pair, why in left:
        out.print(f"{plain(pair.old)} and {plain(pair.new)} are left as they are: {plain(why)}.")
    out.print("The next run goes by it: provisioner sync" if done else "Nobody was given another key.")


async def _one(settings: Settings, old: str, new: str, *, different: bool) -> Rekeyed:
    # Celery, polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.admin import rekeying
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings) as dep:
        if different:
            return await rekeying.different(dep, old, new, by=who())
        return await rekeying.rekey(dep, old, new, by=who())


async def _everybody(settings: Settings, run: str) -> tuple[list[Rekeyed], list[tuple[Pair, str]]]:
    from provisioner.admin import rekeying
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings) as dep:
        return await rekeying.rekey_all(dep, run, by=who())
