"""Signing in by OpenID Connect, against a provider that is strict and one that has every fault."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog

from provisioner import logs
from provisioner.runtime.context import Deployment
from provisioner.web.auth import provider as provider_module
from provisioner.web.auth.id_token import values_of
from tests.cli.calling import call
from tests.decisions.conftest import company
from tests.support.openid_provider import CLIENT_ID, CLIENT_SECRET, Faults, OpenIdProvider
from tests.web.conftest import OPERATOR, VIEWER, Site, bearer, csrf_in

PAGE = "http://testserver"
CALLBACK = f"{PAGE}/sign-in/oidc/callback"
ROLES = {"claim": "groups", "operator": ["access-admins"], "viewer": ["staff"]}


@dataclass(frozen=True, slots=True)
class Door:
    """A page and the provider behind which people are."""

    site: Site
    provider: OpenIdProvider

    def begin(self, place: str = "/", **headers: str) -> str:
        """The address at the provider that the page leads to."""
        answer = self.site.client.get("/sign-in/oidc", params={"next": place}, headers=headers, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def at_provider(self, leads_to: str) -> str:
        """Where the provider leads back to, without the page's own host."""
        answer = httpx.get(leads_to)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"].removeprefix(PAGE)

    def come_back(self, place: str = "/") -> Any:
        """The page's answer to somebody who comes back from the provider."""
        return self.site.client.get(self.at_provider(self.begin(place)), follow_redirects=False)

    def is_out(self) -> bool:
        """Whether the page asks who comes to sign in."""
        answer = self.site.client.get("/", follow_redirects=False)
        return bool(answer.headers.get("location") == "/sign-in")

    def audit(self) -> list[tuple[str, str]]:
        """(who, what) of the audit trail, oldest first."""

        async def read(dep: Deployment) -> list[tuple[str, str]]:
            return [(entry["by"], entry["action"]) for entry in await dep.audit.newest(50)][::-1]

        return self.site.work(read)


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with OpenIdProvider() as running:
        running.redirects.add(CALLBACK)
        yield running


@pytest.fixture
def open_door(make_site: Callable[..., Site], provider: OpenIdProvider) -> Callable[..., Door]:
    def opened(roles: Mapping[str, Any] | None = None, *, token: str | None = OPERATOR, **more: Any) -> Door:
        web = {key: more.pop(key) for key in ("public_url",) if key in more}
        oidc = {
            "issuer": provider.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "roles": dict(roles or ROLES),
            **more,
        }
        own = {"token": token, "users": [{"name": "vera", "token": VIEWER}]} if token else {}
        return Door(make_site(web={**own, "oidc": oidc, **web}), provider)

    return opened


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    return open_door()


def refusal(answer: Any, status: int = 400) -> str:
    """The sentence on the sign-in page, and nobody is signed in."""
    assert answer.status_code == status, answer.text
    found = re.search(r"<p>You are not signed in\. (.*?)</p>", answer.text, re.DOTALL)
    assert found, answer.text
    return found[1]


def test_who_has_the_role_is_signed_in_by_code_and_pkce(door: Door) -> None:
    asked = parse_qs(urlsplit(door.begin()).query)
    assert asked["scope"] == ["openid"]
    assert asked["redirect_uri"] == [CALLBACK]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    answer = door.come_back("/runs?limit=5")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/runs?limit=5"
    session = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("provisioner_session="))
    assert "HttpOnly" in session
    assert "SameSite=strict" in session
    page = door.site.client.get("/")
    assert "oidc:u-4711, operator" in page.text
    assert "Ada" not in page.text
    assert door.audit() == [("web:oidc:u-4711", "signed in")]
    # They act, and it is written down as theirs
    answer = door.site.send("/", "/runs")
    assert answer.status_code == 200, answer.text
    assert ("web:oidc:u-4711", "run requested") in door.audit()


def test_the_role_comes_from_the_claim(door: Door) -> None:
    door.provider.user["groups"] = ["staff"]
    assert door.come_back().status_code == 303
    page = door.site.client.get("/")
    assert "oidc:u-4711, viewer" in page.text
    assert door.site.send("/", "/runs").status_code == 403


def test_nobody_s_role_is_a_page_that_names_the_claim_only(door: Door) -> None:
    nothing: list[Any] = [None, [], ["others", "secret-group"], "", "Staff", [7, True], {"staff": True}]
    for groups in nothing:
        door.provider.user["groups"] = groups
        answer = door.come_back()
        assert answer.status_code == 403, groups
        assert "claim groups" in answer.text
        assert "secret-group" not in answer.text
        assert "access-admins" not in answer.text
        assert door.is_out()
    assert door.audit() == []


@pytest.mark.parametrize(
    ("name", "claims", "found"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["a", "b"]}}, {"a", "b"}),
        ("https://example.com/roles", {"https://example.com/roles": "a"}, {"a"}),
        ("resource.a.b", {"resource": {"a": {"b": ("a",)}}}, {"a"}),
        ("a.b", {"a.b": "literal", "a": {"b": "nested"}}, {"literal"}),
        ("department", {"department": "Sales and more"}, {"Sales and more"}),
        ("groups", {"groups": ["a", 7, None, ["b"], {"c": "d"}]}, {"a"}),
        ("groups", {"groups": []}, set()),
        ("groups", {"groups": {"a": True}}, set()),
        ("groups.a", {"groups": ["a"]}, None),
        ("groups", {"groups": None}, None),
        ("groups", {}, None),
    ],
)
def test_claims_may_be_nested_and_texts(name: str, claims: dict[str, Any], found: set[str] | None) -> None:
    assert values_of(claims, name) == found


def test_a_claim_that_the_id_token_lacks_comes_from_the_userinfo(open_door: Callable[..., Door]) -> None:
    door = open_door(subject="employee")
    door.provider.user = {"sub": "u-1"}
    door.provider.userinfo = {"groups": ["staff"], "employee": "E17"}
    assert door.come_back().status_code == 303
    assert "oidc:E17, viewer" in door.site.client.get("/").text
    door.site.client.cookies.clear()
    door.provider.userinfo["sub"] = "somebody-else"
    assert "somebody else" in refusal(door.come_back())


FOREIGN: dict[str, dict[str, Any]] = {
    "another sign-in (nonce)": {"claims": {"nonce": "another"}},
    "(nonce)": {"claims": {"nonce": None}},
    "issuer": {"claims": {"iss": "https://elsewhere.example.com"}},
    "client": {"claims": {"aud": "another-client"}},
    "azp": {"claims": {"aud": [CLIENT_ID, "another-client"]}},
    "(azp)": {"claims": {"azp": "another-client"}},
    "claim sub": {"claims": {"sub": None}},
    "sub is empty": {"claims": {"sub": ""}},
    "claim exp": {"claims": {"exp": "soon"}},
    "claim iat": {"claims": {"iat": None}},
    "at_hash": {"claims": {"at_hash": "AAAA"}},
    "algorithm": {"algorithm": "none"},
    "is not signed by an algorithm": {"algorithm": "HS256"},
    "does not publish": {"forged": True},
    "ran out": {"clock": -3600},
    "compare the clocks": {"clock": 3600},
    "invalid_grant": {"codes_expire": True},
    "another issuer": {"authorization": {"iss": "https://elsewhere.example.com"}},
    "sent no code": {"authorization": {"code": ""}},
    "access_denied": {"authorization": {"error": "access_denied", "error_description": "ada@example.com may not"}},
    "an unknown error": {"authorization": {"error": "<script>alert(1)</script>"}},
}


def test_what_is_not_believed_signs_nobody_in(door: Door) -> None:
    for said, faults in FOREIGN.items():
        door.provider.faults = Faults(**faults)
        answer = door.come_back()
        assert said in refusal(answer), (said, refusal(answer))
        assert "ada@example.com" not in answer.text
        assert "<script>alert" not in answer.text
        assert door.is_out()
    assert door.audit() == []
    # The next try of the same person works
    door.provider.faults = Faults()
    assert door.come_back().status_code == 303


def test_clocks_may_differ_by_a_little(door: Door) -> None:
    # The token lasts five minutes
    for clock in (-390.0, 90.0):
        door.provider.faults.clock = clock
        assert door.come_back().status_code == 303


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_new_keys_are_fetched_once_and_not_too_often(door: Door, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(provider_module, "_KEYS_AGAIN", 0.0)
    assert door.come_back().status_code == 303
    door.provider.rotate(kind)
    door.provider.faults.algorithm = kind
    assert door.come_back().status_code == 303
    assert door.provider.asked.count("/keys") == 2
    # Known again by now: nobody asks, and who comes with an unknown key does not make us ask each time
    assert door.come_back().status_code == 303
    assert door.provider.asked.count("/keys") == 2
    monkeypatch.setattr(provider_module, "_KEYS_AGAIN", 3600.0)
    door.provider.faults.forged = True
    for _ in range(3):
        assert "does not publish" in refusal(door.come_back())
    assert door.provider.asked.count("/keys") == 2


def test_a_sign_in_is_for_one_browser_and_once(door: Door) -> None:
    back = door.at_provider(door.begin())
    cookies = dict(door.site.client.cookies)
    door.site.client.cookies.clear()
    # Another browser than the one in which it began
    assert "did not begin in this browser" in refusal(door.site.client.get(back, follow_redirects=False))
    door.site.client.cookies.clear()
    door.site.client.cookies.update(cookies)
    assert door.site.client.get(back, follow_redirects=False).status_code == 303
    door.site.client.cookies.clear()
    door.site.client.cookies.update(cookies)
    assert "is over already" in refusal(door.site.client.get(back, follow_redirects=False))


def test_two_windows_do_not_disturb_each_other(door: Door) -> None:
    first, second = door.at_provider(door.begin("/runs")), door.at_provider(door.begin("/people"))
    assert door.site.client.get(second, follow_redirects=False).headers["location"] == "/people"
    assert door.site.client.get(first, follow_redirects=False).headers["location"] == "/runs"


def test_a_sign_in_that_took_too_long_is_over(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    back = door.at_provider(door.begin())
    later = time.time() + 901
    monkeypatch.setattr("provisioner.web.auth.oidc.time.time", lambda: later)
    assert "took more than 15 minutes" in refusal(door.site.client.get(back, follow_redirects=False))


def test_the_cookie_of_a_sign_in_cannot_be_changed(door: Door) -> None:
    back = door.at_provider(door.begin())
    name, value = next((one.name, str(one.value)) for one in door.site.client.cookies.jar if "oidc" in one.name)
    expires, place, signature = value.split(".")
    state = parse_qs(urlsplit(back).query)["state"][0]
    other = back.replace(state, f"{state[:-1]}{'A' if state[-1] != 'A' else 'B'}")
    tries = [
        (back, ""),
        (back, f"{expires}.%2Fevil.{signature}"),
        (back, f"{int(expires) + 1}.{place}.{signature}"),
        (back, "\x7f..é"),
        (other, value),
    ]
    for address, forged in tries:
        door.site.client.cookies.clear()
        headers = [(b"Cookie", f"{name}={forged}".encode())]
        answer = door.site.client.get(address, headers=headers, follow_redirects=False)
        assert "did not begin in this browser" in refusal(answer)
    door.site.client.cookies.clear()
    for address in ("/sign-in/oidc/callback", "/sign-in/oidc/callback?state=ä&code=b"):
        assert "did not begin in this browser" in refusal(door.site.client.get(address, follow_redirects=False))


def test_it_leads_to_places_of_this_site_only(door: Door) -> None:
    elsewhere = ["https://evil.example.com", "//evil.example.com", "/\\evil.example.com", "/sign-out", "x", "/" * 2000]
    for place in elsewhere:
        assert door.come_back(place).headers["location"] == "/"


def test_the_session_is_another_than_before_and_ends_everywhere(door: Door) -> None:
    door.site.client.get("/sign-in")
    before = door.site.client.cookies["provisioner_session"]
    assert door.come_back().status_code == 303
    cookie = door.site.client.cookies["provisioner_session"]
    assert cookie != before
    answer = door.site.send("/", "/sign-out")
    assert "signed out here" in answer.text
    leads_to = re.search(r'content="0; url=([^"]+)"', answer.text)
    assert leads_to
    address = leads_to[1].replace("&amp;", "&")
    assert httpx.get(address).status_code == 303
    ended = door.provider.ended[0]
    assert ended["client_id"] == CLIENT_ID
    assert ended["id_token_hint"].count(".") == 2
    assert ended["post_logout_redirect_uri"] == f"{PAGE}/sign-in"
    # A cookie that somebody kept is worth nothing
    door.site.client.cookies.set("provisioner_session", cookie)
    assert door.is_out()


def test_signing_out_needs_no_provider(door: Door) -> None:
    assert door.come_back().status_code == 303
    door.provider.faults.document["end_session_endpoint"] = None
    provider_of(door)._offered = None
    answer = door.site.client.post(
        "/sign-out", data={"csrf": csrf_in(door.site.client.get("/").text)}, follow_redirects=False
    )
    assert answer.headers["location"] == "/sign-in"
    assert door.come_back().status_code == 303
    door.provider.stop()
    provider_of(door)._offered = None
    answer = door.site.send("/", "/sign-out")
    assert answer.status_code == 200
    assert "does not answer" in answer.text
    assert door.is_out()


def provider_of(door: Door) -> Any:
    return door.site.client.app.state.provider  # type: ignore[attr-defined]


AWAY: dict[str, Callable[[OpenIdProvider], None]] = {
    "answers with status 503": lambda one: one.faults.answers.update({"/.well-known/openid-configuration": (503, "")}),
    "something else than a JSON object": lambda one: one.faults.answers.update(
        {"/.well-known/openid-configuration": (200, "<html>")}
    ),
    "lacks token_endpoint": lambda one: one.faults.document.update(token_endpoint=None),
    "no https address": lambda one: one.faults.document.update(token_endpoint="http://example.com/token"),
    "by another issuer": lambda one: one.faults.document.update(issuer="https://elsewhere.example.com"),
    "no PKCE": lambda one: one.faults.document.update(code_challenge_methods_supported=["plain"]),
    "does not answer within": lambda one: setattr(one.faults, "delay", 1.5),
    "cannot be reached": OpenIdProvider.stop,
}


def test_a_provider_that_is_away_is_a_sentence_and_tokens_still_work(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "_DEADLINE", 0.5)
    for said, break_it in AWAY.items():
        door.provider.faults = Faults()
        break_it(door.provider)
        answer = door.site.client.get("/sign-in/oidc", follow_redirects=False)
        assert said in refusal(answer, 503)
        assert "sign in with a token" in answer.text
    door.site.sign_in()
    assert "operator" in door.site.client.get("/").text
    assert door.site.get("/api/runs", VIEWER).status_code == 200


def test_a_provider_that_goes_away_meanwhile_is_a_sentence(door: Door) -> None:
    for path in ("/token", "/keys"):
        door.provider.faults = Faults(answers={path: (500, "")})
        assert f"{path}) answers with status 500" in refusal(door.come_back(), 503)


def test_a_wrong_secret_is_said_by_the_name_of_the_setting(open_door: Callable[..., Door]) -> None:
    door = open_door(client_secret="wrong-secret-of-the-tests")
    assert "web.oidc.client_id and client_secret" in refusal(door.come_back())


def test_a_provider_that_takes_the_secret_in_the_form_only(door: Door) -> None:
    door.provider.faults.document["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    assert door.come_back().status_code == 303


def test_the_redirect_uri_is_the_browser_s(open_door: Callable[..., Door]) -> None:
    door = open_door()
    # The test client is no proxy that is trusted, so its claim counts for nothing
    asked = parse_qs(urlsplit(door.begin(**{"X-Forwarded-Proto": "https"})).query)
    assert asked["redirect_uri"] == [CALLBACK]
    door = open_door(public_url="https://provisioner.example.com/")
    asked = parse_qs(urlsplit(door.begin()).query)
    assert asked["redirect_uri"] == ["https://provisioner.example.com/sign-in/oidc/callback"]


def test_without_a_token_the_page_is_for_those_whom_the_provider_knows(open_door: Callable[..., Door]) -> None:
    door = open_door(token=None)
    assert "Your token" not in door.site.client.get("/sign-in").text
    assert door.site.client.get("/api/runs", headers=bearer("anything")).status_code == 401
    assert door.come_back().status_code == 303
    assert "oidc:u-4711, operator" in door.site.client.get("/").text


def test_other_roles_in_the_settings_end_sessions(open_door: Callable[..., Door]) -> None:
    door = open_door()
    assert door.come_back().status_code == 303
    cookie = door.site.client.cookies["provisioner_session"]
    other = open_door({**ROLES, "operator": ["others"]})
    other.site.client.cookies.set("provisioner_session", cookie)
    assert other.site.client.get("/", follow_redirects=False).status_code == 303
    same = open_door()
    same.site.client.cookies.set("provisioner_session", cookie)
    assert same.site.client.get("/", follow_redirects=False).status_code == 200


def test_who_is_led_here_by_another_site_is_led_on_with_the_session(door: Door) -> None:
    assert door.come_back("/people").status_code == 303
    cookies = dict(door.site.client.cookies)
    # The browser keeps a strict cookie back for as long as another site leads
    door.site.client.cookies.clear()
    answer = door.site.client.get("/people", headers={"Sec-Fetch-Site": "cross-site"})
    assert 'content="0; url=/sign-in?next=%2Fpeople"' in answer.text
    assert "set-cookie" not in answer.headers
    door.site.client.cookies.update(cookies)
    answer = door.site.client.get("/sign-in?next=%2Fpeople", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.url.path == "/people"


def test_check_asks_the_provider_only_when_it_may_connect(door: Door, tmp_path: Path) -> None:
    config = tmp_path / "provisioner.yaml"
    door.site.roster.write_text(company(3))

    def said(*words: str) -> list[tuple[str, str]]:
        done = call("check", "--json", *words, PROVISIONER_CONFIG=str(config))
        checks = json.loads(done.out)["checks"]
        return [(one["verdict"], one["message"]) for one in checks if one["subject"] == "sign-in"]

    assert said() == []
    assert door.provider.asked == []
    assert said("--connect") == [("ok", f"{door.provider.url[7:]} answers and publishes 1 key.")]
    door.provider.stop()
    [(verdict, message)] = said("--connect")
    assert verdict == "warn"
    assert "cannot be reached" in message
    assert CLIENT_SECRET not in message


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("debug", json=True)
    yield written.getvalue
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_no_secret_code_or_name_is_logged(door: Door, logged: Callable[[], str]) -> None:
    back = door.at_provider(door.begin())
    parts = parse_qs(urlsplit(back).query)
    assert door.site.client.get(back, follow_redirects=False).status_code == 303
    token = door.site.client.cookies["provisioner_session"]
    door.provider.faults.claims = {"nonce": "another"}
    refusal(door.come_back())
    door.provider.faults.claims = {"groups": ["secret-group"]}
    assert door.come_back().status_code == 403
    door.site.send("/", "/sign-out")
    text = logged()
    assert "sign_in_failed" in text
    for secret in (CLIENT_SECRET, parts["code"][0], parts["state"][0], "Ada", "an-access-token", "secret-group", token):
        assert secret not in text, secret
