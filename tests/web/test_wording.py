"""Errors and empty pages speak to who reads a page: no API, no command where a page has it, and where to go on."""

from __future__ import annotations

from html import unescape

import pytest

from provisioner.web.wording import for_people, places_after
from tests.decisions.conftest import company
from tests.web.conftest import Site


@pytest.mark.parametrize("path", ["/runs/nothing", "/runs/nothing/approval", "/runs/nothing/undo", "/nothing-here"])
def test_what_is_not_there_leads_on(site: Site, path: str) -> None:
    site.sign_in()
    answer = site.client.get(path)
    text = unescape(answer.text).partition("<main")[2]
    assert answer.status_code == 404
    assert "/api/" not in text
    assert "provisioner " not in text
    assert 'href="/"' in text
    assert 'aria-label="Pages"' in answer.text, "the menu is there as well"
    assert ('href="/runs"' in text) == path.startswith("/runs/")
    # A program is answered as before
    assert site.get("/api/runs/nothing").json()["remedy"] == "GET /api/runs lists them."


def test_who_has_not_signed_in_gets_no_menu(site: Site) -> None:
    answer = site.client.get("/nothing-here")
    assert answer.status_code == 404
    assert 'aria-label="Pages"' not in answer.text


def test_an_empty_deployment_says_what_to_do(site: Site) -> None:
    site.sign_in()
    for path in ("/", "/runs", "/roster"):
        assert "Sync now" in site.client.get(path).text
    nobody = unescape(site.client.get("/people?key=nobody").text)
    assert "finds people by name, email or account" in nobody


def test_a_person_leads_to_their_part_of_a_run(site: Site) -> None:
    site.roster.write_text(company(3))
    run = site.sync()["run"]
    site.sign_in()
    page = site.client.get("/people?key=W0001").text
    assert f'href="/runs/{run}?person=W0001#operations"' in page
    assert 'href="/targets#tribal_habits"' in page


@pytest.mark.parametrize(
    ("said", "on_the_page"),
    [
        (None, None),
        ("GET /api/runs lists them.", "The page Runs lists those that are kept."),
        ("`provisioner runs` lists them.", "The page Runs lists those that are kept."),
        ("`provisioner show R1 --operations` lists whom it changed.", "The operations on the run's page have them."),
        ("Ask an operator.", "Ask an operator."),
    ],
)
def test_a_remedy_names_the_page(said: str | None, on_the_page: str | None) -> None:
    assert for_people(said) == on_the_page


def test_the_overview_is_always_a_way_on() -> None:
    assert places_after("/nothing") == [("/", "Overview")]
    assert places_after("/runs/x/undo") == [("/runs", "All runs"), ("/", "Overview")]
