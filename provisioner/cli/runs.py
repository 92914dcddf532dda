"""`plan`, `sync`, `runs` and `show`: asking for runs, following them, and reading what became of them."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from provisioner.cli import plan_files
from provisioner.cli.awaiting import say_silence, worker_answers
from provisioner.cli.errors import INTERRUPTED
from provisioner.cli.render import run_report
from provisioner.cli.render.output import console, print_json
from provisioner.cli.render.progress import follow, progress
from provisioner.cli.session import ANSWERS_WITHIN, log, settings_and_logs, who
from provisioner.errors import StoreError, UsageError, WorkerError
from provisioner.model.operation_document import ErrorDocument, OperationDocument
from provisioner.model.run_document import UNDONE, RejectedRow, RunDocument, exit_code
from provisioner.settings import Settings, parse_duration
from provisioner.settings.place import scheme_of, shown
from provisioner.store.runs.documents import Request, RunStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.runtime.context import Deployment

#: How a roster's digest is spelt, and runs that are looked through for the newest.
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LOOKED_AT: Final = 20

Targets = Annotated[
    list[str] | None, typer.Option("--target", metavar="T", help="Only this target; may be given more than once.")
]
People = Annotated[
    list[str] | None, typer.Option("--person", metavar="K", help="Only this person; may be given more than once.")
]
Roster = Annotated[
    str | None,
    typer.Option("--roster", metavar="URL", help="This roster, a path or an address, instead of roster.url."),
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The person's key in the roster.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def sync(
    target: Targets = None,
    person: People = None,
    roster: Roster = None,
    accept: Annotated[
        str | None, typer.Option("--accept", metavar="DIGEST", help="Believe the degraded roster of this digest.")
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="FILE|DIGEST", help="Send only what this plan has and is still wanted."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run, and exit with its result.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="Longest wait: 90s, 30m, 1h.")] = "1h",
    as_json: Json = False,
) -> int:
    """Start a run on the workers."""
    if plan is not None and (target or person):
        raise UsageError("--plan: the plan says which targets and people it is about; leave --target and --person out.")
    settings = settings_and_logs()
    ends = time.monotonic() + longest_wait(timeout) if wait else None
    run = asyncio.run(_start(settings, asked_for(target, person, roster, accept), ends=ends, plan=plan))
    if ends is None:
        if as_json:
            print_json({"run": run, "status": "queued"})
        else:
            sys.stdout.write(f"{run}\n")
            sys.stderr.write(f"Queued. Look at it: provisioner show {run}\n")
        return 0
    return wait_for(settings, run, ends=ends, as_json=as_json)


def list_runs(
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    as_json: Json = False,
) -> int:
    """List the runs, the newest first."""
    settings = settings_and_logs()
    documents = asyncio.run(_recent(settings, limit))
    if as_json:
        print_json({"runs": documents})
    elif documents:
        run_report.history(console(), documents, settings.zone)
    else:
        sys.stdout.write("There are no runs yet. Start one: provisioner sync --wait\n")
    return 0


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `provisioner runs` lists it.")],
    operations: Annotated[bool, typer.Option("--operations", help="List every operation.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List the failed operations only.")] = False,
    as_json: Json = False,
) -> int:
    """Show one run: what became of it, and why."""
    settings = settings_and_logs()
    listed = ("failed",) if failed else None
    wanted = operations or failed
    document, rows, rejects = asyncio.run(_read(settings, run, wanted=wanted, statuses=listed, explain=not as_json))
    if as_json:
        print_json({**document, "operations": rows} if wanted else document)
        return 0
    _describe(settings, document, rejects, rows, listing=wanted)
    return 0


def wait_for(settings: Settings, run: str, *, ends: float, as_json: bool) -> int:
    """Follow a run to its end, show what became of it, and return the exit code.

    Args:
        ends: the moment by the monotonic clock at which nobody waits any longer.
    """
    if not as_json:
        sys.stderr.write(f"Run {run}\n")
    try:
        document = asyncio.run(_follow(settings, run, ends))
    except KeyboardInterrupt:
        return _left_alone(run, as_json=as_json)
    except StoreError as exc:
        remedy = f"{exc.remedy or ''} Then look at the run: provisioner show {shlex.quote(run)}".strip()
        raise StoreError(f"{exc.message} Nobody knows the state of run {run}; it goes on.", remedy=remedy) from exc
    code = exit_code(document)
    over = document["status"] != "running"
    if as_json:
        print_json(document if over else {**document, "error": _not_finished(run)})
        return code
    document, rows, rejects = asyncio.run(_read(settings, run, wanted=False, statuses=None, explain=True))
    _describe(settings, document, rejects, rows, listing=False)
    if not over:
        sys.stderr.write(f"Error: {_not_finished(run)['message']} {_not_finished(run)['remedy']}\n")
    return code


def _left_alone(run: str, *, as_json: bool) -> int:
    look = f"provisioner show {shlex.quote(run)}"
    message = f"Run {run} goes on without being watched."
    if as_json:
        print_json({"run": run, "error": {"code": "interrupted", "message": message, "remedy": f"Look at it: {look}"}})
    else:
        sys.stderr.write(f"\n{message} Look at it: {look}\n")
    return INTERRUPTED


def _not_finished(run: str) -> ErrorDocument:
    return {
        "code": "timeout",
        "message": f"Run {run} is not finished within the time given; it goes on.",
        "remedy": f"Look at it: provisioner show {run}",
        "exit": 6,
    }


def asked_for(
    targets: list[str] | None, people: list[str] | None, roster: str | None, accept: str | None = None
) -> Request:
    return Request(
        trigger="manual",
        targets=tuple(dict.fromkeys(targets)) if targets else None,
        people=tuple(dict.fromkeys(people)) if people else None,
        accept=accept,
        roster=roster,
    )


async def handed_over(settings: Settings, request: Request) -> tuple[Request, bytes | None]:
    """The request, and the roster if it is on this machine: the workers may run on another."""
    from provisioner.roster import fetch

    place = request.roster
    if place is None or scheme_of(place) != "file":
        return request, None
    source = await asyncio.to_thread(fetch, settings.roster, url=place)
    return replace(request, roster=source.name, written=source.written), source.content


def longest_wait(text: str) -> float:
    """The seconds of a `--timeout`.

    Raises:
        UsageError: it is no duration.
    """
    try:
        return parse_duration(text).total_seconds()
    except ValueError as exc:
        raise UsageError(f"--timeout: {exc}.") from None


async def _start(settings: Settings, request: Request, *, ends: float | None, plan: str | None = None) -> str:
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        dep.chosen(request.targets)
        if request.accept and not _DIGEST.fullmatch(request.accept):
            newest = await _newest_digest(dep.runs) or "not known: no run has read one yet"
            raise UsageError(
                f"--accept: {request.accept!r} is no roster's digest.", remedy=f"The newest roster's is {newest}."
            )
        if plan is not None:
            request = await plan_files.reviewed(dep, plan, request)
        await worker_answers(settings, otherwise="nothing was started", ends=ends)
        own = request.roster and shown(request.roster)
        request, content = await handed_over(settings, request)
        more = {"accept": request.accept, "roster": own, **({"plan": request.plan} if request.plan else {})}
        return await started(dep, settings, request, content, more)


async def started(
    dep: Deployment, settings: Settings, request: Request, content: bytes | None, facts: Mapping[str, object]
) -> str:
    """Ask for a run, note who did, and wake the workers; its id.

    Args:
        content: the roster that goes with it.
        facts: what the audit trail keeps besides run and targets.
    """
    from provisioner.runs.lifecycle import request_run
    from provisioner.runtime.audit import record
    from provisioner.worker.wakeups import nudge

    run = await request_run(dep, request, content=content)
    noted = {"run": run, "targets": request.targets, **facts}
    # An undo of very many names the run, which names them
    people = request.people if request.urgent else None
    await record(dep.audit, who(), "run requested", people=people, facts=noted)
    try:
        await asyncio.to_thread(nudge, settings, run, urgent=request.urgent)
    except WorkerError as exc:
        # The run is on record, and beat looks for such every few seconds
        log.warning("nudge_lost", run=run, error=str(exc))
    return run


async def _newest_digest(runs: RunStore) -> str | None:
    for run in await runs.recent(_LOOKED_AT):
        document = await runs.document(run)
        if document is not None and document["roster"]:
            return str(document["roster"]["digest"])
    return None


async def _follow(settings: Settings, run: str, ends: float) -> RunDocument:
    from provisioner.runs.orders import with_left_out
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        silence = asyncio.create_task(say_silence(dep.heartbeats, dep.settings))
        try:
            with progress() as shown:
                return await with_left_out(dep, await follow(dep.runs, run, shown, ends=ends))
        finally:
            silence.cancel()
            await asyncio.gather(silence, return_exceptions=True)


async def _recent(settings: Settings, limit: int) -> list[RunDocument]:
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        found = [await dep.runs.document(run) for run in await dep.runs.recent(limit)]
    return [document for document in found if document is not None]


async def _read(
    settings: Settings, run: str, *, wanted: bool, statuses: tuple[str, ...] | None, explain: bool
) -> tuple[RunDocument, list[OperationDocument], list[RejectedRow]]:
    """(document, operations, rejected rows) of a run.

    `wanted`: the operations with one of `statuses` are asked for; else, with `explain`, those that were not done.
    """
    from provisioner.runs.orders import with_left_out
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        document = await dep.runs.document(run)
        if document is None:
            raise UsageError(f"There is no run {run!r}.", remedy="See `provisioner runs`.")
        document = await with_left_out(dep, document)
        rows: list[OperationDocument] = []
        if wanted:
            rows = await dep.runs.operations(run, document["targets"], statuses=statuses)
        elif explain:
            undone = [
                name
                for name, target in document["targets"].items()
                if any(run_report.total(target, figure) for figure in UNDONE)
            ]
            rows = await dep.runs.operations(run, undone, statuses=UNDONE)
        rejects = await dep.runs.rejects(run) if explain else []
    return document, rows, rejects


def _describe(
    settings: Settings,
    document: RunDocument,
    rejects: list[RejectedRow],
    rows: list[OperationDocument],
    *,
    listing: bool,
) -> None:
    out = console()
    run_report.heading(out, document, settings.zone)
    run_report.roster(out, document, rejects)
    run_report.figures(out, document)
    run_report.accuracy(out, document)
    run_report.left_out(out, document)
    run_report.left_out(out, {"left_out": document.get("stays")}, "Stays, because")
    run_report.remarks(out, document)
    run_report.causes(out, [row for row in rows if row["status"] in UNDONE])
    if listing:
        run_report.operations(out, rows, limit=None)
    run_report.next_steps(out, document)
