"""`why`, `todos`, `drift`, `orphans`, `audit` and `export`: what a person looks at, and what HR gets back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from provisioner.cli.render import person_history
from provisioner.cli.render.drift import changes
from provisioner.cli.render.facts_view import facts
from provisioner.cli.render.output import cells, console, local, plain, print_json, table
from provisioner.cli.runs import Json, Key, Targets
from provisioner.cli.session import ANSWERS_WITHIN, settings_and_logs
from provisioner.model.audit_entry import AuditEntry
from provisioner.model.person_report import (
    PersonInTarget,
    PersonReport,
    PersonRow,
    TodoDocument,
    account_seen_at,
    difference_mark,
)
from provisioner.model.wording import counted
from provisioner.model.worklists import WorklistRow
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.progress.writeback import Exported

_AUDIT_COLUMNS = frozenset({"id", "at", "by", "action"})


def why(key: Key, as_json: Json = False) -> int:
    """Tell one person's story: row, scope, link, desired and observed account, and what happened in every kept run."""
    settings = settings_and_logs()
    document = asyncio.run(_story(settings, key))
    if as_json:
        print_json(document)
        return 0
    out = console()
    label = document.get("label")
    out.print(plain(f"Person {key} ({label})" if label else f"Person {key}"), style="bold", markup=False)
    _row(out, document["roster"], settings)
    for name, target in document["targets"].items():
        _target(out, name, target, settings)
        facts(out, document["facts"].get(name, {}))
    person_history.receipt(out, document["receipt"], settings.zone)
    person_history.rejections(out, document["rejections"], settings.zone)
    person_history.timeline(out, document, settings.zone)
    return 0


def todos(target: Targets = None, as_json: Json = False) -> int:
    """List what only a person can settle, the conflicts, rejections, and leavers who are not finished."""
    settings = settings_and_logs()
    found = asyncio.run(_to_do(settings, target))
    if as_json:
        print_json(found)
        return 0
    if found["leavers"]:
        person_history.leavers(console(), found["leavers"], settings.zone)
        some = counted(len(found["leavers"]), "leaver still has", "leavers still have")
        console().print(f"{some} an account that they should not have.\n")
    from provisioner.admin.worklists import NOTHING, table_rows

    labels = found.get("labels") or {}
    rows = [
        {**row, "person": f"{row['person']} ({labels[row['person']]})"} if row["person"] in labels else dict(row)
        for row in table_rows({**found, "leavers": []})
    ]
    if rows or not found["leavers"]:
        _list(rows, ("target", "person", "what", "message"), NOTHING)
    return 0


def drift(target: Targets = None, as_json: Json = False) -> int:
    """List what changed in the targets since we last wrote, as the newest run saw it, and what is done about it."""
    settings = settings_and_logs()
    found = asyncio.run(_lists(settings, ("drift",), target))
    if as_json:
        print_json(found)
        return 0
    changes(console(), found["drift"], settings.zone)
    return 0


def orphans(target: Targets = None, as_json: Json = False) -> int:
    """List accounts that belong to nobody on the roster; they are never touched."""
    settings = settings_and_logs()
    found = asyncio.run(_lists(settings, ("orphans",), target))
    if as_json:
        print_json(found)
        return 0
    _list(found["orphans"], ("target", "account"), "No orphans: every account has a person.")
    return 0


def audit(
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> int:
    """List what people did here, the newest first."""
    settings = settings_and_logs()
    entries = asyncio.run(_audit(settings, limit))
    if as_json:
        print_json({"audit": entries})
        return 0
    rows = [
        {
            "when": local(one["at"], settings.zone),
            "who": one["by"],
            "what": one["action"],
            "about": ", ".join(f"{name} {_shown(value)}" for name, value in one.items() if name not in _AUDIT_COLUMNS),
        }
        for one in entries
    ]
    _list(rows, ("when", "who", "what", "about"), "Nobody has done anything by hand yet.")
    return 0


def export(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="Where to; else writeback.url.")] = None,
    as_json: Json = False,
) -> int:
    """Write the table that HR gets back: accounts, statuses and outcomes per person."""
    settings = settings_and_logs()
    written = asyncio.run(_export(settings, file))
    if as_json:
        print_json(asdict(written))
    else:
        done = "written" if written.written else "not written, for it holds the same already"
        console().print(f"{written.place}: {counted(written.rows, 'person', 'people')}, {done}.")
    return 0


async def _audit(settings: Settings, limit: int) -> list[AuditEntry]:
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        return await dep.audit.newest(limit)


async def _export(settings: Settings, file: str | None) -> Exported:
    from provisioner.progress.writeback import export as write
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        return await write(dep, file)


async def _story(settings: Settings, key: str) -> PersonReport:
    # Celery, polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.admin.person_report import story
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        return await story(dep, key)


async def _to_do(settings: Settings, targets: list[str] | None) -> TodoDocument:
    from provisioner.admin.worklists import to_do
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        return await to_do(dep, dep.chosen(targets))


async def _lists(settings: Settings, names: Iterable[str], targets: list[str] | None) -> dict[str, list[WorklistRow]]:
    from provisioner.admin.worklists import lists
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        chosen = dep.chosen(targets)
        return {name: await lists(dep, name, chosen) for name in names}


def _list(rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], nothing: str) -> None:
    out = console()
    if not rows:
        out.print(nothing)
        return
    shown = table(*columns)
    for row in rows:
        shown.add_row(*cells(*(row.get(column, "") for column in columns)))
    out.print(shown)
    out.print(f"{len(rows)} in all.")


def _row(out: Console, roster: PersonRow | None, settings: Settings) -> None:
    if roster is None:
        out.print("The last clean roster does not have this person.")
        return
    out.print(
        f"Roster: line {roster['line']} of {plain(roster['file'])}, "
        f"taken {local(roster['taken_at'], settings.zone)}: {roster['verdict']}"
    )
    if roster["absent_since"]:
        out.print(f"Absent since {roster['absent_since']}, from {roster['absent_snapshots']} snapshots.")
    shown = table("column", "value")
    for column, value in roster["row"].items():
        if value is not None:
            shown.add_row(*cells(column, value))
    out.print(shown)


def _target(out: Console, name: str, target: PersonInTarget, settings: Settings) -> None:
    link = target["link"]
    if link is None:
        summary = "no account"
    else:
        how = "created by us" if link["created_by_us"] else f"found by {link['matched'] or 'an earlier link'}"
        summary = f"account {plain(link['account'])} ({how}, {link['state']})"
        seen = local(account_seen_at(target), settings.zone)
        summary += f", seen {seen}" if seen else ""
        summary += f", last written {local(link['recorded_at'], settings.zone)}"
    out.print()
    out.print(f"{name}: {summary}", style="bold")
    if target["standing"]:
        out.print(f"  should be: {target['standing']} ({target['reason']}); target {target['health']}")
    for message in (*target["conflicts"], *target["todos"]):
        out.print(f"  to do: {plain(message)}")
    rows = table("  attribute", "desired", "observed", "last written", "", "expression")
    for one in target["attributes"]:
        mark = difference_mark(link, target["seen_at"], one)
        rows.add_row(
            *cells(
                f"  {one['attribute']}",
                _shown(one["desired"]),
                _shown(one["observed"]),
                _shown(one["acknowledged"]),
                mark,
                one["expression"],
            )
        )
    out.print(rows)


def _shown(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
