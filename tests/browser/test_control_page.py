"""What an operator does with the control page, seen at the vendor's side; in this order, on one deployment."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.screenshots import sign_in
from tests.browser.site import VIEWER, LiveSite, until
from tests.decisions.conftest import company

PEOPLE = 40


def active(site: LiveSite) -> set[str]:
    return {one["user_name"] for one in site.switchboard.accounts("tribal_habits") if one["active"]}


def test_a_wrong_token_is_told_and_a_right_one_opens(page: Page, site: LiveSite) -> None:
    page.goto(f"{site.url}/runs")
    page.get_by_label("Your token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("opens nothing here")
    sign_in(page, site)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_run_is_watched_while_it_goes_on(page: Page, site: LiveSite) -> None:
    site.roster.write_text(company(PEOPLE))
    site.switchboard.fault("tribal_habits", match={"method": "POST"}, times=None, delay_ms=1500, after="answer")
    sign_in(page, site)
    page.get_by_role("button", name="Sync now").click()
    page.wait_for_url("**/runs/*")
    loads: list[str] = []
    page.on("load", lambda _: loads.append("load"))
    bar = page.get_by_role("progressbar", name="tribal_habits")
    seen: set[int] = set()

    def over() -> bool:
        if page.get_by_role("status").inner_text() != "running":
            return True
        if not loads and bar.count():
            seen.add(int(bar.get_attribute("value") or 0))
        return False

    until(over, "the run is over")
    assert any(0 < percent < 100 for percent in seen), f"progress was not seen: {seen}"
    expect(page.get_by_role("status")).to_have_text("succeeded")
    site.switchboard.clear_faults("tribal_habits")
    assert active(site) == {f"W{number:04d}" for number in range(PEOPLE)}


def test_three_of_five_held_leavers_are_approved(page: Page, site: LiveSite) -> None:
    site.roster.write_text(company(PEOPLE, gone=(0, 1, 2, 3, 4)))
    run = site.sync()
    assert run["targets"]["tribal_habits"]["held"] == {"leave": 5}
    assert len(active(site)) == PEOPLE
    sign_in(page, site)
    page.get_by_role("link", name="5, decide").click()
    expect(page.get_by_text("5 leavers are more than the limit of 4")).to_be_visible()
    for person in ("W0001", "W0002", "W0004"):
        page.get_by_role("checkbox", name=f"Choose {person}").check()
    expect(page.get_by_text("3 chosen")).to_be_visible()
    page.get_by_label("Reason").fill("HR confirmed these three")
    page.get_by_role("button", name="Approve the ticked…").click()
    expect(page.get_by_role("heading", name="Approve 3 operations of 3 people?")).to_be_visible()
    assert len(active(site)) == PEOPLE
    page.get_by_role("button", name="Yes, approve 3").click()
    expect(page.get_by_role("heading", name="Approved: 3 operations")).to_be_visible()
    kept = {f"W{number:04d}" for number in (0, 3, *range(5, PEOPLE))}
    until(lambda: active(site) == kept, "three leavers are gone")
    page.get_by_role("link", name="What is still held").click()
    expect(page.locator("input[name=who]")).to_have_count(2)
    page.goto(f"{site.url}/audit")
    row = page.get_by_role("row").filter(has_text="HR confirmed these three")
    expect(row).to_contain_text("web:operator")


def test_one_person_is_synced_now(page: Page, site: LiveSite) -> None:
    changed = {7: {"last_name": "Renamed"}}
    site.roster.write_text(company(PEOPLE, gone=(0, 1, 2, 3, 4), changes=changed))
    sign_in(page, site)
    page.goto(f"{site.url}/people?key=W0007")
    page.get_by_role("button", name="Resync now").click()
    expect(page.get_by_role("status")).to_have_text("succeeded", timeout=30_000)

    def renamed() -> bool:
        return any(one["last_name"] == "Renamed" for one in site.switchboard.accounts("tribal_habits"))

    until(renamed, "the name is the new one")
    page.goto(f"{site.url}/people?key=W0007")
    expect(page.get_by_role("listitem").filter(has_text="tribal_habits: update").first).to_contain_text("Renamed")


def test_what_is_held_is_filtered_and_chosen_as_it_is_shown(page: Page, site: LiveSite) -> None:
    sign_in(page, site)
    held = next(one["run"] for one in site.api("GET", "/api/runs")["runs"] if one["targets"]["tribal_habits"]["held"])
    page.goto(f"{site.url}/runs/{held}/approval")
    page.get_by_label("Person, account or value").fill("w0003")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="1 person, 1 operation by this filter")).to_be_visible()
    assert "w0003" not in page.url.lower()
    page.get_by_role("button", name="Approve these: 1 person…").click()
    expect(page.get_by_role("heading", name="Approve 1 operation of 1 person?")).to_be_visible()
    page.get_by_role("link", name="No, go back").click()
    expect(page.locator("input[name=who]")).to_have_count(2)


def test_a_run_is_undone_from_its_page(page: Page, site: LiveSite) -> None:
    sign_in(page, site)
    run = site.api("GET", "/api/runs?limit=1")["runs"][0]["run"]
    page.goto(f"{site.url}/runs/{run}")
    page.get_by_role("link", name="What an undo would do").click()
    expect(page.get_by_role("row").filter(has_text="W0007")).to_contain_text("Renamed")
    page.get_by_role("button", name="Compare with the targets now").click()
    expect(page.get_by_role("heading", name="Compared with the targets just now")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Undo this run: 1 account").click()
    expect(page.get_by_role("status")).to_have_text("succeeded", timeout=30_000)
    expect(page.get_by_text("It takes back")).to_be_visible()
    assert not any(one["last_name"] == "Renamed" for one in site.switchboard.accounts("tribal_habits"))


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1366, "dark")])
def test_every_page_can_be_used_by_everybody(browser: Browser, site: LiveSite, scheme: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto(f"{site.url}/sign-in")
    _no_findings(page)
    sign_in(page, site)
    run = site.api("GET", "/api/runs?limit=5")["runs"][-1]["run"]
    held = next(one["run"] for one in site.api("GET", "/api/runs")["runs"] if one["targets"]["tribal_habits"]["held"])
    of_runs = (f"/runs/{run}", f"/runs/{held}/approval", f"/runs/{run}/undo")
    played = "/playground?key=W0007&target=tribal_habits&attribute=last_name"
    lists = ("/todos", "/drift", "/orphans", "/rejected", "/roster", "/settings", "/audit", "/nothing")
    for place in ("/", "/runs", *of_runs, "/targets", "/trends", played, "/people?key=W0007", "/people", *lists):
        page.goto(f"{site.url}{place}")
        _no_findings(page)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{place} is too wide"
    context.close()


def _no_findings(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    faults = [
        f"{page.url} {one['id']}: {node['target']} {node['failureSummary']}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]
    assert faults == []


def test_a_sign_in_and_an_approval_by_keyboard_alone(page: Page, site: LiveSite) -> None:
    page.goto(f"{site.url}/sign-in")
    page.keyboard.type("operator-token-0123456789")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    held = next(one["run"] for one in site.api("GET", "/api/runs")["runs"] if one["targets"]["tribal_habits"]["held"])
    page.goto(f"{site.url}/runs/{held}/approval")
    box = page.locator("input[name=who]").first
    for _ in range(40):
        page.keyboard.press("Tab")
        if box.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Space")
    expect(box).to_be_checked()


def test_a_viewer_sees_no_way_to_act(page: Page, site: LiveSite) -> None:
    sign_in(page, site, VIEWER)
    expect(page.get_by_text(re.compile("vera, viewer"))).to_be_visible()
    assert page.get_by_role("button").all_inner_texts() == ["Find", "Sign out"]


def test_without_javascript_everything_works(browser: Browser, site: LiveSite) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, site)
    page.get_by_role("button", name="Sync now").click()
    page.wait_for_url("**/runs/*")
    site.wait_for(page.url.rpartition("/")[2])
    page.reload()
    expect(page.get_by_role("status")).not_to_have_text("running")
    context.close()
