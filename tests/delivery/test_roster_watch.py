"""Who watches the roster sees that it was rewritten, and that a table of its look-ups was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisioner.runs.roster_watch import roster_changed, seen
from tests.decisions.conftest import Opened, company
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "sites.csv"
    path.write_text("code,city\nSydney,SYD\n")
    return path


def looking_up(table: Path) -> Mapping[str, Any]:
    return {"lookups": {"site": {"by": "location", "in": str(table), "key": "code"}}}


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


async def test_a_rewritten_table_is_seen_once_and_a_run_ends_it(opened: Opened, roster: Path, table: Path) -> None:
    roster.write_text(company(2))
    async with opened(only=("traitly",), reading=looking_up(table)) as dep:
        first = await roster_changed(dep)
        assert first is not None
        await seen(dep.frames, first)
        assert await roster_changed(dep) is None
        await sync_once(dep)
        assert await roster_changed(dep) is None
        rewrite(table, "code,city\nSydney,SYDNEY\n")
        changed = await roster_changed(dep)
        assert changed not in (None, first)
        await seen(dep.frames, str(changed))
        assert await roster_changed(dep) is None
        # Its run failed, and it is rewritten again
        rewrite(table, "code,city\nSydney,SYDNEY CITY\n")
        assert await roster_changed(dep) not in (None, changed)
        await sync_once(dep)
        assert await roster_changed(dep) is None


async def test_a_table_that_was_only_touched_asks_for_nothing(opened: Opened, roster: Path, table: Path) -> None:
    roster.write_text(company(2))
    async with opened(only=("traitly",), reading=looking_up(table)) as dep:
        await sync_once(dep)
        rewrite(table, table.read_text())
        assert await roster_changed(dep) is None
        table.unlink()
        assert await roster_changed(dep) is None


async def test_a_table_counts_beside_a_pushed_roster_too(opened: Opened, roster: Path, table: Path) -> None:
    roster.write_text(company(2))
    async with opened(only=("traitly",), reading=looking_up(table)) as dep:
        await sync_once(dep, content=company(3).encode(), pushed_at=await dep.clock.now())
        rewrite(roster, company(4))
        assert await roster_changed(dep) is None
        rewrite(table, "code,city\nSydney,SYDNEY\n")
        assert await roster_changed(dep) is not None
