"""The tree of commands, its global options, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from provisioner import installed_version
from provisioner.cli import (
    access,
    check,
    decisions,
    inspect,
    linking,
    maintenance,
    mapping_tests,
    plans,
    pulling,
    rekeying,
    roster,
    runs,
    serve,
    undo,
    webhooks,
)
from provisioner.cli.errors import report
from provisioner.cli.session import debug_wanted, use


class Commands(TyperGroup):
    """All commands. Each returns its exit code; whatever one raises is reported in one line."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run one command and leave the process with its exit code."""
        words = list(sys.argv[1:] if args is None else args)
        # The answer has to fit the question even where its parsing failed
        as_json = "--json" in words
        try:
            code = super().main(words, prog_name or "provisioner", complete_var, False, windows_expand_args, **extra)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
            code = report(error, as_json=as_json, debug=debug_wanted())
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="provisioner",
    cls=Commands,
    help="Keeps the accounts of an organisation's people, in all the products that they use, in step with one roster.",
    epilog="Exit codes: 0 done · 1 unexpected, Redis or workers missing · 2 usage or settings · 3 roster rejected · "
    "4 held, or a degraded roster's removals wait · 5 failed · 6 not finished in time",
    no_args_is_help=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    typer.echo(f"provisioner {installed_version() or '(run from its sources, not installed)'}")
    raise typer.Exit


@app.callback()
def provisioner(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The YAML file; else PROVISIONER_CONFIG names it."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log everything, and show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> int:
    """Take the global options; without a command, say which there are."""
    use(config, debug=debug)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        return 2
    return 0


app.command()(check.check)
app.command("test")(mapping_tests.run_mapping_tests)
app.command()(plans.plan)
app.command()(runs.sync)
app.command()(pulling.pull)
app.command("runs")(runs.list_runs)
app.command()(runs.show)
app.command()(undo.undo)
app.command()(decisions.approve)
app.command()(decisions.reject)
app.command()(decisions.retry)
app.command()(inspect.why)
app.command()(inspect.drift)
app.command()(inspect.todos)
app.command()(inspect.orphans)
app.command()(linking.link)
app.command()(linking.unlink)
app.command()(rekeying.rekey)
app.command()(access.access)
app.command()(inspect.audit)
app.command()(inspect.export)
app.command()(webhooks.webhooks)
app.command()(roster.roster)
app.command()(decisions.pause)
app.command()(decisions.resume)
app.command()(maintenance.forget)
app.command()(maintenance.backup)
app.command()(maintenance.restore)
app.command()(serve.up)
app.command()(serve.worker)
app.command()(serve.beat)
app.command()(serve.web)
app.command()(serve.sandbox)
app.command()(serve.demo)


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the locale cannot spell is shown with a ? instead of ending the command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
