"""A deployment driven in this process: real Redis, real HTTP to the sandbox, no Celery in between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from provisioner.dispatch.pool import deliver
from provisioner.runs import lifecycle
from provisioner.runs.follow_up import follow_up
from provisioner.runs.preview import preview
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.settings import Settings, load
from provisioner.store.runs.documents import Request
from provisioner.worker.run_steps import carry_through
from tests.support.redis_contents import RedisContents
from tests.support.switches import turn_on

EXAMPLE = Path(__file__).parents[2] / "config" / "provisioner.yaml"
#: Instance of the sandbox, and target of the example → a rate that no test comes near.
FAST = dict.fromkeys(("tribal_habits", "habitate", "traitly", "mtribes"), "20000/second")


def settings_document(sandbox: str, redis_url: str, roster: Path, data_dir: Path, **changes: Any) -> dict[str, Any]:
    """The example's settings, aimed at a sandbox; `changes` replace top-level sections, or targets by name."""
    document: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    # Routes and columns name targets, of which a test may leave some out
    document |= {"redis_url": redis_url, "data_dir": str(data_dir), "events": [], "writeback": {}}
    document["roster"]["url"] = str(roster)
    for name, target in document["targets"].items():
        target["base_url"] = f"{sandbox}/{name}"
        target["rate_limit"] = FAST[name]
    for name, change in changes.items():
        if isinstance(change, Mapping) and isinstance(document.get(name), dict):
            document[name] = {**document[name], **change}
        else:
            document[name] = change
    return document


def write_settings(folder: Path, document: Mapping[str, Any]) -> Path:
    """The settings as a file."""
    path = folder / "provisioner.yaml"
    path.write_text(yaml.safe_dump(dict(document), allow_unicode=True), encoding="utf-8")
    return path


def load_settings(folder: Path, document: Mapping[str, Any]) -> Settings:
    """The settings as a value."""
    return load(write_settings(folder, document), environ={}).settings


def raise_limits(switchboard: Switchboard) -> None:
    """Let the stand-ins take more than a person could wait for in a test, in the ways that the environment names."""
    for instance in FAST:
        switchboard.options(instance, rate_limit=20000, rate_window=1)
    turn_on(switchboard)


async def sync_once(dep: Deployment, **request: Any) -> dict[str, Any]:
    """One run from request to end; its JSON."""
    content = request.pop("content", None)
    run = await lifecycle.request_run(dep, Request(trigger="manual", **request), content=content)
    return await carry_out(dep, run)


async def carry_out(dep: Deployment, run: str) -> dict[str, Any]:
    """A run that was asked for, to its end; its JSON."""
    request = await dep.runs.request(run)
    if request is not None and request.people:
        await carry_through(dep, run, stopped=lambda: False)
    else:
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan(dep, run, target)
    await drain(dep)
    document = await dep.runs.document(run)
    assert document is not None
    return cast("dict[str, Any]", document)


async def drain(dep: Deployment, rounds: int = 200, *, within: float = 2.0) -> None:
    """Deliver until nothing is left that could go out within so many seconds."""
    for _ in range(rounds):
        waits = []
        for target in dep.targets:
            again = await deliver(dep, target)
            if again.seconds is not None and again.seconds <= within:
                waits.append(again.seconds)
        for run, target in await follow_up(dep):
            await lifecycle.plan(dep, run, target)
            waits.append(0.0)
        if not waits:
            return
        await asyncio.sleep(min(waits))


async def due_now(dep: Deployment, target: str) -> None:
    """Let the time of whatever is parked have come."""
    RedisContents(dep).end_waits(target)


async def plan_once(dep: Deployment, **request: Any) -> dict[str, Any]:
    """The JSON of a plan."""
    return cast("dict[str, Any]", await preview(dep, Request(trigger="manual", **request)))
