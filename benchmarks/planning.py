"""How long a plan takes from what Redis keeps to the list of operations, besides two peers over the same people.

Ours: the ledger is read from Redis, the stored bytes of the roster's snapshot and of the observed accounts are
unpacked, mapped, correlated, compared, guarded, and made into operations with their digests, as a run does it. The
*floor* is what polars alone takes to read two CSV files, evaluate the same expressions, join and compare. The other
peer is `csv-diff` from the package index, in an environment of its own, on two CSV files that are mapped already. Each
runs in a process of its own, in turns.

The accounts stand in another order than the people. Of those who changed one in twenty left, one in twenty is new, one
in four has another role, and the others have another name.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import resource
import subprocess
import tempfile
import time
import venv
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import polars as pl

from benchmarks.goals import Turns, compared, counted, measured
from benchmarks.report import Figures
from provisioner.planning import plan
from provisioner.planning.compiled import compile_target
from provisioner.planning.plan import plan_target
from provisioner.planning.spec import Observation, Planning, TargetSpec
from provisioner.planning.target_plan import TargetPlan
from provisioner.runtime.context import spec_of
from provisioner.settings import GuardSettings
from provisioner.store.people.frames import pack, unpack
from provisioner.store.people.ledger import LedgerStore
from provisioner.store.people.snapshots import unpack_people
from provisioner.store.redis import keys
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import connect
from provisioner.targets.registry import make, target_class
from tests.support.redis_server import RedisServer

MOST_OF_FLOOR, LEAST_OF_PEER, MOST_MEMORY, MOST_BY_DOUBLING = 3.0, 5.0, 3 * 1024**3, 2.0
TIMES: Final = (1, 10, 100)
SHARES: Final = (0, 3, 100)
#: The share by which the figure is set, and how often it is measured there: of several times the best counts.
SHARE, REPEATS = 3, 5
#: The target under whose name Redis has the ledger.
LEDGER: Final = "tribal_habits"

ATTRIBUTES: Final[Mapping[str, str]] = {
    "user_name": "employee_id",
    "first_name": "first_name",
    "last_name": "last_name",
    "email": "LOWER(work_email)",
    "active": "TRUE",
    "role_1": "CASE WHEN job_title LIKE '%Manager%' THEN 'Manager' ELSE 'Learner' END",
    "groups": "department || ';' || location",
    "X-Country": "country",
}
#: What stands for `active` where nobody knows of leavers' own mapping: the peers are told by the row's status.
ACTIVE: Final = "CASE WHEN employment_status = 'active' THEN 'true' ELSE 'false' END"
#: Functions of `provisioner.planning.plan` by the stage that they are; what none of them takes is `operations`.
STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "map": ("desired_accounts",),
    "correlate": ("correlate", "trust_of"),
    "diff": ("suspects", "hold", "ours_to_clear", "merged", "differing", "protected"),
    "guard": ("guarded",),
}
PEER: Final = Path(__file__).parent.parent / "build" / "peers" / "csv-diff-1.2"
PINS: Final = """\
click==8.5.1 --hash=sha256:8bb5376d2006950386f8c6427613334a2acadc5f559cb80e638d00b4df957e37
csv-diff==1.2 --hash=sha256:bf9c621a45d250f54a8b08cab14813509aa2709b3f7ad45dffc130383f9a8190
dictdiffer==0.10.0 --hash=sha256:6ca50f38f7c5ee27d52789eee095ae473d9e02e1aa7612cb3aaf25fcf081dbf6
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock and of processor time, the peak of memory in bytes, and how many changes were found.

    `stages` are the seconds of each part of ours.
    """

    seconds: float
    cpu: float
    memory: int
    found: int
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """One size and share: ours, the floor, and csv-diff where it was asked."""

    people: int
    share: int
    ours: Spent
    floor: Spent
    other: Spent | None
    turns: tuple[tuple[Spent, ...], ...]
    four: Spent | None = None

    def times(self, side: int, *, cpu: bool = False) -> Turns:
        """Seconds of all turns: of ours (0), the floor (1) or csv-diff (2)."""
        return Turns(tuple(turn[side].cpu if cpu else turn[side].seconds for turn in self.turns))

    @property
    def of_floor(self) -> float:
        """How many times as long as the floor."""
        return self.ours.seconds / self.floor.seconds

    @property
    def of_peer(self) -> float:
        """How many times as fast as csv-diff; 0 where it was not asked."""
        return self.other.seconds / self.ours.seconds if self.other else 0.0


def measure(people: int) -> Figures:
    """Plan three sizes, at each of which nobody, 3 % and everybody changed.

    Args:
        people: those of the smallest size; the others are ten and a hundred times as many, so that the default of
            10,000 makes the largest the million for which the figures are set.
    """
    program = _installed()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as name:
        for size in (people * times for times in TIMES):
            for share in SHARES:
                folder = Path(name) / f"{size}-{share}"
                folder.mkdir()
                judged = (size, share) == (people * TIMES[-1], SHARE)
                with RedisServer() as redis:
                    found.append(_beside(folder, redis.url, size, share, program, four=judged))
    return _figures(found, next(one for one in found if one.four is not None))


def _beside(folder: Path, url: str, people: int, share: int, program: Path, *, four: bool) -> Measured:
    """Ours and the peers on the same people, in turns."""
    expected = _alone(_prepare, folder, people, share)
    _alone(_fill, folder, url)
    repeats = REPEATS if share == SHARE else 1
    turns: list[tuple[Spent, ...]] = []
    for _ in range(repeats):
        peer = (_csv_diff(program, folder),) if share == SHARE else ()
        turns.append((_alone(_ours, folder, url), _alone(_floor, folder), *peer))
    ours, floor, *others = (min(ones, key=lambda one: one.seconds) for ones in zip(*turns, strict=True))
    other = others[0] if others else None
    for one in (ours, floor, other or ours):
        assert one.found == expected, f"{one.found} of {expected} changes of {people} people were found"
    last = _alone(_four, folder, url) if four else None
    return Measured(people, share, ours, floor, other, tuple(turns), last)


def _figures(found: Sequence[Measured], judged: Measured) -> Figures:
    growths = {one.people: _doubling(found, one) for one in found if one.share == SHARE}
    worst = max(growth for growth in growths.values() if growth is not None)
    four = judged.four or judged.ours
    memory = max(judged.ours.memory, four.memory)
    gib = 1024**3
    goals = (
        compared("time beside a bare polars join", "at most", MOST_OF_FLOOR, judged.times(0), judged.times(1)),
        compared(
            "processor time beside a bare polars join",
            "at most",
            MOST_OF_FLOOR,
            judged.times(0, cpu=True),
            judged.times(1, cpu=True),
        ),
        compared("time beside csv-diff", "at most", 1 / LEAST_OF_PEER, judged.times(0), judged.times(2)),
        counted("memory", f"at most {MOST_MEMORY / gib:g} GiB", f"{memory / gib:.2f} GiB", met=memory <= MOST_MEMORY),
        measured("time by doubling the people", "at most", MOST_BY_DOUBLING, Turns((worst,)), lambda it: f"{it:.2f} x"),
    )
    names = [*STAGES, "operations"]
    rows = [
        (
            f"{one.people:,}",
            f"{one.share} %",
            f"{one.ours.seconds:.2f} s",
            *(f"{100 * one.ours.stages[name] / one.ours.seconds:.0f} %" for name in ("ledger", "load", *names)),
            f"{one.ours.memory / 1024**3:.2f} GiB",
            f"{one.floor.seconds:.2f} s",
            f"{one.of_floor:.2f} x",
            f"{one.other.seconds:.2f} s" if one.other else "",
            f"{one.of_peer:.1f} x" if one.other else "",
        )
        for one in found
    ]
    by_cpu = judged.ours.cpu / judged.floor.cpu
    turns = f"Judged at {judged.people:,} people and {SHARE} % changed, each the best of {REPEATS} turns"
    floor = f"{judged.of_floor:.2f} times the floor (by processor time {by_cpu:.2f})"
    peer = f"{judged.of_peer:.1f} times as fast as csv-diff"
    one, all_four = f"{judged.ours.memory / gib:.2f} GiB", f"{four.memory / gib:.2f} GiB"
    notes = (
        f"{turns}: {floor}, {peer}.",
        f"Memory: {one}, and {all_four} with four targets planned one after the other in one process.",
        f"Doubling the people takes {worst:.2f} times as long.",
        "`ledger` reads it from Redis into a frame; `load` unpacks the snapshot and the accounts as Redis keeps them.",
        "Expressions are parsed before the clock starts, ours and the floor's: a worker does so once in its life.",
        "csv-diff reads files that are mapped already.",
    )
    return Figures(
        title=f"Planning: {judged.people:,} people against as many stored accounts, {len(ATTRIBUTES)} attributes",
        columns=(
            "people",
            "changed",
            "plan",
            "ledger",
            "load",
            *names,
            "peak",
            "floor",
            "of floor",
            "csv-diff",
            "faster",
        ),
        rows=tuple(rows),
        goals=goals,
        notes=notes,
    )


def _doubling(found: Sequence[Measured], one: Measured) -> float | None:
    """By what factor the time grew for each doubling since the size before; None of the smallest."""
    smaller = [other for other in found if other.share == one.share and other.people < one.people]
    if not smaller:
        return None
    last = smaller[-1]
    exponent = math.log(one.ours.seconds / last.ours.seconds) / math.log(one.people / last.people)
    return float(2**exponent)


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What some work gives in a fresh process, so that neither's memory is the other's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _prepare(folder: Path, people: int, share: int) -> int:
    """Write what Redis would keep, and the peers' files; how many people changed."""
    number = pl.int_range(0, people, eager=True)
    roster = pl.select(
        employee_id=pl.format("E{}", number.cast(pl.String).str.zfill(7)),
        first_name=pl.format("First{}", number % 997),
        last_name=pl.format("Last{}", number % 4999),
        work_email=pl.format("P{}@Example.com", number),
        job_title=pl.when(number % 9 == 0).then(pl.lit("Sales Manager")).otherwise(pl.lit("Engineer")),
        department=pl.format("Department {}", number % 40),
        location=pl.format("Floor {}", number % 12),
        country=pl.when(number % 3 == 0).then(pl.lit("Australia")).otherwise(pl.lit("New Zealand")),
        language=pl.lit("en"),
        manager_email=pl.format("p{}@example.com", number // 10),
        cost_centre=pl.format("C{}", number % 300),
        phone=pl.format("+61 2 {}", number),
    )
    turn = number // 100 % 20
    changed = (number * 7919 % 100 < share).alias("changed")
    left, joined = changed & (turn == 0), changed & (turn == 1)
    status = pl.DataFrame({"left": left}).select(
        employment_status=pl.when("left").then(pl.lit("left")).otherwise(pl.lit("active"))
    )
    roster = pl.concat([roster, status], how="horizontal")
    mapped = _mapped(roster.lazy()).collect()
    role, name = (changed & turn.is_between(2, 6), changed & (turn > 6))
    before = (
        pl.concat([mapped, pl.DataFrame({"role": role, "name": name})], how="horizontal")
        .select(
            pl.exclude("last_name", "role_1", "active", "role", "name"),
            last_name=pl.when("name").then(pl.lit("Maiden")).otherwise("last_name"),
            role_1=pl.when("role").then(pl.lit("Author")).otherwise("role_1"),
            active=pl.lit("true"),
        )
        .select(mapped.columns)
    )
    there = before.filter(~joined)
    accounts = there.sample(fraction=1, shuffle=True, seed=7).select(
        pl.col("user_name").alias("_account"),
        pl.lit(None, dtype=pl.String).alias("_untouchable"),
        *ATTRIBUTES,
        pl.lit(10.0).alias("_read"),
    )
    snapshot = roster.select(
        pl.col("employee_id").alias("_key"),
        pl.int_range(2, people + 2, dtype=pl.Int64).alias("_line"),
        pl.all(),
        pl.when(pl.col("employment_status") == "active").then(pl.lit("employed")).otherwise(pl.lit("leaver"))
        .alias("_verdict"),
        pl.lit(None, dtype=pl.Date).alias("_starts"),
        pl.lit(None, dtype=pl.Date).alias("_ends"),
    ).with_columns(_row_verdict=pl.col("_verdict"))  # fmt: skip
    ledger = there.select(
        pl.col("user_name").alias("_person"),
        pl.col("user_name").alias("_account"),
        pl.lit("active").alias("_state"),
        pl.lit(value=True).alias("_created"),
        pl.lit("created").alias("_matched_by"),
        pl.lit(1.0).alias("_recorded"),
        pl.lit("{}").alias("_owed"),
        pl.lit([], dtype=pl.List(pl.String)).alias("_enrolled"),
        pl.lit(0.0).alias("_linked"),
        pl.lit(0, dtype=pl.Int64).alias("_makes"),
        pl.lit(None, dtype=pl.String).alias("_loops"),
        *(pl.col(name).alias(f"l:{name}") for name in ATTRIBUTES),
        pl.lit(None, dtype=pl.String).alias("l:deactivate_scheduled_date"),
    )
    for file, frame in (("people", snapshot), ("accounts", accounts), ("ledger", ledger)):
        (folder / file).write_bytes(pack(frame))
    roster.write_csv(folder / "roster.csv")
    mapped.write_csv(folder / "wanted.csv")
    accounts.select(*ATTRIBUTES).write_csv(folder / "accounts.csv")
    return changed.to_list().count(True)


def _fill(folder: Path, url: str) -> None:
    """Write the ledger as a worker records it, in Redis."""
    asyncio.run(_filled(unpack((folder / "ledger").read_bytes()), url))


async def _filled(ledger: pl.DataFrame, url: str) -> None:
    redis = connect(RedisAddress.parse(url))
    try:
        for some in ledger.iter_slices(10_000):
            entries = {
                row["_person"]: json.dumps(
                    {
                        "account": row["_account"],
                        "state": row["_state"],
                        "created": row["_created"],
                        "matched": row["_matched_by"],
                        "recorded": row["_recorded"],
                        "linked": row["_linked"],
                        "values": {name: row[f"l:{name}"] for name in ATTRIBUTES},
                    }
                )
                for row in some.iter_rows(named=True)
            }
            await redis.hset(keys.ledger(LEDGER), mapping=entries)
    finally:
        await redis.aclose()


async def _ledger(url: str) -> pl.DataFrame:
    redis = connect(RedisAddress.parse(url))
    try:
        return await LedgerStore(redis).frame(LEDGER, [*ATTRIBUTES, "deactivate_scheduled_date"])
    finally:
        await redis.aclose()


def _mapped(roster: pl.LazyFrame) -> pl.LazyFrame:
    return roster.select(pl.sql_expr(text).alias(name) for name, text in {**ATTRIBUTES, "active": ACTIVE}.items())


def _target(name: str) -> TargetSpec:
    document = {
        "kind": "tribal_habits",
        "base_url": "http://127.0.0.1:1",
        "api_key": "none",
        "match": ["user_name", "email"],
        "attributes": ATTRIBUTES,
        "leaver": {"active": "FALSE"},
        "guards": GuardSettings.model_validate(
            {guard: {"percent": 100} for guard in ("leavers", "updates", "creates", "missing")}
        ),
    }
    target = make(name, target_class("tribal_habits").settings_model.model_validate(document))
    return spec_of(target)


def _plan(folder: Path, spec: TargetSpec, ledger: pl.DataFrame) -> tuple[TargetPlan, float]:
    """A plan from stored bytes, and the seconds that unpacking them took of it."""
    stored, kept = (folder / "people").read_bytes(), (folder / "accounts").read_bytes()
    compiled = compile_target(spec, None)
    began = time.perf_counter()
    people, _ = unpack_people(stored, compiled.columns)
    accounts = unpack(kept)
    loaded = time.perf_counter() - began
    now = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)
    circumstances = Planning(now=now, today=now.date(), ends=True, snapshot="sha256:0")
    observation = Observation(accounts, complete=True, began=10.0)
    return plan_target(spec, compiled, people, observation, ledger, circumstances), loaded


def _ours(folder: Path, url: str) -> Spent:
    spec = _target("tribal_habits")
    # A worker checks the mapping's expressions once in its life, and spares its collector what it loaded
    compile_target(spec, None)
    gc.freeze()
    spent: defaultdict[str, float] = defaultdict(float)
    with _measuring(spent):
        began, ran = time.perf_counter(), time.process_time()
        ledger = asyncio.run(_ledger(url))
        read = time.perf_counter() - began
        made, loaded = _plan(folder, spec, ledger)
        seconds, used = time.perf_counter() - began, time.process_time() - ran
    stages = {**{name: spent[name] for name in STAGES}, "ledger": read, "load": loaded}
    stages["operations"] = seconds - sum(stages.values())
    return Spent(seconds, used, _peak(), len(made.operations), stages)


def _four(folder: Path, url: str) -> Spent:
    """Four targets, one after the other, as a worker plans a run of all."""
    began, ran, found = time.perf_counter(), time.process_time(), 0
    for name in ("first", "second", "third", "fourth"):
        made, _ = _plan(folder, _target(name), asyncio.run(_ledger(url)))
        found += len(made.operations)
    return Spent(time.perf_counter() - began, time.process_time() - ran, _peak(), found)


@contextmanager
def _measuring(spent: defaultdict[str, float]) -> Iterator[None]:
    """Count the seconds of each stage while plans are made."""

    def timed(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def measured(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*arguments, **named)
            finally:
                spent[stage] += time.perf_counter() - began

        return measured

    with ExitStack() as stack:
        for stage, names in STAGES.items():
            for name in names:
                stack.enter_context(patch.object(plan, name, timed(stage, getattr(plan, name))))
        yield


def _floor(folder: Path) -> Spent:
    _mapped(pl.LazyFrame({}))
    began, cpu = time.perf_counter(), time.process_time()
    wanted = _mapped(pl.read_csv(folder / "roster.csv", infer_schema=False).lazy())
    accounts = pl.read_csv(folder / "accounts.csv", infer_schema=False).lazy()
    names = [name for name in ATTRIBUTES if name != "user_name"]
    found = (
        wanted.join(accounts, on="user_name", how="left")
        .filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_right")) for name in names))
        .collect()
    )
    return Spent(time.perf_counter() - began, time.process_time() - cpu, _peak(), found.height)


def _installed() -> Path:
    """The program `csv-diff`, in an environment of its own besides the project's."""
    program = PEER / "bin" / "csv-diff"
    if not program.exists():
        venv.create(PEER, with_pip=True, clear=True)
        pins = PEER / "pins.txt"
        pins.write_text(PINS, encoding="utf-8")
        install = [str(PEER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--require-hashes", "--no-deps", "--only-binary=:all:", "-r", str(pins)], check=True)
    return program


def _csv_diff(program: Path, folder: Path) -> Spent:
    """The whole program, since that is how it is used; its start is a small part of a second."""
    files = (folder / "accounts.csv", folder / "wanted.csv")
    with (folder / "differences.json").open("w+b") as out:
        began = time.perf_counter()
        process = subprocess.Popen([program, *files, "--key", "user_name", "--json"], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"csv-diff ended with {process.returncode}"
        out.seek(0)
        told = json.load(out)
    found = len(told["added"]) + len(told["changed"]) + len(told["removed"])
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, found)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
