"""However many operations a run has, a page reads the same few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.calling import call
from tests.support.large_run import LargeRuns, efforts, is_bounded
from tests.web.conftest import Site


def test_pages_of_a_large_run_read_as_little_as_those_of_a_small_one(site: Site, redis_url: str) -> None:
    site.sign_in()

    def look_at(path: str) -> Callable[[str], None]:
        def look(run: str) -> None:
            assert site.get(path.format(run)).status_code == 200

        return look

    paths = (
        *("/", "/runs", "/runs/{}", "/runs/{}?status=failed", "/runs/{}/approval", "/metrics", "/audit"),
        *("/targets", "/trends"),
        *("/api/runs", "/api/runs/{}", "/api/runs/{}/operations", "/api/runs/{}/operations?status=failed&limit=10"),
    )
    is_bounded(efforts(redis_url, {path: look_at(path) for path in paths}))


def test_so_do_the_commands(site: Site, redis_url: str, tmp_path: Path) -> None:
    del site

    def look_with(command: str, *options: str) -> Callable[[str], None]:
        def look(run: str) -> None:
            words = (command, run, *options) if command == "show" else (command, *options)
            answer = call(*words, PROVISIONER_CONFIG=str(tmp_path / "provisioner.yaml"))
            assert answer.code == 0, answer.err
            assert run in answer.out

        return look

    asked = (("show", "--json"), ("show",), ("show", "--failed"), ("runs",))
    is_bounded(efforts(redis_url, {" ".join(words): look_with(*words) for words in asked}))


def test_a_filter_that_passes_few_reads_a_bounded_number_of_them(site: Site, redis_url: str) -> None:
    with LargeRuns.at(redis_url) as runs:
        run = runs.fill(5_000)
        page = site.get(f"/api/runs/{run}/operations?status=pending").json()
        assert (page["operations"], page["next"] is not None) == ([], True)
        last = site.get(site.get(page["next"]).json()["next"]).json()
        assert (last["operations"], last["next"]) == ([], None)
        few: dict[str, Any] = {}
        path = f"/api/runs/{run}/operations?status=failed&limit=10"
        effort = runs.effort_of(lambda: few.update(site.get(path).json()))
        assert [one["person"] for one in few["operations"]] == [f"W{number}" for number in range(10)]
        assert effort.commands < 40


def test_a_run_that_is_too_large_for_a_page_is_not_read_for_its_undo(site: Site, redis_url: str) -> None:
    site.sign_in()
    with LargeRuns.at(redis_url) as runs:
        run = runs.fill(30_000)
        found: list[str] = []
        effort = runs.effort_of(lambda: found.append(site.client.get(f"/runs/{run}/undo").text))
        assert "too many to be listed on a page" in found[0]
        assert f"provisioner undo {run}" in found[0]
        assert effort.commands < 40
        assert site.send(f"/runs/{run}", f"/runs/{run}/undo").status_code == 409
