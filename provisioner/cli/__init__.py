"""The command line: thin, decides nothing.

app         the commands' tree and its global options     errors      what goes wrong, reported in one line
session     settings and logs of one command               output      where text, tables and JSON go
runs        plan, sync, runs, show                         checking    check
operating   approve, reject, retry, pause, resume          looking     why, todos, drift, orphans
serving     worker, beat, web, sandbox, up                 processes   children that are kept alive
describing  runs and operations as tables and sentences    following   a run while it is under way
demo        everything on a machine that has nothing
"""

from provisioner.cli.app import main

__all__ = ["main"]
