"""Signing in by a real OpenID provider on another site, and out again, with a real browser and its cookies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.site import LiveSite, live_site
from tests.foreign.openid import PASSWORD, canaille
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    # The page is at 127.0.0.1 and the provider at localhost: for a browser, other sites
    with canaille(f"http://127.0.0.1:{port}", folder / "canaille.log") as provider:
        web = {"oidc": provider.settings()}
        with live_site(folder, only=("tribal_habits",), port=port, web=web) as live:
            yield live


def at_provider(page: Page, name: str) -> None:
    """Name and password, as the provider asks for them."""
    page.locator("input[name=login]").fill(name)
    page.keyboard.press("Enter")
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")


def test_an_operator_signs_in_acts_and_signs_out(page: Page, site: LiveSite) -> None:
    page.goto(f"{site.url}/runs")
    faults = Axe().run(page).response["violations"]
    assert faults == [], [(one["id"], one["help"]) for one in faults]
    page.get_by_role("link", name="Sign in by localhost").click()
    at_provider(page, "ada")
    # The page that was asked for, by a cookie that no other site sends
    page.wait_for_url(f"{site.url}/runs")
    expect(page.get_by_text("oidc:ada, operator")).to_be_visible()
    cookie = next(one for one in page.context.cookies(site.url) if one["name"] == "provisioner_session")
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Strict", True)
    assert not [one for one in page.context.cookies(f"{site.url}/sign-in/oidc") if "oidc" in one["name"]]
    # A link from elsewhere finds them signed in
    page.goto("about:blank")
    page.set_content(f'<a href="{site.url}/people">people</a>')
    page.get_by_role("link", name="people").click()
    page.wait_for_url(f"{site.url}/people")
    expect(page.get_by_text("oidc:ada, operator")).to_be_visible()
    page.goto(site.url)
    page.get_by_role("button", name="Sync now").click()
    page.wait_for_url("**/runs/*")
    page.goto(f"{site.url}/audit")
    expect(page.get_by_role("row").filter(has_text="run requested")).to_contain_text("web:oidc:ada")
    page.get_by_role("button", name="Sign out").click()
    # By the provider and back: both sessions are over
    page.wait_for_url(f"{site.url}/sign-in*")
    page.get_by_role("link", name="Sign in by localhost").click()
    expect(page.locator("input[name=login]")).to_be_visible()


def test_a_viewer_may_look_only(page: Page, site: LiveSite) -> None:
    page.goto(site.url)
    page.get_by_role("link", name="Sign in by localhost").click()
    at_provider(page, "vera")
    page.wait_for_url(f"{site.url}/")
    expect(page.get_by_text("oidc:vera, viewer")).to_be_visible()
    expect(page.get_by_role("button", name="Sync now")).to_have_count(0)


def test_who_has_no_role_reads_why_without_a_word_of_their_groups(page: Page, site: LiveSite) -> None:
    page.goto(site.url)
    page.get_by_role("link", name="Sign in by localhost").click()
    at_provider(page, "nora")
    expect(page.get_by_role("alert")).to_contain_text("no value of its claim groups gives a role")
    expect(page.locator("body")).not_to_contain_text("visitors")
    faults = Axe().run(page).response["violations"]
    assert faults == [], [(one["id"], one["help"]) for one in faults]
