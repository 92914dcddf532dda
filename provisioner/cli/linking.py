"""`link` and `unlink`: whose account is whose, where only a person can say."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner.cli.render.output import console, plain, print_json
from provisioner.cli.runs import Json, Key
from provisioner.cli.session import ANSWERS_WITHIN, settings_and_logs, who
from provisioner.model.wording import counted
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.admin.linking import HandLink

Target = Annotated[str, typer.Argument(metavar="TARGET", help="The target's name in the settings.")]
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account, as `orphans` and `todos` name it.")]


def link(key: Key, target: Target, account: Account, as_json: Json = False) -> int:
    """Say that an account is a person's; nothing is written to the vendor before the next run."""
    return _settle(key, target, account, as_json=as_json)


def unlink(key: Key, target: Target, as_json: Json = False) -> int:
    """Say that a person's account is not theirs; it is not matched to them again."""
    return _settle(key, target, None, as_json=as_json)


def _settle(key: str, target: str, account: str | None, *, as_json: bool) -> int:
    settings = settings_and_logs()
    done = asyncio.run(_settled(settings, key, target, account))
    if as_json:
        print_json(asdict(done))
        return 0
    out, named = console(), f"{plain(done.account)} in {target}"
    if done.linked:
        out.print(f"{plain(key)} has the account {named} now.")
    else:
        out.print(f"The account {named} is not {plain(key)}'s any more, and is not matched to them again.")
    if done.dropped:
        some = counted(done.dropped, "operation that was", "operations that were")
        out.print(f"Not sent: {some} planned without this.")
    out.print(f"The next run goes by it; at once: provisioner sync --person {plain(key)} --target {target}")
    return 0


async def _settled(settings: Settings, key: str, target: str, account: str | None) -> HandLink:
    # Celery, polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.admin import linking
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        if account is None:
            return await linking.unlink(dep, key, target, by=who())
        return await linking.link(dep, key, target, account, by=who())
