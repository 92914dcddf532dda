"""The command line: thin, decides nothing.

app           the commands' tree                            errors       what goes wrong, reported in one line
session       settings and logs of one command             render/      text, tables and JSON
plans         plan, and plans for review                   runs         sync, runs, show, and a run as it goes on
decisions     approve, reject, retry, pause, resume        inspect      why, todos, drift, orphans
check         check                                        serve        worker, beat, web, sandbox, up, demo
supervisor    the processes of `up`                        demo         everything on a machine that has nothing
"""

from provisioner.cli.app import main

__all__ = ["main"]
