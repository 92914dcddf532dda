"""`test`: the mapping's own tests, before anything depends on it."""

from __future__ import annotations

from typing import Annotated

import typer

from provisioner.cli.render.output import cells, console, print_json, table
from provisioner.cli.runs import Json
from provisioner.cli.session import settings_and_logs

_FAILED = 2


def run_mapping_tests(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="YAML or JSON; else tests in the settings.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Run the mapping's tests: a row of the roster, and the accounts that it should give."""
    # polars and the targets take a second to import, which --help and --version need not wait for
    from provisioner.runs.mapping_tests import read_tests, run_tests

    settings = settings_and_logs()
    tests = settings.tests if file is None else read_tests(file)
    found = run_tests(settings, tests)
    failed = len({one["test"] for one in found})
    code = _FAILED if found else 0
    if as_json:
        print_json({"tests": len(tests), "failed": failed, "differences": found, "exit_code": code})
        return code
    out = console()
    if not tests:
        out.print("There are no tests. Write some: tests: [{row: {…}, TARGET: {attribute: value}}].", markup=False)
        return 0
    if found:
        shown = table("test", "target", "attribute", "expected", "found")
        for one in found:
            shown.add_row(*cells(*(_shown(text) for text in one.values())))
        out.print(shown)
    out.print(f"{len(tests)} tests, {failed} failed.")
    return code


def _shown(text: object) -> str:
    return "" if text is None else str(text)
