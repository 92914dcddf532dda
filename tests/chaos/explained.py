"""What goes wrong on any day, and what the runs have to say about it afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from provisioner.example import existing_accounts
from provisioner.example.verify import faults
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import Settings
from tests.support.harness import FAST, settings_document
from tests.support.redis_server import RedisServer
from tests.support.scim_company import SCIM, scim_faults, scim_target

#: All five kinds; each is the name of a target and of its stand-in.
KINDS: Final = (*FAST, SCIM)


def everyday_faults(board: Switchboard, instance: str, seed: int) -> None:
    """3 % of the answers are 500, half of them after the work was done; 1 % are lost after it."""
    board.fault(instance, status=500, body={"error": "oops"}, share=0.015, times=None, seed=seed)
    board.fault(instance, status=500, body={"error": "oops"}, share=0.015, times=None, seed=seed + 1, after=True)
    board.fault(instance, drop="after", share=0.01, times=None, seed=seed + 2)


def everyday_document(
    sandbox: SandboxServer, redis: RedisServer, folder: Path, *, rate: int, seed: int, **changes: Any
) -> dict[str, Any]:
    """Settings whose vendors allow `rate` requests a second and fail as on any day."""
    board = sandbox.switchboard
    room = [account for account in existing_accounts()["tribal_habits"] if account["user_name"] == "trainingroom3"]
    board.seed("tribal_habits", room)
    document = settings_document(sandbox.url, redis.url, folder / "roster.csv", folder / "data", **changes)
    document["targets"][SCIM] = scim_target(sandbox.url)
    # Every other time the service takes bulk requests
    board.options(SCIM, bulk=20 * (seed % 2))
    for instance in KINDS:
        board.options(instance, rate_limit=rate, rate_window=1)
        everyday_faults(board, instance, seed)
        document["targets"][instance]["rate_limit"] = f"{rate}/second"
    return document


def all_faults(people: Sequence[Mapping[str, str]], states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the stand-ins of all five kinds hold otherwise than the roster asks for."""
    return [*faults(people, states), *scim_faults(people, states[SCIM])]


async def unexplained(settings: Settings) -> list[str]:
    """What is wrong with the story that the runs tell: counts that do not add up, no end, or no explanation."""
    wrong: list[str] = []
    async with Deployment.open(settings) as dep:
        for run in await dep.runs.recent(1000):
            document = await dep.runs.document(run)
            assert document is not None
            rows = await dep.runs.operations(run, await dep.runs.targets(run))
            ends = Counter(row["status"] for row in rows)
            open_ = {status: ends[status] for status in ("pending", "sending", "waiting") if ends[status]}
            if open_:
                wrong.append(f"{run} left {open_}")
            for name, target in document["targets"].items():
                ended = sum(
                    sum(target[status].values()) for status in ("succeeded", "failed", "held", "superseded", "rejected")
                )
                if ended != sum(target["planned"].values()):
                    wrong.append(f"{run} {name}: planned {target['planned']}, but {ended} ended")
            for row in rows:
                if row["status"] == "failed" and not row["error"]:
                    wrong.append(f"{run}: {row['id']} failed and nobody knows why")
                explained = len(row["tries"])
                if row["attempts"] - 1 > explained and explained < 20:
                    wrong.append(f"{run}: {row['id']} was sent {row['attempts']} times, {explained} are explained")
    return wrong


async def story(settings: Settings, fault: str) -> str:
    """What Redis knows of a person of whom a fault speaks: what the ledger says, and every operation with its tries."""
    target, _, rest = fault.partition(": ")
    person = rest.split()[0]
    lines = [fault]
    async with Deployment.open(settings) as dep:
        lines.append(str(await dep.ledger.entry(target, person)))
        for run in reversed(await dep.runs.recent(100)):
            for row in await dep.runs.operations(run, [target]):
                if row["person"] == person:
                    fields = await dep.runs.operation(run, target, row["id"]) or {}
                    more = {name: text for name, text in fields.items() if name not in ("doc", "shown")}
                    lines.append(f"{run} {row} {more}")
    return "\n  ".join(lines)
