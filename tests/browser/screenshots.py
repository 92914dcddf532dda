"""Writes every page at phone and desktop width, dark and light: `python -m tests.browser.screenshots FOLDER`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from provisioner.example import DAY_TWO, ROSTER, content, existing_accounts
from tests.browser.site import CHROMIUM, FLAGS, TOKEN, LiveSite, live_site
from tests.support.redis_contents import RedisContents

WIDTHS: Final = {"phone": (390, 844), "desktop": (1366, 900)}
TARGETS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
READING: Final = {"label": "first_name || ' ' || last_name"}


def prepare(site: LiveSite) -> dict[str, str]:
    """A site on which something happened; page addresses by name."""
    for kind, accounts in existing_accounts().items():
        site.switchboard.seed(kind, accounts)
    site.roster.write_bytes(content(ROSTER))
    site.sync()
    site.roster.write_text(_worse(content(DAY_TWO).decode()), encoding="utf-8")
    refused = {"match": {"method": "POST"}, "times": 2, "status": 422, "body": {"errors": ["username is taken"]}}
    site.switchboard.fault("habitate", **refused)
    site.switchboard.fault("mtribes", match={"method": "POST"}, times=None, status=401, body={"error": "unauthorized"})
    run = site.sync()["run"]
    _remember_earlier_days(site.redis_url)
    return {
        "sign-in": "/sign-in",
        "overview": "/",
        "runs": "/runs",
        "run": f"/runs/{run}",
        "approval": f"/runs/{run}/approval",
        "undo": f"/runs/{run}/undo",
        "targets": "/targets",
        "trends": "/trends",
        "playground": "/playground?key=W10136&target=tribal_habits&attribute=role_1",
        "person": "/people?key=W10136",
        "people": "/people",
        "nobody": "/people?key=nobody",
        "todos": "/todos",
        "drift": "/drift",
        "orphans": "/orphans",
        "rejected": "/rejected",
        "inbound": "/inbound",
        "roster": "/roster",
        "settings": "/settings",
        "audit": "/audit",
        "missing": "/nothing-here",
    }


def _worse(text: str) -> str:
    """Six more people leave, so that the guard holds."""
    lines = text.splitlines()
    left = 0
    for number, line in enumerate(lines[1:], 1):
        if ",active," in line and left < 6 and number > 20:
            lines[number], left = line.replace(",active,", ",left,"), left + 1
    return "\n".join(lines) + "\n"


def _remember_earlier_days(redis_url: str) -> None:
    """Changes of earlier days, as the queue would have counted them."""
    today = int(time.time() // 86_400)
    contents = RedisContents(redis_url)
    for back in range(1, 90):
        done, failed = (37 * back) % 211 + 60, (back % 4 == 0) * (17 + back)
        contents.count_ended(today - back, {"4|update|succeeded": done, "4|update|failed": failed})


def sign_in(page: Page, site: LiveSite, token: str = TOKEN) -> None:
    """As a person does."""
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("Your token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()


def main(folder: Path) -> None:
    """Write them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, live_site(Path(temporary), only=TARGETS, reading=READING) as site:
        places = prepare(site)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            for width, (x, y) in WIDTHS.items():
                for scheme in ("light", "dark"):
                    context = browser.new_context(viewport={"width": x, "height": y}, color_scheme=scheme)
                    page = context.new_page()
                    page.goto(f"{site.url}/sign-in")
                    page.screenshot(path=folder / f"sign-in-{width}-{scheme}.png", full_page=True)
                    sign_in(page, site)
                    for name, place in places.items():
                        if name == "sign-in":
                            continue
                        page.goto(f"{site.url}{place}")
                        page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
                    page.goto(f"{site.url}{places['approval']}")
                    for box in page.locator("input[name=who]").all()[:3]:
                        box.check()
                    page.get_by_label("Reason").fill("HR confirmed these by phone")
                    page.get_by_role("button", name="Approve the ticked…").click()
                    page.screenshot(path=folder / f"confirm-{width}-{scheme}.png", full_page=True)
                    context.close()
            browser.close()
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
