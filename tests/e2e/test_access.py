"""The table of who has what, by the command, besides what the stand-ins really hold."""

from __future__ import annotations

import csv
import io
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastexcel
import msgspec
import pytest

from provisioner.admin.access_report import COLUMNS, AccessRow
from tests.e2e.site import ROOT, Site, with_worker

pytestmark = pytest.mark.timeout(180)


def printed(site: Site, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", "access", *words],
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return done.stdout.decode()


def test_who_has_what(tmp_path: Path) -> None:
    with with_worker(tmp_path, only=("tribal_habits", "traitly")) as site:
        site.switchboard.seed("traitly", [{"customer_id": "=X1", "name": "Nobody", "email": "nobody@example.com"}])
        site.call("sync", "--wait")
        site.write("day_two.csv")
        site.call("sync", "--wait")
        site.forget_requests()
        rows: list[dict[str, Any]] = json.loads(printed(site, "--json"))["access"]
        msgspec.convert(rows, list[AccessRow])
        assert set(site.writes().values()) == {0}
        for kind in ("tribal_habits", "traitly"):
            mine = [row for row in rows if row["target"] == kind]
            assert len({row["account"] for row in mine}) == len(mine) == len(site.switchboard.accounts(kind))
            people = [row["person"] for row in mine if row["person"]]
            assert people == sorted(people)
        portal = {one["user_name"]: one for one in site.switchboard.accounts("tribal_habits")}
        for row in (one for one in rows if one["target"] == "tribal_habits" and one["person"]):
            held = portal[row["account"]]
            assert row["has"]["active"] == str(held["active"]).lower()
            assert row["has"].get("role_1") == held["role_1"]
            assert (row["access"] == "left") == (held["active"] is False)
            assert row["last_confirmed"] is not None
            assert ("in scope" in row["rule"]) == (row["access"] == "active")
        orphan = next(row for row in rows if row["account"] == "=X1")
        assert orphan["access"] == "orphan"
        assert orphan["person"] is None

        files = {ending: tmp_path / f"access.{ending}" for ending in ("csv", "xlsx", "json")}
        for file in files.values():
            told = site.call("access", "--out", str(file))
            assert told["rows"] == len(rows)
            assert told["targets"]["traitly"]["orphan"] >= 1
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(files["json"].read_text())["access"] == rows
        table = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
        assert list(table[0]) == list(COLUMNS)
        assert [one["person"] for one in table] == [row["person"] or "" for row in rows]
        # A spreadsheet would take it for a formula
        assert "'=X1" in {one["account"] for one in table}
        sheet = fastexcel.read_excel(str(files["xlsx"])).load_sheet(0).to_polars()
        assert sheet.height == len(rows)
        assert sheet["account"].to_list() == [one["account"] for one in table]
        only = json.loads(printed(site, "--target", "traitly", "--json"))["access"]
        assert only == [row for row in rows if row["target"] == "traitly"]
        assert site.call("access", "--out", "access.doc", code=2)["error"]["code"] == "usage"
