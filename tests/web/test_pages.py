"""The control page without a browser: access, forms, and what stands on each page."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser

import pytest

from provisioner.web.auth.access import COOKIE, safe_place
from tests.decisions.conftest import company
from tests.web.conftest import OPERATOR, VIEWER, Site, bearer, csrf_in

PAGES = (
    *("/", "/runs", "/people", "/people?key=W0001", "/people?key=nobody", "/todos", "/drift", "/orphans", "/rejected"),
    *("/inbound", "/roster", "/settings", "/audit", "/targets", "/trends", "/playground?key=W0001"),
)


class _Strict(HTMLParser):
    """Notes what our policy forbids: scripts, styles and handlers within the page."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in named):
            self.faults.append(tag)
        self.faults += [name for name in named if name == "style" or name.startswith("on")]


def test_who_has_not_signed_in_is_led_to_the_form(site: Site) -> None:
    for path in PAGES:
        answer = site.client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")
    # A token opens the API, not the pages
    assert site.client.get("/", headers=bearer(VIEWER), follow_redirects=False).status_code == 303


def test_signing_in_and_out(site: Site) -> None:
    form = site.client.get("/sign-in?next=/runs").text
    assert 'value="/runs"' in form
    wrong = site.client.post("/sign-in", data={"csrf": csrf_in(form), "token": "wrong"})
    assert wrong.status_code == 401
    assert "opens nothing" in wrong.text
    answer = site.client.post(
        "/sign-in", data={"csrf": csrf_in(wrong.text), "token": VIEWER, "next": "/runs"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "vera, viewer" in site.client.get("/").text
    kept = site.client.cookies[COOKIE]
    assert site.send("/", "/sign-out").url.path == "/sign-in"
    # The cookie is worth nothing any more, whoever kept it
    site.client.cookies.set(COOKIE, kept)
    assert site.client.get("/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), lambda _: "e30=.x", str]
)
def test_a_forged_session_opens_nothing(site: Site, change: Callable[[str], str]) -> None:
    site.sign_in()
    real = site.client.cookies[COOKIE]
    forged = "x.y" if change is str else change(real)
    site.client.cookies.clear()
    site.client.cookies.set(COOKIE, forged)
    assert site.client.get("/", follow_redirects=False).status_code == 303


def test_a_session_ends_with_its_token(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.sign_in(VIEWER)
    cookie = site.client.cookies[COOKIE]
    other = make_site(web={"token": "another-operator", "users": []})
    other.client.cookies.set(COOKIE, cookie)
    assert other.client.get("/", follow_redirects=False).status_code == 303


def test_forms_from_elsewhere_do_nothing(site: Site) -> None:
    site.roster.write_text(company(1))
    site.sign_in()
    good = csrf_in(site.client.get("/").text)
    for fields, headers in (
        ({"csrf": ""}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": good}, {"Sec-Fetch-Site": "cross-site"}),
    ):
        answer = site.client.post("/runs", data=fields, headers=headers)
        assert answer.status_code == 403
        assert "Nothing was done" in answer.text
    assert site.client.post("/runs", json={"csrf": good}).status_code == 415
    assert site.get("/api/runs").json()["runs"] == []
    assert site.client.post("/runs", data={"csrf": good}, follow_redirects=False).status_code == 303
    assert len(site.get("/api/runs").json()["runs"]) == 1


def test_viewers_look_but_do_not_act(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in(VIEWER)
    for page in ("/", "/runs", f"/runs/{run}", f"/runs/{run}/approval", "/people?key=W0001"):
        text = site.client.get(page).text
        assert "Sync now" not in text
        forms = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"', text)
        assert forms == ["/search", "/sign-out"] or "approval" in page
        assert "Approve…" not in text
    for action in ("/runs", "/people/resync", f"/runs/{run}/approval", f"/runs/{run}/retry", "/targets/x/pause"):
        assert site.send("/", action).status_code == 403


def test_pages_hold_to_their_policy(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    for path in (*PAGES, f"/runs/{run}", f"/runs/{run}/approval", "/nothing"):
        answer = site.client.get(path)
        assert answer.status_code == (404 if path in ("/nothing", "/people?key=nobody") else 200), answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for header in ("x-content-type-options", "x-frame-options", "referrer-policy", "permissions-policy"):
            assert header in answer.headers
        assert answer.headers["cache-control"] == "no-store"
        strict = _Strict()
        strict.feed(answer.text)
        assert strict.faults == []


def test_what_rosters_hold_is_text_and_nothing_more(site: Site) -> None:
    evil = "<img src=x onerror=alert(1)>"
    site.roster.write_text(company(2, changes={0: {"first_name": evil}}))
    run = site.sync()["run"]
    site.sign_in()
    for path in (f"/runs/{run}", "/people?key=W0000", f"/people?key={evil}", f"/runs/{run}?person={evil}"):
        assert evil not in site.client.get(path).text
    assert "&lt;img src=x" in site.client.get("/people?key=W0000").text


def test_a_run_shows_what_waits_and_for_how_long_it_goes_on(site: Site) -> None:
    site.sign_in()
    run = site.held()["run"]
    page = f"/runs/{run}"
    text = site.client.get(page).text
    assert 'value="0" aria-label="tribal_habits"' in text, "what is held is not done"
    assert "held until approved" in text
    body = {"target": "tribal_habits", "all": True}
    site.client.post(f"/api/runs/{run}/approve", json=body, headers=bearer(OPERATOR))
    going = site.client.get(page).text
    assert "<dt>Took</dt><dd>–</dd>" in going
    assert "held until approved" not in going
    site.drain()
    assert "<dt>Took</dt><dd>–</dd>" not in site.client.get(page).text


def test_a_run_shows_why_its_roster_is_degraded_and_who_keeps_an_account(site: Site) -> None:
    site.sign_in()
    site.roster.write_text(company(40))
    site.sync()
    site.switchboard.seed("tribal_habits", [{"user_name": "W0003", "org_admin": True}])
    site.roster.write_text(company(40, gone=(3,)))
    kept = site.client.get(f"/runs/{site.sync()['run']}").text
    assert "1 who left keep their account" in kept
    assert "provisioner unlink W0003 tribal_habits" in site.client.get("/todos").text
    site.roster.write_text(company(20))
    document = site.sync()
    text = site.client.get(f"/runs/{document['run']}").text
    assert document["roster"]["degraded"][0] in unescape(text)
    assert f"--accept {document['roster']['digest']}" in text


def test_the_page_of_to_dos_shows_what_the_command_does(site: Site) -> None:
    """Leavers who are held, and then what somebody said no to, with who and why."""
    site.sign_in()
    run = site.held()["run"]
    text = site.client.get("/todos").text
    assert "Nothing waits for a person" not in text
    assert all(f"W000{number}" in text for number in range(5))
    body = {"target": "tribal_habits", "people": ["W0002"], "reason": "on parental leave"}
    assert site.client.post(f"/api/runs/{run}/reject", json=body, headers=bearer(OPERATOR)).status_code == 200
    text = unescape(site.client.get("/todos").text)
    assert "leave rejected by api:operator: on parental leave" in text
    assert f"provisioner reject {run} --undo --person W0002" in text
    found = site.get("/api/todos").json()
    assert [(one["person"], one["by"], one["reason"]) for one in found["rejections"]] == [
        ("W0002", "api:operator", "on parental leave")
    ]
    why = site.get("/api/people/W0002").json()
    assert why["rejections"] == found["rejections"]
    part = why["receipt"]["targets"]["tribal_habits"]
    assert (part["status"], why["receipt"]["finished_at"]) == ("rejected", None)
    assert "rejected by api:operator on " in part["message"]
    assert "on parental leave" in part["message"]
    page = unescape(site.client.get("/people?key=W0002").text)
    assert "api:operator" in page
    assert "on parental leave" in page


def test_one_person_is_synced_now(site: Site) -> None:
    site.roster.write_text(company(3))
    site.sync()
    site.sign_in()
    answer = site.client.post(
        "/people/resync",
        data={"csrf": csrf_in(site.client.get("/people?key=W0001").text), "key": "W0001"},
        follow_redirects=False,
    )
    run = answer.headers["location"].rpartition("/")[2]
    assert "About" in site.client.get(f"/runs/{run}").text
    assert site.send("/", "/people/resync", {"key": "nobody"}).status_code == 404
    assert [one["action"] for one in site.work(lambda dep: dep.audit.newest(1))] == ["run requested"]


def test_pausing_and_resuming(site: Site) -> None:
    site.sign_in()
    paused = site.send("/", "/targets/tribal_habits/pause", {"reason": "audit of the vendor"}).text
    assert "web:operator paused it" in paused
    assert "audit of the vendor" in paused
    assert site.work(lambda dep: dep.health.of("tribal_habits")).paused
    assert "paused it" not in site.send("/", "/targets/tribal_habits/resume").text
    assert site.send("/", "/targets/nowhere/pause").status_code == 404


def test_operations_are_filtered_and_searched(site: Site) -> None:
    run = site.held()["run"]
    site.sign_in()
    held = site.client.get(f"/runs/{run}?status=held").text
    assert "W0003" in held
    assert "No operation of that choice" in site.client.get(f"/runs/{run}?status=failed").text
    one = site.client.get(f"/runs/{run}?person=W0003").text.partition('id="operations"')[2]
    assert "W0003" in one
    assert "W0001" not in one


def test_rejected_rows_are_shown_and_handed_out(site: Site) -> None:
    site.roster.write_text(company(60, changes={4: {"work_email": "=cmd|x"}}))
    site.sync()
    site.sign_in()
    assert "W0004" in site.client.get("/rejected").text
    table = site.client.get("/rejected?form=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[0] == "line,key,column,value,reason"
    assert not re.search(r"(^|,)=", table.text, re.MULTILINE)


def test_a_run_is_followed(site: Site) -> None:
    site.roster.write_text(company(2))
    run = site.sync()["run"]
    site.sign_in()
    with site.client.stream("GET", f"/runs/{run}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    assert "event: part" in text
    assert text.rstrip().endswith("event: over\ndata:")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/runs?x=1", "/runs?x=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/sign-out", "/"),
        ("/a\r\nb", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_led_elsewhere(text: str, place: str) -> None:
    assert safe_place(text) == place
