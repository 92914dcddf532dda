"""The page of the roster: columns with what changed, look-ups, and what the gate compares."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any

import msgspec

from provisioner.admin.roster_facts import roster_facts
from provisioner.model.roster_facts import RosterFacts
from tests.decisions.conftest import company
from tests.support.redis_contents import RedisContents
from tests.web.conftest import VIEWER, Site


def look(site: Site, day: str = "") -> Any:
    found = site.work(lambda dep: roster_facts(dep, day))
    assert found is None or msgspec.to_builtins(msgspec.convert(found, RosterFacts)) == found
    return found


def test_before_the_first_roster_it_says_what_to_do(site: Site) -> None:
    assert look(site) is None
    site.sign_in(VIEWER)
    text = site.client.get("/roster").text
    assert "No run has read a roster yet" in text
    assert "Sync now" in text


def test_columns_say_who_reads_them_and_what_changed_since_a_day(site: Site, redis_url: str) -> None:
    site.roster.write_text(company(20))
    site.sync()
    found = look(site)
    assert (found["people"], found["compared_with"], found["days"]) == (20, None, [])
    RedisContents(redis_url).age_roster(1)
    site.roster.write_text(company(21, changes={3: {"last_name": "Other"}, 4: {"job_title": ""}}))
    site.sync()
    found = look(site)
    columns = {one["name"]: one for one in found["columns"]}
    assert found["compared_with"] == found["days"][0]
    assert (found["joined"], found["gone"]) == (["W0020"], [])
    assert columns["last_name"]["changed"] == 1
    assert columns["last_name"]["examples"] == [{"person": "W0003", "before": "Last3", "after": "Other"}]
    assert columns["job_title"]["filled"] == 20
    assert [(one["person"], one["after"]) for one in columns["job_title"]["examples"]] == [("W0004", None)]
    assert (columns["employment_status"]["read_by_roster"], columns["first_name"]["read_by_roster"]) == (True, False)
    assert columns["first_name"]["changed"] == 0
    assert columns["last_name"]["read_by"] == ["tribal_habits"]
    assert columns["end_date"]["read_by"] == []
    site.sign_in(VIEWER)
    text = unescape(site.client.get(f"/roster?day={found['compared_with']}").text)
    assert "1 person is new since then" in text
    assert 'href="/people?key=W0003"' in text


def test_the_gate_says_how_many_of_whom(site: Site) -> None:
    site.roster.write_text(company(40))
    site.sync()
    rules = {one["setting"]: one for one in look(site)["gate"]}
    assert (rules["roster.gate.max_shrink"]["base"], rules["roster.gate.max_shrink"]["limit"]) == (40, 4)
    assert rules["roster.gate.max_age"]["allowed"] == "3650d"


def test_look_ups_say_for_how_many_they_found_something(make_site: Callable[..., Site]) -> None:
    site = make_site(
        reading={
            "lookups": {
                "job": {"by": "job_title", "values": {"Manager": "M"}},
                "unused": {"by": "country", "values": {}},
            },
            "label": "job.value",
        }
    )
    site.roster.write_text(company(20, changes={2: {"job_title": "Manager"}}))
    site.sync()
    found = {one["name"]: one for one in look(site)["lookups"]}
    assert (found["job"]["where"], found["job"]["found"]) == ("a map in the settings", 1)
    assert found["unused"]["found"] is None
    site.sign_in(VIEWER)
    assert "nothing reads it" in site.client.get("/roster").text
