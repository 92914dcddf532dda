"""How soon somebody who left has lost their role while a community's members are still being read.

Everybody was made by one run, so that none of their details was ever read. The next one has to read all of them, one
request each, at the vendor's pace. The time is that from before the run is asked for until the stand-in shows it.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.goals import Turns, measured, seconds
from benchmarks.report import Figures
from benchmarks.staging import Stage, finished, quietly, staged
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request
from tests.support.harness import load_settings, write_settings

TARGET: Final = "habitate"
#: What the vendor's text says.
LIMIT, WINDOW = 120, 60
#: Seconds from the accepted roster on; and after which the measuring is given up.
GOAL, _AT_MOST = 120.0, 600.0
GUEST: Final = 5


def measure(people: int) -> Figures:
    """Load everybody, let one leave, and look when their role is gone."""
    quietly()
    with ExitStack() as stack:
        stage = stack.enter_context(staged(people, targets=(TARGET,)))
        with stage.fleet():
            finished(stage.settings, stage.ask(Request(trigger="manual")), within=3600)
        taken, read = _taken(stage, people)
    minutes = (people - read) / LIMIT * WINDOW / 60
    return Figures(
        title=f"a leaver of habitate, {people:,} members whose details are unread, {LIMIT} requests per {WINDOW} s",
        columns=("sent after", "goal", "details read by then", "would be read after"),
        rows=((f"{taken:.0f} s", f"{GOAL:.0f} s", f"{read:,}", f"{minutes:.0f} min"),),
        goals=(measured("a leaver sent", "at most", GOAL, Turns((taken,)), seconds),),
    )


def _taken(stage: Stage, people: int) -> tuple[float, int]:
    """(seconds until the leaver's role is gone, requests that read until then)."""
    board = stage.stand_ins[TARGET].board
    document: dict[str, Any] = json.loads(json.dumps(stage.document))
    document["targets"][TARGET]["rate_limit"] = f"{LIMIT}/{WINDOW}s"
    board.options(TARGET, rate_limit=LIMIT, rate_window=WINDOW)
    write_settings(stage.folder, document)
    settings = load_settings(stage.folder, document)
    # So that the stand-in does not hold the first load against us
    time.sleep(WINDOW)
    key = f"p{people - 1:07}"
    text = stage.roster.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith(f"{key},"))
    stage.roster.write_text(text.replace(line, line.replace(",active,", ",left,")), encoding="utf-8")
    board.clear_log(TARGET)
    with stage.fleet():
        began = time.monotonic()
        run = stage.ask(Request(trigger="manual"))
        while not _is_guest(stage, key):
            if time.monotonic() - began > _AT_MOST:
                raise TimeoutError(f"{key} has their role after {_AT_MOST:.0f} s")
            time.sleep(1.0)
        taken = time.monotonic() - began
        read = board.counts(TARGET)["reads"]

    async def running() -> bool:
        async with Deployment.open(settings) as dep:
            return await dep.runs.get(run, "finished") is None

    if not asyncio.run(running()):
        raise AssertionError("the run about everybody was over before, so nothing was unread")
    return taken, read


def _is_guest(stage: Stage, key: str) -> bool:
    accounts = stage.stand_ins[TARGET].board.accounts(TARGET)
    return any(one["username"] == key and one["role_id"] == GUEST for one in accounts)
