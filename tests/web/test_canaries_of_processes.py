"""Secrets and personal data in every setting and row, and the processes at work: none in their logs, none in Redis but
where people's data has its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from provisioner.example import ROSTER, content
from tests.browser.site import TOKEN, VIEWER, LiveSite, live_site
from tests.cli.calling import call
from tests.support.redis_contents import RedisContents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")]

#: In every name and address of a person, and in every secret.
PERSONAL: Final = "kanarienvogel"
SECRET: Final = "goldammer"
TARGETS: Final = {
    "tribal_habits": {"api_key": f"{SECRET}-habits", "webhook_secret": f"{SECRET}-habits-hook"},
    "habitate": {"api_key": f"{SECRET}-habitate", "webhook_secret": f"{SECRET}-habitate-hook"},
    "traitly": {"token": f"{SECRET}-traitly", "webhook_secret": f"{SECRET}-traitly-hook"},
    "mtribes": {"access_token": f"{SECRET}-mtribes", "webhook_secret": f"{SECRET}-mtribes-hook"},
}


def roster(*, gone: bool = False) -> str:
    """The example's roster with canaries for names and addresses."""
    lines = content(ROSTER).decode().splitlines()
    header = lines[0].split(",")
    mail, manager = header.index("work_email"), header.index("manager_email")
    first, last, state = header.index("first_name"), header.index("last_name"), header.index("employment_status")
    written = [lines[0]]
    for number, line in enumerate(lines[1:20]):
        cells = re.sub(r'"[^"]*"', "Sydney", line).split(",")
        cells[first], cells[last] = f"{PERSONAL}first{number}", f"{PERSONAL}last{number}"
        cells[mail], cells[manager] = f"{PERSONAL}{number}@example.com", f"{PERSONAL}0@example.com"
        cells[state] = "left" if gone and number in (3, 4) else cells[state]
        written.append(",".join(cells))
    written.append(written[-1].replace(f"{PERSONAL}18@example.com", f"{PERSONAL} is no address").replace("W", "X", 1))
    return "\n".join(written) + "\n"


def told(site: LiveSite, path: str, token: str | None, body: bytes | None = None) -> str:
    """What the web server answers, error pages as well."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(f"{site.url}{path}", body, headers), timeout=30) as answer:  # noqa: S310
            return str(answer.read().decode())
    except HTTPError as exc:
        return exc.read().decode()


def kept(redis_url: str) -> Iterator[tuple[str, bytes]]:
    """Every key of Redis with all that lies there."""
    for name, value in RedisContents(redis_url).values().items():
        yield name, value if isinstance(value, bytes) else repr(value).encode()


def test_none_in_any_log_nor_in_redis_but_where_it_belongs(tmp_path: Path) -> None:
    with live_site(
        tmp_path,
        only=tuple(TARGETS),
        targets=TARGETS,
        password=f"{SECRET}-redis",
        variables={"PROVISIONER_DEBUG": "1"},
        notify={"urls": [f"json://{SECRET}:{SECRET}@127.0.0.1:9/{SECRET}"]},
        writeback={"url": str(tmp_path / "table.csv"), "columns": {}},
    ) as site:
        board = site.switchboard
        for name, secrets in TARGETS.items():
            board.options(name, api_key=next(iter(secrets.values())))
        echo = {"errors": [f"{PERSONAL}1@example.com is taken"], "message": f"{PERSONAL}first1, {SECRET}-habits"}
        for name in TARGETS:
            board.fault(name, match={"method": "POST"}, times=2, status=422, body=echo)
            board.fault(name, match={"method": "POST"}, times=1, status=500, body=echo)
        site.roster.write_text(roster(), encoding="utf-8")
        site.sync()
        site.roster.write_text(roster(gone=True), encoding="utf-8")
        run = site.sync()["run"]
        variables = {"PROVISIONER_CONFIG": str(site.config), "PROVISIONER_DEBUG": "1"}
        answers = [
            call(*words, **variables)
            for words in (
                ("check", "--connect"),
                ("runs",),
                ("show", run, "--operations"),
                ("plan",),
                ("why", "W10101"),
                ("why", f"{PERSONAL}0@example.com"),
                ("drift",),
                ("todos",),
                ("orphans",),
                ("audit",),
                ("export", str(tmp_path / "again.csv")),
                ("sync", "--target", "traitly", "--roster", f"https://{SECRET}:{SECRET}@127.0.0.1:9/people.csv"),
            )
        ]
        hook = {"event": "x", "email": f"{PERSONAL}0@example.com"}
        pages = [
            told(site, path, token, body)
            for token in (TOKEN, VIEWER, SECRET, None)
            for path, body in (
                ("/metrics", None),
                ("/readyz", None),
                (f"/api/nothing?email={PERSONAL}@example.com", None),
                ("/api/runs", f'{{"people": 3, "reason": "{PERSONAL}"}}'.encode()),
                (f"/webhooks/traitly/{SECRET}", repr(hook).encode()),
                (f"/webhooks/traitly/{SECRET}-traitly-hook", f'["{PERSONAL}"'.encode()),
            )
        ]
        entries = list(kept(site.redis_url))
    logs = {name: (tmp_path / f"{name}.log").read_text(encoding="utf-8") for name in ("worker", "beat", "web")}
    assert "planned" in logs["worker"]
    for name, text in logs.items():
        spare(f"the log of {name}", text)
    for answer in answers:
        # Results may name people to who asks for them, but no secret; what is said besides, neither
        assert SECRET not in answer.out
        spare("standard error", answer.err.replace(f"{PERSONAL}0@example.com", "", 1))
    for page in pages:
        spare("an answer", page)
    assert len(entries) > 100
    for key, value in entries:
        spare("the name of a key", key)
        # A run has to keep the address of a roster of its own, and nobody is shown that
        assert SECRET.encode() not in re.sub(rb"b'request': b'[^']*'", b"", value), (key, value[:3000])
        if not RedisContents.is_about_people(key):
            assert PERSONAL.encode() not in value, (key, value[:2000])
    met = {key for key, value in entries if PERSONAL.encode() in value}
    assert any(RedisContents.is_ledger(key) for key in met)


def spare(where: str, text: str) -> None:
    """Nothing of it stands there."""
    for canary in (SECRET, PERSONAL):
        place = text.find(canary)
        assert place < 0, f"{where}: {text[max(0, place - 400) : place + 100]}"
