"""What makes no sense or is not allowed: the right status, a page that says what to do, and nothing done."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.web.auth.access import COOKIE
from tests.cli.test_processes import eventually
from tests.cli.test_up import _status
from tests.decisions.conftest import company
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.web.conftest import OPERATOR, VIEWER, Site, bearer, csrf_in

SECRET = "a-secret-of-the-tests"


def state(site: Site) -> tuple[Any, ...]:
    """All that a request could have done: runs, what is held, the trail, a pause, the accounts."""
    runs = site.get("/api/runs").json()["runs"]
    # A decision that reached nobody is written down as one of nobody
    trail = [
        one
        for one in site.work(lambda dep: dep.audit.newest(50))
        if one["action"] != "signed in" and (one.get("count") or "count" not in one)
    ]
    paused = site.work(lambda dep: dep.health.of("tribal_habits")).paused
    held = [(one["run"], one["targets"]["tribal_habits"]["held"]) for one in runs]
    return held, trail, paused, sorted(str(one) for one in site.switchboard.accounts("tribal_habits"))


def is_page(answer: Any, status: int, *words: str) -> None:
    """A page for people, in which something helpful stands."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    for word in words:
        assert word in answer.text, answer.text


def test_on_the_pages(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    before = state(site)
    approval = f"/runs/{run}/approval"
    some = {"who": "tribal_habits:W0000", "act": "approve", "confirmed": "1"}
    good = csrf_in(site.client.get("/").text)
    # Cross-site, or with a form that is too old
    for fields, headers in (
        ({**some, "csrf": "0" * 64}, {}),
        (some, {}),
        ({**some, "csrf": good}, {"Sec-Fetch-Site": "cross-site"}),
        ({**some, "csrf": good}, {"Sec-Fetch-Site": "same-site"}),
    ):
        is_page(
            site.client.post(approval, data=fields, headers=headers), 403, "Nothing was done", "load the page again"
        )
    # Too large, not a form, and too many fields
    large = {"csrf": good, "reason": "x" * 1024**2}
    is_page(site.client.post(approval, data=large), 413, "larger than", "nothing of it was kept")
    is_page(site.client.post(approval, json=some), 415, "form")
    # Unknown ids
    is_page(site.client.get("/runs/nowhere"), 404, "There is no run")
    is_page(site.client.get("/people?key=nobody"), 404, "nobody")
    is_page(site.client.get("/nowhere"), 404, "no page at this address")
    is_page(site.send("/", "/runs/nowhere/approval", some), 404, "There is no run")
    is_page(site.send("/", "/targets/nowhere/pause"), 404, "nowhere")
    is_page(site.send("/", "/people/resync", {"key": "nobody"}), 404, "nobody")
    is_page(site.send("/", "/runs", {"target": "nowhere"}), 404, "nowhere", "Targets are")
    # No choice, no verdict
    is_page(site.send(approval, approval, {"act": "approve"}), 409, "tick somebody")
    is_page(site.send(approval, approval, {"who": some["who"]}), 422, "approve or to reject")
    assert state(site) == before


def test_wrong_tokens_and_forged_sessions(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    before, real = state(site), site.client.cookies[COOKIE]
    form = {
        "csrf": csrf_in(site.client.get("/").text),
        "who": "tribal_habits:W0000",
        "act": "approve",
        "confirmed": "1",
    }
    text, _, signature = real.partition(".")
    for forged in (f"{text}.{'0' * len(signature)}", f"{text}x.{signature}", text, f"{text}.", "", "x.y"):
        site.client.cookies.clear()
        headers = {"Cookie": f"{COOKIE}={forged}"}
        answer = site.client.post(f"/runs/{run}/approval", data=form, headers=headers, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), forged
    site.client.cookies.clear()
    page = site.client.get("/sign-in").text
    wrong = site.client.post("/sign-in", data={"csrf": csrf_in(page), "token": "wrong"}, follow_redirects=False)
    is_page(wrong, 401, "opens nothing here", "Your token")
    for token, status in (("wrong", 401), (VIEWER, 403)):
        refused = site.post(f"/api/runs/{run}/approve", {"all": True}, token=token)
        assert refused.status_code == status
        assert refused.json()["remedy"]
    assert state(site) == before


def test_of_the_api(site: Site) -> None:
    run = site.held()["run"]
    before = state(site)
    for path, content, kind, status in (
        ("/api/runs", b"{", "application/json", 422),
        ("/api/runs", b"{}", "text/plain", 415),
        ("/api/runs", b'{"targets": ["nowhere"]}', "application/json", 422),
        (f"/api/runs/{run}/approve", b'"' + b"x" * 1024**2 + b'"', "application/json", 413),
        (f"/api/runs/{run}/approve", b'{"people": ["W0019"]}', "application/json", 409),
        (f"/api/runs/{run}/approve", b"{}", "application/json", 422),
        ("/api/runs/nowhere/approve", b'{"all": true}', "application/json", 404),
        (f"/api/runs/{run}/retry", b"", "application/json", 409),
    ):
        answer = site.client.post(path, content=content, headers={**bearer(OPERATOR), "Content-Type": kind})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path
        assert answer.json()["detail"]
    assert state(site) == before


def test_approving_what_is_no_longer_wanted(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    page = f"/runs/{run}/approval"
    form = {"csrf": csrf_in(site.client.get(page).text), "all": "tribal_habits", "act": "approve", "confirmed": "5"}
    site.roster.write_text(company(20))
    site.sync()
    before = state(site)
    answer = site.client.post(page, data=form)
    assert answer.status_code == 409
    assert "no longer wants it" in answer.text or "Nothing that is held was chosen" in answer.text
    refused = site.post(f"/api/runs/{run}/approve", {"all": True})
    assert refused.status_code == 409
    assert "no longer wants it" in refused.text
    site.drain()
    assert state(site) == before


def test_redis_goes_away_and_comes_back(make_site: Callable[..., Site]) -> None:
    with RedisServer(append_only=True) as server:
        site = make_site(redis=server.url)
        run = site.held()["run"]
        site.sign_in()
        before = state(site)
        form = {"csrf": csrf_in(site.client.get("/").text)}
        server.kill()
        is_page(site.client.get("/"), 503, "Redis does not answer", "Try again soon")
        is_page(site.client.post("/runs", data=form), 503, "nothing was done")
        refused = site.post(f"/api/runs/{run}/approve", {"all": True})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "nothing was done" in refused.json()["detail"]
        assert site.get("/healthz").status_code == 200
        assert site.get("/readyz").status_code == 503
        server.start()
        assert site.get("/readyz").status_code == 200
        assert state(site) == before


@pytest.mark.parametrize("path", ["/", "/api/runs"])
def test_one_address_that_guesses_has_to_wait(site: Site, path: str) -> None:
    for _ in range(6):
        assert site.get("/api/runs", token="guess").status_code == 401
    if path == "/":
        form = csrf_in(site.client.get("/sign-in").text)
        answer = site.client.post("/sign-in", data={"csrf": form, "token": "guess"}, follow_redirects=False)
        is_page(answer, 429, "Too many wrong tokens")
    else:
        answer = site.get(path, token="guess")
        assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/sign-in", "application/x-www-form-urlencoded"),
        ("/api/runs", "application/json"),
        ("/api/roster", "text/csv"),
        (f"/webhooks/tribal_habits/{SECRET}", "application/json"),
    ],
)
def test_a_request_that_is_broken_off_leaves_no_traceback(
    make_site: Callable[..., Site], tmp_path: Path, path: str, kind: str
) -> None:
    make_site()
    port = free_port()
    environment = {
        **os.environ,
        "PROVISIONER_CONFIG": str(tmp_path / "provisioner.yaml"),
        "PROVISIONER_WEB__PORT": str(port),
        "PROVISIONER_TARGETS__TRIBAL_HABITS__WEBHOOK_SECRET": SECRET,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    log = tmp_path / "web.log"
    with log.open("wb") as output:
        words = [sys.executable, "-m", "provisioner", "web"]
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
    try:
        eventually(lambda: _status(port, "/healthz") == 200)
        for sent in (b"", b"csrf=1&to"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                method = "PUT" if path.endswith("roster") else "POST"
                head = f"{method} {path} HTTP/1.1\r\nHost: here\r\nContent-Type: {kind}\r\nContent-Length: 500\r\n"
                connection.sendall(f"{head}Authorization: Bearer {OPERATOR}\r\n\r\n".encode() + sent)
                time.sleep(0.3)
        assert _status(port, "/healthz") == 200
    finally:
        process.terminate()
        process.wait(30)
    said = log.read_text()
    assert "Traceback" not in said
    assert "ClientDisconnect" not in said
    assert "request_broke" not in said
