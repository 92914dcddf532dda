"""`check`: whether all that a sync depends on is right, before anything depends on it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from provisioner.cli.render.output import cells, console, plain, print_json, table
from provisioner.cli.session import loaded_and_logs, missing_file
from provisioner.errors import UsageError
from provisioner.model.run_document import first_of

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
    if record is not None and recorder is not None:
        recorder.write(record)
    code = first_of(line.exit_code for line in lines)
    if as_json:
        told = [
            {"subject": line.subject, "verdict": line.verdict, "message": line.message, "remedy": line.remedy}
            for line in lines
        ]
        fragments = [asdict(line.fragment) for line in lines if line.fragment is not None]
        print_json({"checks": told, "exit_code": code, **({"fragment": fragments[0]} if fragments else {})})
        return code
    out = console()
    shown = table("", "Subject", "Finding")
    for line in lines:
        finding = plain(line.message if not line.remedy else f"{line.message} {line.remedy}", keep="\n")
        shown.add_row(*cells(Text(line.verdict, _STYLES[line.verdict]), line.subject, Text(finding)))
    out.print(shown)
    for line in lines:
        if line.fragment is not None:
            out.print(Text("\nSettings to start from, by what the roster looks like:\n", "bold"))
            out.print(Text(plain(line.fragment.yaml, keep="\n")), soft_wrap=True)
    failed = sum(line.verdict == "fail" for line in lines)
    warned = sum(line.verdict == "warn" for line in lines)
    warnings = f"{warned} warning{'' if warned == 1 else 's'}"
    if failed:
        out.print(Text(f"\n{failed} to mend before the next sync, {warnings}.", "bold red"))
    else:
        next_ = "provisioner plan" if connect else "provisioner check --connect"
        out.print(Text(f"\nAll right, {warnings}. Next: {next_}", "green"))
    return code


def _say(sentence: str) -> None:
    sys.stderr.write(f"{plain(sentence)}\n")
    sys.stderr.flush()
