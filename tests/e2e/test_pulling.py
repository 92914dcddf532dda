"""`pull`: what targets know of people reaches the write-back table at once. By the commands, with a real worker."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import pytest

from tests.e2e.site import Site, with_worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

COLUMNS = {
    "signed_in": "tribal_habits.current_sign_in_at",
    "completed": "tribal_habits.last_completed",
    "tribes": "mtribes.tribes",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pulling")
    table = {"url": str(folder / "back.csv"), "columns": COLUMNS}
    with with_worker(folder, only=("tribal_habits", "mtribes"), writeback=table) as site:
        # The second one shows who was made by the first
        for _ in range(2):
            site.call("sync", "--wait")
        yield site


def told(site: Site, person: str) -> dict[str, str]:
    with (site.folder / "back.csv").open(newline="", encoding="utf-8") as file:
        return next(row for row in csv.DictReader(file) if row["employee_id"] == person)


def test_a_pull_brings_sign_ins_enrolments_and_tribes_and_writes_nothing(site: Site) -> None:
    (enrolled, *_) = site.switchboard.state("tribal_habits")["enrolments"]
    person = enrolled["user_name"]
    site.switchboard.act("tribal_habits", "complete", user_name=person, code=enrolled["code"].rpartition("-")[0])
    site.switchboard.seed("tribal_habits", [{"user_name": person, "current_sign_in_at": "2026-11-02T09:30:00.000Z"}])
    site.forget_requests()
    document = site.call("pull")
    assert (document["trigger"], document["status"]) == ("pull", "succeeded")
    assert all(part["requests"] > 0 for part in document["targets"].values())
    assert sum(site.writes().values()) == 0
    row = told(site, person)
    assert row["signed_in"].startswith("2026-11-02T")
    assert row["completed"]
    assert row["tribes"] == "Sales"
    assert [one["run"] for one in site.call("runs")["runs"] if one["trigger"] == "pull"] == [document["run"]]
    # What was read is nothing that a plan would take for a change
    assert site.call("plan")["operations"] == []


def test_a_pull_of_one_target_asks_no_other(site: Site) -> None:
    site.forget_requests()
    document = site.call("pull", "--target", "mtribes")
    assert list(document["targets"]) == ["mtribes"]
    assert site.switchboard.counts("tribal_habits")["reads"] == 0
    error = site.call("pull", "--target", "portal", code=2)
    assert "portal" in error["error"]["message"]


def test_a_target_that_cannot_be_read_back_fails_by_name_and_holds_up_no_other(site: Site) -> None:
    match = {"method": "GET", "path_prefix": "/v1.0/spaces"}
    site.switchboard.fault("mtribes", match=match, times=20, status=404, body={"message": "Not found"})
    document = site.call("pull", code=5)
    site.switchboard.clear_faults("mtribes")
    assert document["targets"]["tribal_habits"]["status"] == "succeeded"
    assert document["targets"]["mtribes"]["status"] == "failed"
    assert "404" in document["targets"]["mtribes"]["error"]["message"]
