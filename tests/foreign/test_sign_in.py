"""Signing in by Canaille, a real OpenID provider, as a browser would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from tests.foreign.openid import PASSWORD, Canaille, canaille
from tests.web.conftest import OPERATOR, Site, make_site, sandbox

__all__ = ["make_site", "sandbox"]

PAGE = "http://testserver"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaille]:
    with canaille(PAGE, tmp_path_factory.mktemp("canaille") / "log") as running:
        yield running


class Visitor:
    """Somebody with a browser at the provider."""

    def __init__(self) -> None:
        self.browser = httpx.Client(timeout=30)
        self.at = ""

    def go(self, address: str, form: dict[str, str] | None = None) -> str:
        """Follow redirects until a page is there, or one leads to another host; where that is."""
        method = "GET" if form is None else "POST"
        while address.startswith("http://localhost:"):
            answer = self.browser.request(method, address, data=form)
            self.at, method, form = str(answer.url), "GET", None
            if not answer.is_redirect:
                assert answer.status_code == 200, answer.text
                return answer.text
            address = urljoin(address, answer.headers["location"])
        return address

    def sign_in(self, address: str, name: str) -> str:
        """Name and password; where the provider leads afterwards."""
        page = self.go(address)
        page = self.go(self.at, {"csrf_token": _csrf(page), "login": name})
        return self.go(self.at, {"csrf_token": _csrf(page), "password": PASSWORD})


def _csrf(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found, page
    return found[1]


def come_in(site: Site, name: str) -> Any:
    """The page's answer to somebody who signed in at the provider."""
    leads_to = site.client.get("/sign-in/oidc", follow_redirects=False).headers["location"]
    back = Visitor().sign_in(leads_to, name)
    assert back.startswith(f"{PAGE}/sign-in/oidc/callback?"), back
    return site.client.get(back.removeprefix(PAGE), follow_redirects=False)


def test_roles_come_from_its_groups(make_site: Any, provider: Canaille) -> None:
    site = make_site(web={"token": OPERATOR, "oidc": provider.settings()})
    for name, role in (("ada", "operator"), ("vera", "viewer")):
        site.client.cookies.clear()
        answer = come_in(site, name)
        assert answer.status_code == 303, answer.text
        assert f"oidc:{name}, {role}" in site.client.get("/").text
        assert "Byron" not in site.client.get("/").text
    site.client.cookies.clear()
    answer = come_in(site, "nora")
    assert answer.status_code == 403
    assert "claim groups" in answer.text
    assert "visitors" not in answer.text


def test_who_signs_out_is_out_there_as_well(make_site: Any, provider: Canaille) -> None:
    site = make_site(web={"oidc": provider.settings()})
    visitor = Visitor()
    leads_to = site.client.get("/sign-in/oidc", follow_redirects=False).headers["location"]
    back = visitor.sign_in(leads_to, "ada")
    assert site.client.get(back.removeprefix(PAGE), follow_redirects=False).status_code == 303
    # The provider knows them by now, and asks nothing
    again = site.client.get("/sign-in/oidc", follow_redirects=False).headers["location"]
    assert visitor.go(again).startswith(f"{PAGE}/sign-in/oidc/callback?")
    page = site.send("/", "/sign-out").text
    found = re.search(r'content="0; url=([^"]+)"', page)
    assert found, page
    assert visitor.go(found[1].replace("&amp;", "&")).startswith(f"{PAGE}/sign-in")
    again = site.client.get("/sign-in/oidc", follow_redirects=False).headers["location"]
    assert "password" in visitor.go(again).lower() or "login" in visitor.at


def test_a_code_is_good_for_one_sign_in(make_site: Any, provider: Canaille) -> None:
    site = make_site(web={"token": OPERATOR, "oidc": provider.settings()})
    leads_to = site.client.get("/sign-in/oidc", follow_redirects=False).headers["location"]
    first = Visitor().sign_in(leads_to, "vera")
    assert site.client.get(first.removeprefix(PAGE), follow_redirects=False).status_code == 303
    site.client.cookies.clear()
    # The same code in another sign-in, as somebody who saw it would try
    leads_to = site.client.get("/sign-in/oidc", follow_redirects=False).headers["location"]
    state = re.search(r"[?&]state=([^&]+)", leads_to)
    assert state
    stolen = re.sub(r"state=[^&]+", f"state={state[1]}", first.removeprefix(PAGE))
    answer = site.client.get(stolen, follow_redirects=False)
    assert answer.status_code == 400, answer.text
    assert "invalid_grant" in answer.text
