"""Which roster a request may name, which pushed one is read, and what of a file reaches somebody."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.decisions.conftest import company
from tests.support.documents import anything
from tests.web.conftest import VIEWER, WEB, Site
from tests.web.test_api import is_problem

SECRET = "sk_live_4f9a0c77d2b84e11"


@contextmanager
def hr(pages: dict[str, bytes | str]) -> Iterator[tuple[str, list[str]]]:
    """A server that hands out files (bytes) and redirects (text); its address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = pages.get(self.path, b"")
            if isinstance(found, str):
                self.send_response(302)
                self.send_header("Location", found)
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def refused(site: Site, roster: str) -> dict[str, object]:
    problem = is_problem(site.post("/api/runs", {"roster": roster}), 422)
    assert problem["code"] == "roster_not_allowed"
    assert "web.rosters" in str(problem["remedy"])
    return problem


def test_no_roster_is_named_over_http_but_roster_url(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "api_key"
    secret.write_text(f"{SECRET}\n")
    for roster in (str(secret), secret.as_uri(), "https://hr.example.com/people.csv", "http://127.0.0.1:1/", "data"):
        assert SECRET not in json.dumps(refused(site, roster))
    assert site.get("/api/runs").json()["runs"] == []
    site.roster.write_text(company(2))
    run = site.post("/api/runs", {"roster": str(site.roster)}).json()["run"]
    assert site.carry_out(run)["roster"]["people"] == 2
    trail = site.work(lambda dep: dep.audit.newest(1))
    assert anything(trail[0])["roster"] == str(site.roster)


def test_a_prefix_is_not_fooled(make_site: Callable[..., Site], tmp_path: Path) -> None:
    folder, outside = tmp_path / "rosters", tmp_path / "rosters-of-others"
    folder.mkdir()
    outside.mkdir()
    good = folder / "people.csv"
    good.write_text(company(3))
    (outside / "people.csv").write_text(company(1))
    (folder / "link.csv").symlink_to(outside / "people.csv")
    (folder / "away").symlink_to(outside)
    with hr({"/export/a.csv": company(4).encode(), "/other/b.csv": company(1).encode()}) as (address, asked):
        port = address.rpartition(":")[2]
        site = make_site(
            web={**WEB, "rosters": [str(folder), f"{address}/export/", "https://hr.example.com", "s3://exports"]}
        )
        for roster in (
            "https://hr.example.com.evil.example/a.csv",
            "https://hr.example.com@evil.example/a.csv",
            "https://user:word@hr.example.com/a.csv",
            "https://hr.example.com:8443/a.csv",
            "https://hr.example.com\\.evil.example/a.csv",
            "http://hr.example.com/a.csv",
            f"{address}/export/../other/b.csv",
            f"{address}/export/%2e%2e/other/b.csv",
            f"{address}/export/%252e%252e/other/b.csv",
            f"{address}/export/..%2fother/b.csv",
            f"{address}/EXPORT/a.csv",
            f"{address}/exports/a.csv",
            f"http://127.0.0.1:{port}@evil.example/export/a.csv",
            str(outside / "people.csv"),
            f"{folder}/../rosters-of-others/people.csv",
            f"{folder}/./people.csv",
            f"file://{folder}/%2e%2e/rosters-of-others/people.csv",
            f"file://evil.example{folder}/people.csv",
            "~/people.csv",
            f"{folder}\n/etc/passwd",
            "s3://hr.example.com/a.csv",
            "ftp://hr.example.com/a.csv",
            "s3://exports/a::file:/etc/passwd",
        ):
            refused(site, roster)
        assert asked == []
        for roster, people in ((str(good), 3), (good.as_uri(), 3), (f"{address}/export/a.csv", 4)):
            run = site.post("/api/runs", {"roster": roster}).json()["run"]
            assert site.carry_out(run)["roster"]["people"] == people, roster
        # What is under the prefix by its name only is seen where it is read
        for roster in (str(folder / "link.csv"), str(folder / "away" / "people.csv"), f"{folder}/l*.csv"):
            run = site.post("/api/runs", {"roster": roster}).json()["run"]
            done = site.carry_out(run)
            assert done["status"] == "rejected"
            assert "web.rosters" in done["error"]["message"]


def test_a_redirect_leads_nowhere_else(make_site: Callable[..., Site]) -> None:
    with hr({"/secret": company(1).encode()}) as (inner, reached):
        pages: dict[str, bytes | str] = {
            "/a.csv": f"{inner}/secret",
            "/b.csv": "/c.csv",
            "/c.csv": company(2).encode(),
            "/d.csv": "http://localhost:1/",
        }
        with hr(pages) as (address, _):
            site = make_site(web={**WEB, "rosters": [f"{address}/"]})
            run = site.post("/api/runs", {"roster": f"{address}/a.csv"}).json()["run"]
            assert "web.rosters" in site.carry_out(run)["error"]["message"]
            run = site.post("/api/runs", {"roster": f"{address}/b.csv"}).json()["run"]
            assert site.carry_out(run)["roster"]["people"] == 2
            # roster.url is the operator's own, and yet its server may not send us into the private network
            own = make_site(reading={"url": f"{address}/d.csv"})
            assert "private network" in own.sync()["error"]["message"]
    assert reached == []


@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}\n",
        f"user,{SECRET}\n",
        f"password: {SECRET}, host: db\nuser: x, port: 1\n",
        f'{{"private_key": "{SECRET}"}}\n',
        f"[db]\npassword={SECRET};x\n",
    ],
)
def test_a_secret_file_says_nothing(make_site: Callable[..., Site], tmp_path: Path, content: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text(content)
    site = make_site(web={**WEB, "rosters": [str(secret)]})
    run = site.post("/api/runs", {"roster": str(secret)}).json()["run"]
    assert site.carry_out(run)["status"] == "rejected"
    for path in (f"/api/runs/{run}", "/api/runs"):
        assert SECRET not in site.get(path, token=VIEWER).text


def test_a_push_is_kept_only_if_it_is_not_rejected(site: Site) -> None:
    site.roster.write_text(company(20))
    assert site.sync()["status"] == "succeeded"
    zeros = site.push(b"\0" * 1000)
    assert zeros["status"] == "rejected"
    assert "not kept" in zeros["error"]["message"]
    after = site.sync()
    assert (after["status"], after["roster"]["source"]) == (
        "succeeded",
        {**after["roster"]["source"], "kind": "url", "name": str(site.roster)},
    )

    good = site.push(company(21))
    assert (good["roster"]["source"]["kind"], good["roster"]["people"]) == ("push", 21)
    assert site.push(b"\0" * 10)["status"] == "rejected"
    assert site.sync()["roster"]["people"] == 21

    # A degraded one is read by all, or joiners would come and go; the believed one waits beneath it
    degraded = site.push(company(10))
    assert degraded["roster"]["degraded"]
    assert site.sync()["roster"]["degraded"]
    kept = site.work(lambda dep: dep.frames.pushed_since(str(site.roster)))
    assert kept is not None
    assert kept[1] is False
    dropped = site.work(lambda dep: dep.frames.drop_pushed())
    assert dropped is not None
    assert site.sync()["roster"]["people"] == 21

    assert site.push(company(10))["roster"]["degraded"]
    accepted = site.sync(accept=site.push(company(9))["roster"]["digest"])
    assert accepted["roster"]["accepted"]
    assert site.sync()["roster"] == {**accepted["roster"], "degraded": []}
    kept = site.work(lambda dep: dep.frames.pushed_since(str(site.roster)))
    assert kept is not None
    assert kept[1] is True
    assert site.work(lambda dep: dep.frames.drop_pushed()) is not None
    assert site.sync()["roster"]["source"]["kind"] == "url"


def test_of_two_pushes_the_later_one_counts_whichever_begins_first(site: Site) -> None:
    runs = [
        site.client.put("/api/roster", content=company(count), headers={"Authorization": f"Bearer {WEB['token']}"})
        for count in (3, 4)
    ]
    older, newer = (answer.json()["run"] for answer in runs)
    assert site.carry_out(newer)["roster"]["people"] == 4
    assert site.carry_out(older)["roster"]["people"] == 4
    assert site.sync()["roster"]["people"] == 4


def test_each_push_is_a_writing_and_who_vanished_is_listed(make_site: Callable[..., Site]) -> None:
    site = make_site(reading={"absence": {"snapshots": 3, "grace": "0s"}})
    site.roster.write_text(company(20))
    site.push(company(20))
    for count in (1, 2):
        assert site.push(company(19))["status"] == "succeeded"
        # Reading it again is none
        assert site.sync()["status"] == "succeeded"
        site.sign_in()
        assert "W0019" in site.client.get("/todos").text, count
    assert site.push(company(19))["targets"]["tribal_habits"]["planned"]["leave"] == 1
    assert "W0019" not in site.client.get("/todos").text


def test_sources_that_take_turns_bring_no_writing_twice(make_site: Callable[..., Site]) -> None:
    site = make_site(reading={"absence": {"snapshots": 3, "grace": "0s"}})
    site.push(company(20))
    site.roster.write_text(company(19))
    site.push(company(19))
    for _ in range(3):
        # The push and the file, neither of them rewritten
        assert site.sync(roster=str(site.roster))["targets"]["tribal_habits"]["planned"]["leave"] == 0
        assert site.sync()["targets"]["tribal_habits"]["planned"]["leave"] == 0
