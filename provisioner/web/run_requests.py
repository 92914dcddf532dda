"""Runs that the HTTP API and the page look up and ask for, in the same way."""

from __future__ import annotations

import re
from typing import Any, Final

from provisioner.model.run_document import RunDocument
from provisioner.runs.lifecycle import request_run
from provisioner.runtime.audit import record
from provisioner.runtime.context import Deployment
from provisioner.settings.place import shown
from provisioner.store.runs.documents import Request as RunAsked
from provisioner.store.runs.documents import RunStore
from provisioner.web.problems import not_there
from provisioner.web.web_context import Site

_RUN_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


async def known_run(runs: RunStore, run: str) -> RunDocument:
    """A run's document.

    Raises:
        ProblemError: 404, there is no such run.
    """
    document = await runs.document(run) if _RUN_ID.fullmatch(run) else None
    if document is None:
        raise not_there(f"There is no run {run[:80]!r}.", "GET /api/runs lists them.")
    return document


async def ask_for_run(
    site: Site,
    dep: Deployment,
    asked: RunAsked,
    *,
    by: str,
    content: bytes | None = None,
    asked_by: str | None = None,
) -> str:
    """Request a run, tell the workers, and write down who wanted it; its id.

    Args:
        asked_by: the `traceparent` of the request.

    Raises:
        UsageError: an asked target does not exist.
    """
    run = await request_run(dep, asked, content=content, asked_by=asked_by)
    roster = shown(asked.roster) if asked.roster else None
    facts: dict[str, Any] = {"run": run, "targets": asked.targets, "accept": asked.accept, "roster": roster}
    if asked.undo is not None:
        facts |= {"undo": asked.undo, "force_drift": asked.force}
    await record(dep.audit, by, "run requested", people=asked.people, facts=facts)
    await site.nudge(run, urgent=asked.urgent)
    return run
