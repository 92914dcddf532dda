"""Finding a person from every page, by whatever somebody has of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from provisioner.admin.person_search import MOST, matches
from tests.decisions.conftest import company
from tests.web.conftest import Site, csrf_in

PEOPLE = pl.DataFrame(
    {
        "_key": ["E1", "E10", "E2", "E3"],
        "_label": ["Ada Byron", "Zoë Grün", None, "Ada Lovelace"],
        "employee_id": ["E1", "E10", "E2", "E3"],
        "work_email": ["ada@example.com", "ZOE@example.com", "e1@example.com", None],
        "department": ["Sales", "Sales and more", "sales", None],
    }
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("e1", [("E1", "key"), ("E10", "key"), ("E2", "work_email")]),
        ("e10", [("E10", "key")]),
        ("ada byron", [("E1", "name")]),
        ("ada", [("E1", "name"), ("E3", "name")]),
        ("grün", [("E10", "name")]),
        ("zoe@", [("E10", "work_email")]),
        ("sales", [("E1", "department"), ("E2", "department")]),
        ("1", []),
        ("nobody", []),
        (".*", []),
    ],
)
def test_a_text_fits_whole_or_in_part(text: str, found: list[tuple[str, str]]) -> None:
    assert [(one.person, one.by) for one in matches(PEOPLE, text)] == found


def test_no_more_are_listed_than_somebody_reads() -> None:
    many = pl.DataFrame({"_key": [f"E{number}" for number in range(500)]})
    assert len(matches(many, "e1")) == MOST + 1


def find(site: Site, text: str) -> Any:
    return site.client.post("/search", data={"csrf": csrf_in(site.client.get("/runs").text), "text": text})


def test_a_person_is_found_from_every_page(make_site: Callable[..., Site]) -> None:
    site = make_site(reading={"label": "first_name || ' ' || last_name"})
    site.roster.write_text(company(12))
    site.sync()
    site.sign_in()
    for text in ("W0003", "p3@example.com", "first3 last3", " P3@EXAMPLE.com "):
        answer = find(site, text)
        assert answer.url.path == "/people"
        assert answer.url.query == b"key=W0003"
    several = find(site, "p1")
    assert several.url.path == "/search"
    assert "3 people fit" in several.text
    assert "First10 Last10" in several.text
    (account, *_) = [one for one in site.switchboard.accounts("tribal_habits") if one["user_name"] == "W0005"]
    by_account = find(site, str(account["id"]) if "id" in account else account["user_name"])
    assert "W0005" in by_account.text
    nobody = find(site, "<script>alert(1)</script>")
    assert "Nobody fits" in nobody.text
    assert "<script>alert" not in nobody.text
    assert site.client.post("/search", data={"text": "W0003"}).status_code == 403
    assert "Type a key" in site.client.get("/search").text
