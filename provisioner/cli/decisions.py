"""`approve`, `reject`, `retry`, `pause` and `resume`: what a person decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner.cli.awaiting import worker_answers
from provisioner.cli.render.output import cells, console, print_json, table
from provisioner.cli.runs import Json, People, longest_wait, wait_for
from provisioner.cli.session import ANSWERS_WITHIN, log, settings_and_logs, who
from provisioner.errors import UsageError, WorkerError
from provisioner.model.wording import counted
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.admin.decisions import Decided, Verdict

Run = Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `provisioner runs` lists it.")]
OneTarget = Annotated[str | None, typer.Option("--target", metavar="T", help="Only this target's.")]
Everything = Annotated[bool, typer.Option("--all", help="All that the other options leave.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the decision.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the run, and exit with its result.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="TIME", help="Longest wait: 90s, 30m, 1h.")]
Target = Annotated[str, typer.Argument(metavar="T", help="The target's name in the settings.")]


def approve(
    run: Run,
    target: OneTarget = None,
    person: People = None,
    everything: Everything = False,
    reason: Why = "",
    wait: Wait = False,
    timeout: Timeout = "1h",
    as_json: Json = False,
) -> int:
    """Let held operations of a run go out."""
    _named(target, person, everything)
    return _decide(run, "approved", target, person, reason, wait=wait, timeout=timeout, as_json=as_json)


def reject(
    run: Run,
    target: OneTarget = None,
    person: People = None,
    everything: Everything = False,
    reason: Why = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take rejections back: they are held again.")] = False,
    as_json: Json = False,
) -> int:
    """Drop held operations of a run; each stays silent until the person's row changes, for a month at most."""
    _named(target, person, everything)
    if undo:
        settings = settings_and_logs()
        decided = asyncio.run(_taken_back(settings, run, target, person, reason))
        if as_json:
            print_json(decided.to_json())
        else:
            console().print(f"Rejections taken back: {len(decided.done)}. They are held again; the next run decides.")
        return 0
    return _decide(run, "rejected", target, person, reason, wait=False, timeout="1h", as_json=as_json)


def retry(
    run: Run,
    target: OneTarget = None,
    person: People = None,
    wait: Wait = False,
    timeout: Timeout = "1h",
    as_json: Json = False,
) -> int:
    """Send the failed operations of a run again."""
    return _decide(run, "retried", target, person, "", wait=wait, timeout=timeout, as_json=as_json)


def pause(target: Target, reason: Why = "", as_json: Json = False) -> int:
    """Stop writing to a target; its work waits."""
    return _switch(target, paused=True, reason=reason, as_json=as_json)


def resume(target: Target, as_json: Json = False) -> int:
    """Write to a target again; ends a quarantine too."""
    return _switch(target, paused=False, reason="", as_json=as_json)


def _named(target: str | None, people: Sequence[str] | None, everything: bool) -> None:
    """Nobody lets everything go by forgetting an option."""
    if not (people or everything or target):
        raise UsageError("Say which operations: --person K, --target T or --all.")


def _decide(
    run: str,
    verdict: Verdict,
    target: str | None,
    people: Sequence[str] | None,
    reason: str,
    *,
    wait: bool,
    timeout: str,
    as_json: bool,
) -> int:
    settings = settings_and_logs()
    ends = time.monotonic() + longest_wait(timeout)
    decided = asyncio.run(_decided(settings, run, verdict, target, people, reason))
    if not (wait and decided.done):
        if as_json:
            print_json(decided.to_json())
        else:
            _tell(decided, verdict)
        return 0
    if not as_json:
        _tell(decided, verdict)
    asyncio.run(worker_answers(settings, otherwise=f"what was {verdict} goes out when one does", ends=ends))
    return wait_for(settings, decided.runs[-1], ends=ends, as_json=as_json)


async def _decided(
    settings: Settings,
    run: str,
    verdict: Verdict,
    target: str | None,
    people: Sequence[str] | None,
    reason: str,
) -> Decided:
    # Celery, polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.admin.decisions import Choice, decide_about
    from provisioner.runtime.context import Deployment

    choice = Choice(target, tuple(dict.fromkeys(people)) if people else None)
    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        decided = await decide_about(dep, run, verdict, choice, by=who(), reason=reason)
    if verdict != "rejected":
        await _nudge(settings, decided.targets)
    return decided


async def _taken_back(
    settings: Settings, run: str, target: str | None, people: Sequence[str] | None, reason: str
) -> Decided:
    from provisioner.admin.decisions import Choice, take_back
    from provisioner.runtime.context import Deployment

    choice = Choice(target, tuple(dict.fromkeys(people)) if people else None)
    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        return await take_back(dep, run, choice, by=who(), reason=reason)


async def _nudge(settings: Settings, targets: Sequence[str]) -> None:
    """Wake the workers. What was decided is decided, and beat looks for work every few seconds."""
    from provisioner.worker.wakeups import nudge_target

    for name in targets:
        try:
            await asyncio.to_thread(nudge_target, settings, name)
        except WorkerError as exc:
            log.warning("nudge_lost", target=name, error=str(exc))


def _tell(decided: Decided, verdict: Verdict) -> None:
    out = console()
    out.print(f"{verdict.capitalize()}: {counted(len(decided.done), 'operation')}.")
    if decided.refused:
        rows = table("target", "person", "not reached, because")
        for one in decided.refused:
            rows.add_row(*cells(one.target, one.person, one.reason))
        out.print(rows)


def _switch(target: str, *, paused: bool, reason: str, as_json: bool) -> int:
    settings = settings_and_logs()
    asyncio.run(_switched(settings, target, paused=paused, reason=reason))
    if as_json:
        print_json({"target": target, "paused": paused})
    else:
        console().print(
            f"{target} is paused; its work waits. Go on with: provisioner resume {target}"
            if paused
            else f"{target} is written to again."
        )
    return 0


async def _switched(settings: Settings, target: str, *, paused: bool, reason: str) -> None:
    from provisioner.admin import decisions
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=ANSWERS_WITHIN) as dep:
        if paused:
            await decisions.pause(dep, target, by=who(), reason=reason)
        else:
            await decisions.resume(dep, target, by=who())
    if not paused:
        await _nudge(settings, (target,))
