"""A SCIM service's first load and unchanged run, beside scim2-client, by which somebody does the same by hand.

Both have the same service, in turns in the same run, and everything is real but the service: the sandbox's stand-in,
without limit or delay, in a process of its own. By hand there is no gate, no guard, no ledger and no pace, nothing is
looked up again, and nothing is known of it afterwards.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.goals import counted
from benchmarks.report import Figures
from benchmarks.requests import Count, pages, sync
from benchmarks.staging import BOARDS, UNLIMITED, StandIn, stand_in, write_roster
from provisioner.sandbox import SCIM_TOKEN
from tests.foreign.environments import python_of
from tests.support.harness import settings_document
from tests.support.redis_server import RedisServer
from tests.support.scim_company import SCIM, scim_target

#: People who enter a group by one request; users of a page.
TOGETHER, PAGE = 50, 100
SENDERS = (1, 8)
#: Times that the unchanged run is measured.
TIMES = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of ours and those by hand, by how many requests these have under way at once; in seconds."""

    ours: float
    by_hand: Mapping[int, float]


def measure(people: int) -> Figures:
    """Load that many people, then look at them unchanged; the requests have to be the fewest."""
    with (
        tempfile.TemporaryDirectory() as name,
        RedisServer() as redis,
        stand_in() as sandbox,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        folder, roster = Path(name), Path(name) / "roster.csv"
        write_roster(roster, people)
        for instance in (SCIM, *map(_instance, SENDERS)):
            sandbox.board.options(instance, rate_limit=UNLIMITED, rate_window=1)
        document = settings_document(sandbox.board.url, redis.url, roster, folder)
        target = scim_target(sandbox.board.url, rate_limit=f"{UNLIMITED}/second", page_size=PAGE)
        target["attributes"] |= {"groups": "department"}
        document["targets"] = {SCIM: target}

        def turn(what: str) -> tuple[Turn, Count]:
            sandbox.board.clear_log(SCIM)
            began = time.perf_counter()
            status = pool.submit(sync, folder, document, SCIM).result()
            ours = time.perf_counter() - began
            if status != "succeeded":
                raise AssertionError(f"{what}: {status}")
            counts = sandbox.board.counts(SCIM)
            by_hand = {senders: _by_hand(what, sandbox, roster, senders) for senders in SENDERS}
            return Turn(ours, by_hand), Count(counts["reads"], counts["writes"])

        load, loaded = turn("load")
        looks = [turn("look") for _ in range(TIMES)]
    boards = Counter(BOARDS[number % len(BOARDS)] for number in range(people))
    entering = sum(ceil(count / TOGETHER) for count in boards.values())
    config, groups = 1, 1
    rows = [
        ("first load", load, loaded, Count(config + 1 + groups, people + entering)),
        *(
            ("nothing changed", look, count, Count(config + pages(people, PAGE) + groups, 0))
            for look, count in [_median(looks)]
        ),
    ]
    fewest = all(got.reads <= least.reads and got.writes <= least.writes for _, _, got, least in rows)
    return Figures(
        title=f"{people:,} people in a SCIM service, beside scim2-client by hand",
        columns=("run", "reads", "least", "writes", "least", "ours", *map(_column, SENDERS), *map(_ratio, SENDERS)),
        rows=tuple(_row(*row) for row in rows),
        goals=(counted("requests", "the fewest", "the fewest" if fewest else "more", met=fewest),),
        notes=(
            f"Least: a create for each, a request for each {TOGETHER} who enter one group; each page once.",
            "By hand is the time of the work alone; ours is the whole run, from reading the roster to its end.",
        ),
    )


def _by_hand(what: str, sandbox: StandIn, roster: Path, senders: int) -> float:
    script = Path(__file__).with_name("scim_by_hand.py")
    url = f"{sandbox.board.url}/{_instance(senders)}"
    words = [python_of("scim_source"), script, what, url, SCIM_TOKEN, roster, senders]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    if found.get("wrong") != 0:
        raise AssertionError(f"by hand, {what}: {found or done.stderr[-2000:]}")
    return float(found["seconds"])


def _instance(senders: int) -> str:
    return f"{SCIM}-by-hand-{senders}"


def _median(turns: list[tuple[Turn, Count]]) -> tuple[Turn, Count]:
    found = [turn for turn, _ in turns]
    by_hand = {senders: statistics.median(one.by_hand[senders] for one in found) for senders in SENDERS}
    return Turn(statistics.median(one.ours for one in found), by_hand), turns[-1][1]


def _column(senders: int) -> str:
    return f"by hand, {senders} at once"


def _ratio(senders: int) -> str:
    return f"ours ÷ {senders} at once"


def _row(name: str, turn: Turn, got: Count, least: Count) -> tuple[str, ...]:
    return (
        name,
        *(f"{number:,}" for number in (got.reads, least.reads, got.writes, least.writes)),
        f"{turn.ours:.1f} s",
        *(f"{turn.by_hand[senders]:.1f} s" for senders in SENDERS),
        *(f"{turn.ours / turn.by_hand[senders]:.2f}" for senders in SENDERS),
    )
