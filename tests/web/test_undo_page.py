"""The page of a run's undo: what comes back and what stays is shown first, and exactly that is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import msgspec
import pytest

from provisioner.admin.undo_outline import undo_outline
from provisioner.model.undo_outline import UndoOutline
from provisioner.runs.undo import undo_request
from provisioner.web.run_requests import known_run
from tests.decisions.conftest import company
from tests.web.conftest import VIEWER, Site

OPEN = {"window": "0s", "updates": {"percent": 100}, "leavers": {"percent": 100}, "removals": None}
PEOPLE = 12


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site(only=("tribal_habits", "traitly"), guards=OPEN, reading={"label": "'Label of ' || employee_id"})


def wrong_run(site: Site) -> str:
    """A run that gave everybody a wrong name."""
    site.roster.write_text(company(PEOPLE))
    site.sync()
    site.roster.write_text(company(PEOPLE, changes={n: {"last_name": f"Wrong{n}"} for n in range(PEOPLE)}))
    return str(site.sync()["run"])


def names(site: Site) -> set[str]:
    return {str(one["last_name"]) for one in site.switchboard.accounts("tribal_habits")}


def confirmed_in(page: str) -> str:
    found = re.search(r'name="confirmed" value="([0-9a-f]{32})"', page)
    assert found, page
    return found[1]


def test_a_run_is_undone_from_the_page(site: Site) -> None:
    run = wrong_run(site)
    assert "Wrong3" in names(site)
    site.sign_in()
    page = f"/runs/{run}/undo"
    assert page in site.client.get(f"/runs/{run}").text
    text = unescape(site.client.get(page).text)
    assert f"changed {2 * PEOPLE} accounts of {PEOPLE} people" in text
    assert "Label of W0003" in text
    row = text.partition("Label of W0003")[2].partition("</tr>")[0]
    assert re.search(r"last_name.*Wrong3.*Last3", row, re.DOTALL)
    # It is not done by looking, nor by what was confirmed of something else
    assert "Wrong3" in names(site)
    assert "changed meanwhile" in site.send(page, page, {"confirmed": "0" * 32}).text
    asked = {"target": "tribal_habits", "confirmed": confirmed_in(site.client.get(f"{page}?target=tribal_habits").text)}
    started = site.send(page, page, asked)
    new = started.url.path.rpartition("/")[2]
    assert new != run
    site.carry_out(new)
    assert names(site) == {f"Last{number}" for number in range(PEOPLE)}
    assert any("Wrong" in str(one["name"]) for one in site.switchboard.accounts("traitly")), "only the chosen target"
    assert f'takes back <a href="/runs/{run}"' in site.client.get(f"/runs/{new}").text
    entry: dict[str, Any] = {**site.work(lambda dep: dep.audit.newest(1))[0]}
    assert (entry["by"], entry["action"], entry["undo"]) == ("web:operator", "run requested", run)


def test_what_stays_is_said_before_and_after(site: Site) -> None:
    site.roster.write_text(company(PEOPLE))
    run = site.sync()["run"]
    site.sign_in()
    page = f"/runs/{run}/undo"
    text = unescape(site.client.get(page).text)
    assert "the account stays, and is left" in text
    assert "no call takes an event back" in text
    assert "the run made it" in text
    new = site.send(page, page, {"confirmed": confirmed_in(text)}).url.path.rpartition("/")[2]
    site.carry_out(new)
    assert "the account stays, and is left" in unescape(site.client.get(f"/runs/{new}").text)


def test_a_comparison_names_what_somebody_changed_since(site: Site) -> None:
    run = wrong_run(site)
    site.switchboard.seed("tribal_habits", [{"user_name": "W0003", "last_name": "Married"}])
    site.sign_in()
    page = f"/runs/{run}/undo"
    writes = len(site.switchboard.accounts("tribal_habits"))
    text = unescape(site.send(page, f"{page}/look").text)
    assert "Compared with the targets just now" in text
    assert f"{PEOPLE - 1} update" in text
    assert "Would be left out" in text
    assert "Married" in names(site)
    assert len(site.switchboard.accounts("tribal_habits")) == writes


def test_a_viewer_sees_and_does_not_start(site: Site) -> None:
    run = wrong_run(site)
    site.sign_in(VIEWER)
    page = f"/runs/{run}/undo"
    text = site.client.get(page).text
    assert "Only an operator can start an undo" in text
    assert "Wrong3" in text
    for action in (page, f"{page}/look"):
        assert site.send(page, action).status_code == 403
    assert site.client.get("/runs/nothing/undo").status_code == 404


def test_a_run_with_nothing_to_take_back_says_so_to_people(site: Site) -> None:
    site.roster.write_text(company(2))
    site.sync()
    run = site.sync()["run"]
    site.sign_in()
    text = unescape(site.client.get(f"/runs/{run}/undo").text)
    assert "There is nothing to take back" in text
    assert "provisioner show" not in text
    assert site.send(f"/runs/{run}", f"/runs/{run}/undo").status_code == 409


def test_the_document_is_what_its_type_says(site: Site) -> None:
    run = wrong_run(site)

    async def read(dep: Any) -> Any:
        asked = await undo_request(dep, run, None, None, force=False)
        return await undo_outline(dep, await known_run(dep.runs, run), asked)

    found = site.work(read)
    assert msgspec.to_builtins(msgspec.convert(found, UndoOutline)) == found
    change = found["people"][3]["operations"]["tribal_habits"][0]
    assert (change["kind"], change["before"], change["after"]) == (
        "update",
        {"last_name": "Wrong3"},
        {"last_name": "Last3"},
    )
