"""What a run's page says of what its plan predicted, and how moments and values are written."""

from __future__ import annotations

from provisioner.web.rendering import changes, otherwise
from tests.web.conftest import Site


def test_a_run_that_did_otherwise_says_why(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    page = site.client.get(f"/runs/{run}").text.partition("Predicted against actual")[2]
    assert page.partition("</section>")[0].count("as predicted</span>") == 1
    assert site.post(f"/api/runs/{run}/approve", {"people": ["W0000", "W0001"]}).status_code == 200
    site.drain()
    page = site.client.get(f"/runs/{run}").text.partition("Predicted against actual")[2]
    assert "leave: 0 predicted, 2 done: " in page
    assert "2 held at first, and approved" in page


def test_the_reason_of_a_difference_is_in_words() -> None:
    one = {"kind": "leave", "predicted": 9, "actual": 4, "because": {"held": 4, "no_longer_leaving": 1, "else": 2}}
    assert otherwise(one) == (
        "leave: 9 predicted, 4 done: 4 held until approved, 1 not leaving any more by a newer roster, 2 else"
    )


def test_a_moment_is_written_as_one_reads_it() -> None:
    after = {"created_at": 1795374544, "seen_at": "2026-01-02", "batch": 1795374544, "active": True, "name": ""}
    assert changes({"kind": "update", "before": {"created_at": None}, "after": after}) == [
        ("created_at", "(empty)", "2026-11-22 19:09:04 UTC"),
        ("seen_at", None, "2026-01-02"),
        ("batch", None, "1795374544"),
        ("active", None, "true"),
        ("name", None, "(empty)"),
    ]
