"""Secrets and personal data, placed wherever there is room for them, are in no log line, figure or error."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from provisioner import logs
from provisioner.progress.notifications import send_waiting
from tests.decisions.conftest import company
from tests.web.conftest import Site, bearer, csrf_in

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

#: In every secret, email and name of this test.
CANARY = "kanarienvogel"
EMAIL = f"{CANARY}@example.com"
TOKEN = f"{CANARY}-operator-token"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """What was logged, everything of it, in the form of a service."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure("debug", json=True)
    yield written.getvalue
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_canaries(make_site: Callable[..., Site], logged: Callable[[], str]) -> None:
    site = make_site(
        web={"token": TOKEN, "users": [{"name": "vera", "token": f"{CANARY}-viewer", "role": "viewer"}]},
        notify={"urls": [f"json://{CANARY}:{CANARY}@127.0.0.1:9/{CANARY}"]},
    )
    row = {"work_email": EMAIL, "first_name": CANARY, "last_name": CANARY}
    answers: list[str] = []
    site.roster.write_text(company(60, changes={3: row, 4: {"work_email": f"{CANARY} is no email"}}))
    echo = {"errors": [f"{EMAIL} is taken"], "message": EMAIL}
    site.switchboard.fault("tribal_habits", match={"method": "POST"}, times=1, status=422, body=echo)
    site.switchboard.fault("tribal_habits", match={"method": "POST"}, times=1, status=500, body=echo)
    site.sync()
    site.switchboard.clear_faults("tribal_habits")
    site.switchboard.fault("tribal_habits", times=None, status=401, body=echo)
    site.sync()
    site.work(send_waiting)
    for token in (TOKEN, f"{CANARY}-guess", None):
        for path in ("/metrics", "/api/nothing", "/api/runs?limit=x", f"/api/runs/{CANARY}?email={EMAIL}"):
            text = site.client.get(path, headers=bearer(token)).text
            # What was asked for may be named to who asked
            answers.append(text.replace(f"no run '{CANARY}'", ""))
    body = {"people": [EMAIL], "reason": 3, "all": CANARY}
    answers.append(site.client.post("/api/runs", json=body, headers=bearer(TOKEN)).text)
    answers.append(site.client.post("/api/runs", content=EMAIL, headers=bearer(TOKEN)).text)
    answers.append(site.client.post(f"/webhooks/tribal_habits/{CANARY}", json=row).text)
    form = site.client.get("/sign-in").text
    refused = site.client.post("/sign-in", data={"csrf": csrf_in(form), "token": f"{CANARY}-wrong"})
    assert refused.status_code in (401, 429)
    answers.append(refused.text)
    said = logged()
    assert '"event": "planned"' in said
    for text in (*answers, said):
        assert CANARY not in text, text[max(0, text.find(CANARY) - 300) : text.find(CANARY) + 100]


def test_the_settings_page_hides_secrets(make_site: Callable[..., Site]) -> None:
    site = make_site(
        web={"token": TOKEN, "users": [{"name": "vera", "token": f"{CANARY}-viewer", "role": "viewer"}]},
        notify={"urls": [f"json://user:{CANARY}@127.0.0.1:9/"]},
        writeback={"url": f"s3://{CANARY}:{CANARY}@bucket/table.csv?secret={CANARY}"},
    )
    site.sign_in(TOKEN)
    text = site.client.get("/settings").text
    assert CANARY not in text
    assert "s3://bucket/table.csv?…" in text
    assert "(hidden)" in text
