"""Tribal Habits where a portal takes other pages than usual, or user names that a path cannot carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from provisioner.events.poll import read_back
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from tests.support.harness import drain, sync_once
from tests.targets.portal import PORTAL, Portal, person

LARGEST = 10
LICENCE = {"title": "licence", "provider": "'WorkSafe'", "knowledge_type": "'4'", "date_obtained": "obtained"}


async def to_the_end(dep: Deployment) -> dict[str, Any]:
    """A run, and what is put off in it for some seconds because an answer was lost; its JSON."""
    run = (await sync_once(dep))["run"]
    await drain(dep, within=10.0)
    document = await dep.runs.document(run)
    assert document is not None
    return cast("dict[str, Any]", document)


@pytest.mark.parametrize("lost", ["/papi/topic_assignments", "/papi/external_knowledges"])
def test_no_list_is_asked_for_larger_pages_than_the_settings_say(redis_url: str, tmp_path: Path, lost: str) -> None:
    """Users, catalogue, enrolments and external knowledge, of a portal that refuses more."""
    with SandboxServer() as sandbox:
        settings: dict[str, Any] = {
            "page_size": LARGEST,
            "enrolments": [{"code": "TH-4-77-NEW", "when": "team = 'Sales'"}],
            "external_knowledge": [{**LICENCE, "when": "licence IS NOT NULL"}],
        }
        portal = Portal(sandbox, redis_url, tmp_path, **settings)
        portal.board.options(PORTAL, page_cap=-LARGEST)
        portal.roster([person(number, team="Support") for number in range(12)])
        assert portal.sync()["succeeded"] == {"create": 12}
        portal.roster([person(number, licence="Forklift", obtained="2024-06-01") for number in range(12)])
        # An answer is lost, so what was asked for is looked up before it is sent again
        portal.board.fault(PORTAL, match={"method": "POST", "path_prefix": lost}, times=3, drop="after")
        portal.board.clear_log(PORTAL)
        part = portal.run(to_the_end)["targets"][PORTAL]
        asked = portal.board.log(PORTAL)
        assert part["failed"] == ({"enrol": 3} if lost.endswith("knowledges") else {})
        portal.run(read_back)
        lists = [one for one in (*asked, *portal.board.log(PORTAL)) if "max_per_page=" in one["query"]]
        assert {one["status"] for one in lists} == {200}
        wanted = {"/papi/users", "/papi/topic_assignments", "/papi/pathway_assignments", lost}
        wanted |= set() if lost.endswith("knowledges") else {"/papi/topics"}
        assert {one["path"] for one in lists} >= wanted


def test_user_names_with_a_dot_are_served_where_a_path_cannot_carry_them(redis_url: str, tmp_path: Path) -> None:
    with SandboxServer() as sandbox:
        portal = Portal(sandbox, redis_url, tmp_path)
        portal.target["attributes"] |= {"user_name": "LOWER(first) || '.' || LOWER(last)"}
        portal.board.options(PORTAL, dots_cut=True)
        people = [person(number) for number in range(4)]
        portal.roster(people)
        assert portal.sync()["succeeded"] == {"create": 4}
        # One person by themselves: a look-up by a path finds nobody, and that is not believed
        portal.roster([person(0, team="Support"), *people[1:]])
        assert portal.sync(people=("E0",))["succeeded"] == {"role": 1}
        portal.roster([person(0, team="Support", status="left"), *people[1:]])
        assert portal.sync(people=("E0",))["succeeded"] == {"leave": 1}
        assert portal.held("ann.lee0")["active"] is False
        part = portal.sync(full=True)
        assert (part["unchanged"], part["failed"]) == (4, {})
