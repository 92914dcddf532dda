"""What goes wrong, reported in one line on standard error, or with ``--json`` as one document on standard output."""

from __future__ import annotations

import sys
import traceback

import typer

from provisioner.cli.render.output import plain, print_json
from provisioner.errors import ProvisionerError
from provisioner.logs import clean

INTERRUPTED = 130


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Tell about an error, and say with which code to exit."""
    code, message, remedy, exit_code = _explained(error)
    if debug and exit_code == 1:
        sys.stderr.write(clean("".join(traceback.format_exception(error))))
    if as_json:
        print_json({"error": {"code": code, "message": message, "remedy": remedy}})
    else:
        sentences = f"{message} {remedy}" if remedy else message
        sentences = plain(sentences, keep="\n")
        sys.stderr.write(f"Error: {sentences}\n")
    return exit_code


def _explained(error: BaseException) -> tuple[str, str, str | None, int]:
    """(code, message, remedy, exit code) of any error."""
    if isinstance(error, ProvisionerError):
        return error.code, error.message, error.remedy, error.exit_code
    if isinstance(error, typer.TyperException):
        text = getattr(error, "format_message", lambda: str(error))()
        return "usage", f"{str(text).rstrip('.')}.", "See `provisioner --help`.", 2
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return "interrupted", "Interrupted.", None, INTERRUPTED
    said = clean(str(error)).strip().splitlines()
    message = f"Unexpected {type(error).__name__}{f': {said[0]}' if said else ''}."
    return "unexpected", message, "Run it again with PROVISIONER_DEBUG=1 for the traceback.", 1
