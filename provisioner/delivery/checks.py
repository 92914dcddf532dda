"""`check`: is everything in place for a sync? One line each, with what to do where something is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from provisioner.delivery.deployment import Deployment, build_targets, routes_of
from provisioner.delivery.moments import day_in
from provisioner.delivery.pace import Unpaced
from provisioner.delivery.roster import people_of
from provisioner.delivery.writeback import check_columns
from provisioner.errors import ConfigurationError, ProvisionerError, StoreError, TargetError
from provisioner.planning.desired import compile_target
from provisioner.roster import Baseline, Source, fetch, gate
from provisioner.settings import Settings
from provisioner.store.address import RedisAddress
from provisioner.store.connection import connect, inspect_server
from provisioner.store.frames import FrameStore
from provisioner.targets.base import Target
from provisioner.targets.http import Http, Pace, new_client

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `exit_code` is that of the error behind it, 0 where all is well."""

    subject: str
    verdict: Verdict
    message: str
    remedy: str | None = None
    exit_code: int = 0


async def check(settings: Settings, *, connect: bool) -> list[Line]:
    """Look at settings, mapping, Redis and roster; with `connect` also at each target, by one harmless read."""
    lines, mapped = _mapping(settings)
    redis, baseline = await _redis(settings)
    lines.append(redis)
    lines += await _roster(settings, baseline) if mapped else []
    if connect and mapped:
        async with _paced(settings, available=redis.verdict != "fail") as reading:
            targets, _ = build_targets(settings)
            lines += await asyncio.gather(*(_target(targets[name], http) for name, http in reading.items()))
    return lines


def _failure(subject: str, exc: ProvisionerError) -> Line:
    return Line(subject, "fail", exc.message, exc.remedy, exc.exit_code)


def _mapping(settings: Settings) -> tuple[list[Line], bool]:
    if not settings.targets:
        message = "No target is configured, so a sync would do nothing."
        return [Line("settings", "fail", message, "Add one under `targets`.", ConfigurationError.exit_code)], False
    try:
        targets, specs = build_targets(settings)
        for spec in specs.values():
            compile_target(spec, None)
        routes_of(settings, targets)
        check_columns(settings)
    except ConfigurationError as exc:
        return [_failure("mapping", exc)], False
    lines = [Line("settings", "ok", f"{len(settings.targets)} targets, {len(targets)} of them enabled.")]
    attributes = sum(len(spec.settings.attributes) for spec in specs.values())
    lines.append(Line("mapping", "ok", f"{attributes} expressions over {len(specs)} targets."))
    for name, spec in specs.items():
        if spec.activity in spec.settings.leaver and spec.activity not in spec.settings.attributes:
            message = f"targets.{name}.leaver.{spec.activity} deactivates leavers, but nothing reactivates who returns."
            lines.append(Line("mapping", "warn", message, f'Add {spec.activity}: "TRUE" to its attributes.'))
    return lines, True


async def _redis(settings: Settings) -> tuple[Line, Baseline | None]:
    """Redis is no condition for the rest of a check, but for every sync."""
    address = RedisAddress.of(settings)
    client = connect(address)
    try:
        warnings = await inspect_server(client, address)
        facts = await FrameStore(client).roster()
    except StoreError as exc:
        return Line("redis", "warn", exc.message, exc.remedy), None
    finally:
        await client.aclose()
    baseline = None
    if "baseline" in facts:
        baseline = Baseline.from_bytes(int(facts["baseline_people"]), facts["baseline"])
    if warnings:
        return Line("redis", "warn", " ".join(warnings)), baseline
    return Line("redis", "ok", f"{address.redacted} answers."), baseline


async def _roster(settings: Settings, baseline: Baseline | None) -> list[Line]:
    now = datetime.now(UTC)
    today, today_utc = day_in(settings.zone, now.timestamp())
    try:
        _, specs = build_targets(settings)
        source: Source = await asyncio.to_thread(fetch, settings.roster)
        people, mapped = await asyncio.to_thread(people_of, specs, source, settings.roster, today, today_utc)
    except ProvisionerError as exc:
        return [_failure("roster", exc)]
    verdict = gate(people, baseline, settings.roster, mapped=mapped, modified=source.modified, now=now)
    facts = f"{source.name}: {people.rows} rows, {people.frame.height} people, {len(people.rejects)} rejected."
    lines = [Line("roster", "warn", f"rejected row: {reject}") for reject in people.rejects[:10]]
    if verdict.status == "rejected":
        return [*lines, Line("roster", "fail", f"{facts} {' '.join(verdict.reasons)}", "Mend the export.", 3)]
    if verdict.status == "degraded":
        remedy = f"Mend the export, or let it pass with `provisioner sync --accept {source.digest}`."
        return [*lines, Line("roster", "warn", f"{facts} Degraded: {' '.join(verdict.reasons)}", remedy)]
    return [*lines, Line("roster", "ok", facts)]


@asynccontextmanager
async def _paced(settings: Settings, *, available: bool) -> AsyncIterator[dict[str, Http]]:
    """A reading transport per enabled target."""
    if available:
        async with Deployment.open(settings, reading=True) as dep:
            yield {name: dep.reading(name, lane="urgent") for name in dep.targets}
        return
    targets, _ = build_targets(settings)
    pace: Pace = Unpaced()
    async with new_client() as client:
        yield {
            name: Http(name, client, target.origin, target.headers(), pace, read_only=True)
            for name, target in targets.items()
        }


async def _target(target: Target[Any], http: Http) -> Line:
    try:
        said = await target.probe(http)
    except TargetError as exc:
        return _failure(target.name, exc)
    return Line(target.name, "ok", " ".join(said) or "It answers, and the credentials are good.")
