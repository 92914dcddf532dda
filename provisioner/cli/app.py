"""The tree of commands, its global options, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from provisioner.cli.commands import CommandsByName, summaries
from provisioner.cli.global_options import debug_wanted, use


class Commands(TyperGroup):
    """All commands. Each returns its exit code; whatever one raises is reported in one line."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**{**attrs, "commands": None})
        self.commands = CommandsByName()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """The names of all commands, in the order in which help lists them."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """Write the list of the commands, each with the first sentence of its help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(summaries().items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - the signature is click's
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run one command and leave the process with its exit code."""
        words = list(sys.argv[1:] if args is None else args)
        # The answer has to fit the question even where its parsing failed
        as_json = "--json" in words
        try:
            code = super().main(words, prog_name or "provisioner", complete_var, False, windows_expand_args, **extra)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last handler of the process
            from provisioner.cli.errors import report

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
    from provisioner import installed_version

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


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the locale cannot spell is shown with a ? instead of ending the command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
