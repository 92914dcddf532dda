"""`undo`: the way back from a run, and what of it there is no way back from."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner.cli.awaiting import worker_answers
from provisioner.cli.render import run_report
from provisioner.cli.render.output import console, local, print_json
from provisioner.cli.runs import Json, People, Targets, longest_wait, started, wait_for
from provisioner.cli.session import ANSWERS_WITHIN, LONG_COMMAND, settings_and_logs
from provisioner.model.run_document import PlanDocument, exit_code
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.store.runs.documents import Request

Force = Annotated[bool, typer.Option("--force-drift", help="Also overwrite what somebody changed after the run.")]


def undo(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `provisioner runs` lists it.")],
    target: Targets = None,
    person: People = None,
    force_drift: Force = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run, and exit with its result.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="Longest wait: 90s, 30m, 1h.")] = "1h",
    as_json: Json = False,
) -> int:
    """Take a run back: accounts become what they were before it."""
    settings = settings_and_logs()
    ends = time.monotonic() + longest_wait(timeout) if wait else None
    request, plan = asyncio.run(planned(settings, run, target, person, force=force_drift))
    if plan["status"] == "rejected":
        # Its error says why, and nothing is started
        show_undo(settings, plan, as_json=as_json, again="")
        return exit_code(plan)
    if not as_json:
        show_undo(settings, plan, as_json=False, again="", stream_is_error=True)
    new = asyncio.run(_start(settings, request, ends=ends))
    if ends is None:
        if as_json:
            told = {"undo": plan.get("undo"), "left_out": plan.get("left_out"), "stays": plan.get("stays")}
            print_json({"run": new, "status": "queued", **told, "next_sync": plan.get("next_sync")})
        else:
            sys.stdout.write(f"{new}\n")
            sys.stderr.write(f"Queued. Look at it: provisioner show {new}\n")
        return 0
    return wait_for(settings, new, ends=ends, as_json=as_json)


async def planned(
    settings: Settings, run: str, targets: list[str] | None, people: list[str] | None, *, force: bool
) -> tuple[Request, PlanDocument]:
    """The request for an undo, and what it would do.

    Raises:
        UsageError: there is no such run, target or person in it, or nothing to take back.
    """
    from provisioner.admin.undo_outline import next_sync
    from provisioner.runs.preview import preview
    from provisioner.runs.undo import undo_request
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=LONG_COMMAND, reading=True) as dep:
        request = await undo_request(dep, run, targets, people, force=force)
        document = await preview(dep, request)
        document["next_sync"] = next_sync(settings, await dep.clock.now())
        return request, document


def show_undo(
    settings: Settings, document: PlanDocument, *, as_json: bool, again: str, stream_is_error: bool = False
) -> None:
    """What an undo would do, what stays, and what comes after it."""
    if as_json:
        print_json(document)
        return
    out = console(stderr=stream_is_error)
    run_report.plan(out, document, settings.zone, again=again)
    run_report.left_out(out, document)
    run_report.left_out(out, {"left_out": document.get("stays")}, "Stays, because")
    begins = document.get("next_sync")
    out.print()
    if begins:
        out.print(
            f"The next ordinary sync begins {local(begins, settings.zone)} by schedule. It plans from the roster and "
            "the mapping as they are then, and takes the place of what the undo has not sent by then. "
            "Correct the mapping or the roster before, or once the undo is done: provisioner pause TARGET",
            soft_wrap=True,
        )
    else:
        out.print("No sync begins by schedule. The next one plans from the roster and the mapping as they are then.")


async def _start(settings: Settings, request: Request, *, ends: float | None) -> str:
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        await worker_answers(settings, otherwise="nothing was started", ends=ends)
        return await started(dep, settings, request, None, {"undo": request.undo, "force_drift": request.force})
