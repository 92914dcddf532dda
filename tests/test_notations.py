"""What is written in one notation and read at several doors is read alike at each: one table, all doors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from provisioner.errors import ConfigurationError, RosterError
from provisioner.model.attributes import InvalidValueError, Type, canonical
from provisioner.progress.writeback import _store
from provisioner.roster import fetch
from provisioner.roster.days import read_days
from provisioner.runtime.context import routes_of
from provisioner.settings import RosterSettings, parse_duration
from provisioner.settings.place import is_loopback, path_of, scheme_of, shown
from provisioner.targets.registry import make
from tests.cli.calling import call, write_settings
from tests.support.harness import load_settings, settings_document

DURATIONS = ["90s", "30m", "1h", "1h30m", "1.5m", "0", "0s", " 5S ", "", "10", "soon", "-1s", "1 parsec", "1h x"]


@pytest.mark.parametrize("text", DURATIONS)
@pytest.mark.parametrize("command", [("sync",), ("approve", "r1", "--all"), ("retry", "r1")])
def test_a_timeout_is_a_duration_of_the_settings(text: str, command: tuple[str, ...], tmp_path: Path) -> None:
    variables = {"PROVISIONER_CONFIG": str(write_settings(tmp_path)), "PROVISIONER_REDIS_URL": "redis://127.0.0.1:9/0"}
    answer = call(*command, "--wait", f"--timeout={text}", **variables)
    sentence = _refusal(text)
    if sentence:
        assert answer.code == 2
        assert f"--timeout: {sentence}" in " ".join(answer.err.split())
    else:
        # Redis does not answer, which is found out only afterwards
        assert answer.code == 1, answer.err


def _refusal(text: str) -> str | None:
    try:
        parse_duration(text)
    except ValueError as exc:
        return str(exc)
    return None


DATES = {
    "2026-01-31": date(2026, 1, 31),
    "2026-1-5": date(2026, 1, 5),
    "2026/01/31": date(2026, 1, 31),
    "20260131": date(2026, 1, 31),
    " 2026-01-31 ": date(2026, 1, 31),
    "2026-01-31T09:30": date(2026, 1, 31),
    "2026-01-31 09:30:15.250": date(2026, 1, 31),
    "2026-01-31T23:30:00+10:00": date(2026, 1, 31),
    "2026-01-31T23:30:00Z": date(2026, 1, 31),
    "2026-02-30": None,
    "2026-13-01": None,
    "2026-W05-6": None,
    "2026-031": None,
    "2026-01-31 or so": None,
    "2026-01-31Tea": None,
    "31/01/2026": None,
    "26-01-31": None,
    "٢٠٢٦-٠١-٣١": None,
    "2026-01/31": None,
    "soon": None,
}


@pytest.mark.parametrize(("text", "day"), DATES.items())
def test_a_date_of_the_roster_and_of_an_account(text: str, day: Any) -> None:
    read = read_days(pl.DataFrame({"day": [text]}), "day", ("iso",), ZoneInfo("UTC")).days.item()
    assert read == day
    if day is not None:
        assert canonical(text, Type.DATE) == day.isoformat()
    else:
        with pytest.raises(InvalidValueError, match="is no date"):
            canonical(text, Type.DATE)


HOSTS = {
    "localhost": True,
    "vendor.localhost": True,
    "127.0.0.1": True,
    "[::1]": True,
    "example.com": False,
    "localhost.example.com": False,
    "10.0.0.1": False,
    "127.0.0.1.example.com": False,
}


@pytest.mark.parametrize(("host", "ours"), HOSTS.items())
def test_plain_http_is_taken_on_this_machine_only(host: str, ours: bool, tmp_path: Path) -> None:
    """By a target, a roster and an outgoing webhook alike."""
    assert is_loopback(host.strip("[]")) == ours
    url = f"http://{host}:9"

    def settings(**changes: Any) -> Any:
        document = settings_document("http://127.0.0.1:9", "redis://127.0.0.1:9/0", tmp_path / "r.csv", tmp_path)
        document["targets"] = {"traitly": document["targets"]["traitly"]} | changes.pop("targets", {})
        return load_settings(tmp_path, {**document, **changes})

    body = {"kind": "traitly", "token": "t", "match": ["customer_id"], "attributes": {"customer_id": "employee_id"}}
    taken = {
        "target": _taken(lambda: settings(targets={"other": {**body, "base_url": url}})),
        "roster": _taken(lambda: fetch(RosterSettings(url=f"{url}/people.csv"))),
    }
    routed = settings(events=[{"on": "traitly.goal", "to": f"{url}/hook", "secret": "s" * 32}])
    targets = {name: make(name, one) for name, one in routed.targets.items()}
    taken["route"] = _taken(lambda: routes_of(routed, targets))
    assert taken == dict.fromkeys(taken, ours)


def _taken(what: Callable[[], object]) -> bool:
    """Whether an address is taken; that nobody listens there is another matter."""
    try:
        what()
    except RosterError:
        return True
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize("form", ["{path}", "file://{path}", "FILE://{path}", "file://{quoted}"])
def test_a_file_is_written_and_read_by_the_same_address(form: str, tmp_path: Path) -> None:
    place = tmp_path / "back of HR.csv"
    address = form.format(path=place, quoted=str(place).replace(" ", "%20"))
    assert _store(address, b"employee_id\nE1\n", "writeback.url")
    assert place.read_bytes() == b"employee_id\nE1\n"
    assert fetch(RosterSettings(url=address)).content == b"employee_id\nE1\n"


@pytest.mark.parametrize(
    ("address", "scheme", "path", "seen"),
    [
        ("data/people.csv", "file", "data/people.csv", "data/people.csv"),
        ("/data/50%20.csv", "file", "/data/50%20.csv", "/data/50%20.csv"),
        ("file:///data/a%20b.csv", "file", "/data/a b.csv", "file:///data/a%20b.csv"),
        ("HTTPS://me:pw@Hr.example.com:8443/p?key=1#x", "https", "/p", "https://hr.example.com:8443/p"),
        ("sftp://me@[2001:db8::1]/in/*.csv", "sftp", "/in/*.csv", "sftp://[2001:db8::1]/in/*.csv"),
        ("memory:///hr/back.csv", "memory", "/hr/back.csv", "memory:///hr/back.csv"),
        ("s3://bucket/key.csv", "s3", "/key.csv", "s3://bucket/key.csv"),
        ("https://hr.example.com:port/p", "https", "/p", "https://hr.example.com/p"),
    ],
)
def test_an_address(address: str, scheme: str, path: str, seen: str) -> None:
    assert (scheme_of(address), path_of(address), shown(address)) == (scheme, path, seen)
