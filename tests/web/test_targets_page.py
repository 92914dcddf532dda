"""The page of the targets: what the budget leaves, what waits and when it could be done, who sends."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any

import msgspec

from provisioner.admin.target_state import target_state
from provisioner.model.target_state import TargetState
from tests.decisions.conftest import company
from tests.web.conftest import VIEWER, Site


def state(site: Site, target: str = "tribal_habits") -> Any:
    async def read(dep: Any) -> Any:
        return await target_state(dep, target)

    found = site.work(read)
    assert msgspec.to_builtins(msgspec.convert(found, TargetState)) == found
    return found


def test_what_waits_is_listed_by_kind_with_a_forecast(make_site: Callable[..., Site]) -> None:
    site = make_site()
    run = site.held()["run"]
    assert state(site)["queue"] == []
    assert site.post(f"/api/runs/{run}/approve", {"all": True}).status_code == 200
    found = state(site)
    assert [(one["kinds"], one["count"]) for one in found["queue"]] == [(["leave"], 5)]
    assert found["queue"][0]["empty_in"] == 0
    (window,) = found["budget"]["windows"]
    assert window["used"] + window["free"] == window["limit"] == window["configured"]
    site.sign_in(VIEWER)
    text = unescape(site.client.get("/targets").text)
    assert "now, the budget has room" in text
    assert f'href="/runs/{run}"' in text
    site.drain()
    assert state(site)["queue"] == []


def test_a_paused_target_has_no_forecast_and_says_who_paused_it(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    site.send("/", "/targets/tribal_habits/pause", {"reason": "audit"})
    site.post(f"/api/runs/{run}/approve", {"all": True})
    assert [one["empty_in"] for one in state(site)["queue"]] == [None]
    text = unescape(site.client.get("/targets").text)
    assert "web:operator paused it: audit" in text
    assert "not while it is paused" in text


def test_a_limit_that_a_vendor_enforces_is_said_with_its_end(site: Site) -> None:
    site.roster.write_text(company(2))
    site.sync()

    async def limited(dep: Any) -> None:
        pace = dep.pace_of("tribal_habits")
        slot = await pace.slot(5.0)
        await slot.answered(limited=True, retry_after=90.0)

    site.work(limited)
    assert 80 < state(site)["budget"]["blocked"] <= 90
    site.sign_in()
    assert "blocked for 1 min" in site.client.get("/targets").text


def test_targets_that_count_together_name_each_other(make_site: Callable[..., Site]) -> None:
    site = make_site(only=("tribal_habits", "traitly"))
    assert state(site)["budget"]["shared_with"] == []
    site.sign_in()
    text = site.client.get("/targets").text
    assert "No worker gave a sign within the last hour" in text
    assert "Start `provisioner worker`" in text
    for page in ("/", "/todos"):
        assert site.client.get(page).status_code == 200
    assert 'href="/targets#traitly"' in site.client.get("/").text
