"""`check`: whether all that a sync depends on is right, before anything depends on it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from provisioner.cli.render.output import cells, console, plain, print_json, table
from provisioner.cli.session import loaded_and_logs, missing_file
from provisioner.errors import UsageError
from provisioner.model.check_result import Line
from provisioner.model.run_document import first_of
from provisioner.model.wording import counted

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def check(
    connect: Annotated[bool, typer.Option("--connect", help="Read once from every target, harmlessly.")] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="With --connect: keep what answers look like, without values."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Check settings, mapping, roster, Redis and disk."""
    # Celery, polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.admin.preflight import check as checked
    from provisioner.admin.preflight.recording import Recorder

    if record is not None and not connect:
        raise UsageError("--record keeps what targets answer.", remedy="Give --connect as well.")
    loaded = loaded_and_logs()
    recorder = None if record is None else Recorder()
    lines = asyncio.run(
        checked(loaded.settings, connect=connect, missing=missing_file(loaded), say=_say, recorder=recorder)
    )
    if connect and loaded.settings.web.oidc is not None:
        from provisioner.web.auth.preflight import reach

        lines += asyncio.run(reach(loaded.settings))
    if record is not None and recorder is not None:
        recorder.write(record)
    code = first_of(line.exit_code for line in lines)
    if as_json:
        checks = [
            {"subject": line.subject, "verdict": line.verdict, "message": line.message, "remedy": line.remedy}
            for line in lines
        ]
        fragments = [asdict(line.fragment) for line in lines if line.fragment is not None]
        print_json({"checks": checks, "exit_code": code, **({"fragment": fragments[0]} if fragments else {})})
        return code
    out = console()
    shown = table("", "Subject", "Finding")
    for line in lines:
        finding = plain(_finding(line), keep="\n")
        shown.add_row(*cells(Text(line.verdict, _STYLES[line.verdict]), line.subject, Text(finding)))
    out.print(shown)
    for line in lines:
        if line.fragment is not None:
            out.print(Text("\nSettings to start from, by what the roster looks like:\n", "bold"))
            out.print(Text(plain(line.fragment.yaml, keep="\n")), soft_wrap=True)
    out.print(Text(f"\n{_summary(lines, code, connect=connect)}", "bold red" if code else "green"))
    return code


def _finding(line: Line) -> str:
    """What was found, and what to do; on a line of its own where the finding ends with a command to be copied."""
    if not line.remedy:
        return line.message
    return f"{line.message}{' ' if line.message.endswith('.') else chr(10)}{line.remedy}"


def _summary(lines: Sequence[Line], code: int, *, connect: bool) -> str:
    """The last line: what is to be done first, and with which code a sync would exit."""
    warned = sum(line.verdict == "warn" for line in lines)
    warnings = counted(warned, "warning")
    failed = [line.subject for line in lines if line.verdict == "fail"]
    if failed:
        return f"{len(failed)} to fix before the next sync ({_named(failed)}), {warnings}. Exit code {code}."
    if code:
        waits = [line.subject for line in lines if line.exit_code]
        return f"A sync would go on, and exit with {code} ({_named(waits)}); {warnings}."
    return f"All right, {warnings}. Next: {'provisioner plan' if connect else 'provisioner check --connect'}"


def _named(subjects: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(subjects))


def _say(sentence: str) -> None:
    sys.stderr.write(f"{plain(sentence)}\n")
    sys.stderr.flush()
