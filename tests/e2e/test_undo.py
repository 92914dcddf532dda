"""A wrong mapping goes live and is undone, and so is the undo: by the commands, with workers that really run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from provisioner.runtime.context import Deployment
from tests.e2e.site import BY_HAND, KINDS, Site, deployment
from tests.support.harness import sync_once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
#: What the stand-ins say of the moment and of who wrote last.
MOMENTS: Final = {"role_details", "updated_at", "last_modified", "modified_at", "etag", "version"}
#: Thirty people of the example's roster.
THOSE: Final = "employee_id IN ({})"
NAMES: Final = {
    "tribal_habits": ("last_name", "last_name"),
    "habitate": ("last_name", "last_name"),
    "traitly": ("name", "first_name || ' ' || last_name"),
    "mtribes": ("name", "first_name || ' ' || last_name"),
}


def states(site: Site) -> dict[str, list[str]]:
    return {
        kind: sorted(
            json.dumps({name: one for name, one in row.items() if name not in MOMENTS}, sort_keys=True)
            for row in site.switchboard.accounts(kind)
        )
        for kind in KINDS
    }


def spoil(site: Site, people: list[str]) -> None:
    """A mapping that gives some people a wrong name in four targets."""
    document = yaml.safe_load(site.config.read_text())
    named = ", ".join(f"'{person}'" for person in people)
    for target, (attribute, right) in NAMES.items():
        wrong = f"CASE WHEN {THOSE.format(named)} THEN 'Wrong ' || employee_id ELSE {right} END"
        document["targets"][target]["attributes"][attribute] = wrong
    site.config.write_text(yaml.safe_dump(document, allow_unicode=True))


async def synced(site: Site) -> None:
    async with Deployment.open(site.settings) as dep:
        assert (await sync_once(dep))["status"] == "succeeded"


def members_of_all(site: Site) -> list[str]:
    """People who have an account in each target."""
    everywhere = [{key.decode() for key in site.contents.ledger(kind)} for kind in KINDS]
    return sorted(set.intersection(*everywhere))


def kinds(document: dict[str, Any], figure: str) -> dict[str, dict[str, int]]:
    return {
        name: {kind: count for kind, count in part[figure].items() if count}
        for name, part in document["targets"].items()
    }


def test_a_wrong_mapping_is_undone_and_the_undo_is_undone(tmp_path: Path) -> None:
    guards = {"updates": {"percent": 100}, "window": "0s"}
    with deployment(tmp_path, schedule=BY_HAND, guards=guards) as site:
        # The mapping that is right, by which nothing but this one run works
        asyncio.run(synced(site))
        before = states(site)
        people = [one for one in members_of_all(site) if one in active(site)][:30]
        assert len(people) == 30
        spoil(site, people)
        worker = site.start_worker()
        try:
            changed = site.call("sync", "--wait")
            assert kinds(changed, "succeeded") == {kind: {"update": 30} for kind in KINDS}
            after = states(site)

            site.forget_requests()
            shown = site.call("plan", "--undo", changed["run"])
            assert set(site.writes().values()) == {0}
            assert shown["next_sync"] is None
            assert kinds(shown, "planned") == {kind: {"update": 30} for kind in KINDS}
            assert all("still want what run" in " ".join(part["notes"]) for part in shown["targets"].values())

            first = site.call("undo", changed["run"], "--wait")
            assert first["trigger"] == "undo"
            assert first["left_out"] == first["stays"] == []
            assert states(site) == before
            reasons = {one["reason"] for one in site.call("show", first["run"], "--operations")["operations"]}
            assert reasons == {f"undo of run {changed['run']}"}
            assert changed["run"] in json.dumps(site.call("why", people[0]))

            second = site.call("undo", first["run"], "--wait")
            assert second["left_out"] == []
            assert states(site) == after
            site.forget_requests()
            assert not any(kinds(site.call("sync", "--wait"), "planned").values())
            assert set(site.writes().values()) == {0}
            site.call("undo", "20990101-000000", code=2)
        finally:
            worker.stop()


def active(site: Site) -> set[str]:
    return {one["user_name"] for one in site.switchboard.accounts("tribal_habits") if one["active"]}
