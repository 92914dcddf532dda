"""`plan`: what a sync would do, for people, for review and for programs."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from provisioner.cli import plan_files
from provisioner.cli.render import run_report
from provisioner.cli.render.output import console, print_json
from provisioner.cli.render.plan_markdown import markdown
from provisioner.cli.runs import Json, People, Roster, Targets, asked_for, handed_over
from provisioner.cli.session import LONG_COMMAND, settings_and_logs
from provisioner.cli.undo import planned, show_undo
from provisioner.errors import UsageError
from provisioner.model.plan_file import PlanFile, plan_file
from provisioner.model.run_document import PlanDocument, exit_code
from provisioner.settings import Settings
from provisioner.store.runs.documents import Request


def plan(
    target: Targets = None,
    person: People = None,
    roster: Roster = None,
    out_file: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write the plan for review, and keep it for `sync`.")
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown for a pull request on standard output.")
    ] = False,
    undo: Annotated[
        str | None, typer.Option("--undo", metavar="RUN", help="Show what `undo RUN` would do instead.")
    ] = None,
    force_drift: Annotated[
        bool, typer.Option("--force-drift", help="With --undo: also what somebody changed after the run.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show what a sync would do; changes nothing anywhere."""
    if as_markdown and as_json:
        raise UsageError("--markdown and --json exclude each other.")
    if undo is not None:
        if roster or out_file or as_markdown:
            raise UsageError("--undo goes with --target, --person, --force-drift and --json only.")
        return _plan_undo(undo, target, person, force_drift=force_drift, as_json=as_json)
    if force_drift:
        raise UsageError("--force-drift goes with --undo RUN only.")
    settings = settings_and_logs()
    document, file = asyncio.run(_preview(settings, asked_for(target, person, roster), out_file))
    if as_json:
        print_json({**document, "digest": file["digest"]} if out_file else document)
        return exit_code(document)
    if as_markdown:
        sys.stdout.write(markdown(file))
        return exit_code(document)
    out = console()
    options = [
        *(("--target", name) for name in target or ()),
        *(("--person", key) for key in person or ()),
        *((("--roster", roster),) if roster else ()),
    ]
    again = run_report.command_line("sync", [("--plan", out_file)] if out_file else options)
    run_report.plan(out, document, settings.zone, again=again)
    if out_file and document["status"] != "rejected":
        out.print(f"Written to {out_file}; digest {file['digest']}")
    return exit_code(document)


def _plan_undo(
    run: str, targets: list[str] | None, people: list[str] | None, *, force_drift: bool, as_json: bool
) -> int:
    settings = settings_and_logs()
    _, document = asyncio.run(planned(settings, run, targets, people, force=force_drift))
    options = [*(("--target", name) for name in targets or ()), *(("--person", key) for key in people or ())]
    again = run_report.command_line(f"undo {run}{' --force-drift' if force_drift else ''}", options)
    show_undo(settings, document, as_json=as_json, again=again)
    return exit_code(document)


async def _preview(settings: Settings, request: Request, out_file: str | None) -> tuple[PlanDocument, PlanFile]:
    # Celery, polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.runs.preview import previewed
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=LONG_COMMAND, reading=True) as dep:
        dep.chosen(request.targets)
        request, content = await handed_over(settings, request)
        found = await previewed(dep, request, content=content)
        file = plan_file(found.document, found.links, request.people)
        if out_file and found.document["status"] != "rejected":
            await plan_files.keep(dep, out_file, file)
        return found.document, file
