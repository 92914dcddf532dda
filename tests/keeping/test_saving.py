"""A lost Redis, with a backup and without; and what a restore refuses."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest

from provisioner.admin.backup import backup, restore
from provisioner.dispatch.redis_loss import remembers
from provisioner.errors import StoreError, UsageError
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from provisioner.store.redis.schema import VERSION
from tests.decisions.conftest import Opened, company
from tests.keeping.conftest import TARGETS, writes
from tests.support.harness import sync_once
from tests.support.redis_contents import RedisContents

pytestmark = pytest.mark.anyio


def ledger(dep: Deployment) -> dict[str, dict[bytes, bytes]]:
    return {target: RedisContents(dep).ledger(target) for target in TARGETS}


async def settled(dep: Deployment, roster: Path) -> None:
    """A company with someone who left, after which nothing is to be done."""
    roster.write_text(company(12))
    await sync_once(dep)
    roster.write_text(company(12, gone=(3,)))
    run = await sync_once(dep)
    assert run["status"] == "succeeded", run


async def test_with_a_backup_a_lost_redis_costs_no_write(
    opened: Opened, roster: Path, switchboard: Switchboard, tmp_path: Path
) -> None:
    async with opened() as dep:
        await settled(dep, roster)
        saved = await backup(dep, tmp_path / "saved.gz")
        before = ledger(dep)
        assert saved.entries["ledger"] == sum(len(links) for links in before.values())
        RedisContents(dep).lose_everything()
        restored = await restore(dep, tmp_path / "saved.gz")
        assert restored.entries == saved.entries
        assert ledger(dep) == before
        for target in TARGETS:
            switchboard.clear_log(target)
        run = await sync_once(dep)
        assert run["status"] == "succeeded"
        assert writes(switchboard) == dict.fromkeys(TARGETS, 0)
        assert all(target["adopted"] == 0 for target in run["targets"].values())


async def test_without_one_nobody_is_created_twice_and_nobody_is_removed(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened() as dep:
        await settled(dep, roster)
        there = {target: len(switchboard.accounts(target)) for target in TARGETS}
        RedisContents(dep).lose_everything()
        run = await sync_once(dep)
        assert run["status"] == "succeeded"
        assert {target: len(switchboard.accounts(target)) for target in TARGETS} == there
        for target, part in run["targets"].items():
            assert part["adopted"] >= 11, target
            assert part["planned"]["create"] == 0, target
            assert part["planned"]["leave"] == 0, target


async def test_everything_that_a_backup_holds_comes_back_as_it_was(
    opened: Opened, roster: Path, tmp_path: Path
) -> None:
    async with opened(only=("traitly",)) as dep:
        await settled(dep, roster)
        RedisContents(dep).note_sent("traitly", "leavers", {"an-operation": 1.5})
        await dep.health.decide(
            "traitly", "an-operation", {"by": "test", "at": 1.5, "reason": "", "verdict": "approved", "row": ""}
        )
        await dep.health.pause("traitly", paused=True)
        before = RedisContents(dep).restorable()
        await backup(dep, tmp_path / "saved.gz")
        RedisContents(dep).lose_everything()
        await restore(dep, tmp_path / "saved.gz")
        after = RedisContents(dep).restorable()
        assert after.pop("mark")[b"lost"] == b"1"
        assert after == {key: before[key] for key in after}
        lasting = {"ledger", "decisions", "lists", "roster", "sent", "target"}
        assert lasting <= {name.partition(":")[0] for name in after}
        assert "roster:statuses" in after, "a set"


async def test_what_was_done_since_the_backup_is_doubted(opened: Opened, roster: Path, tmp_path: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        await settled(dep, roster)
        await backup(dep, tmp_path / "saved.gz")
        assert not (await remembers(dep)).lost
        await restore(dep, tmp_path / "saved.gz", force=True)
        memory = await remembers(dep)
        assert memory.lost
        assert memory.quiet > 0


async def test_a_backup_is_whole_or_not_there_and_nobody_else_may_read_it(
    opened: Opened, roster: Path, tmp_path: Path
) -> None:
    async with opened(only=("traitly",)) as dep:
        await settled(dep, roster)
        path = tmp_path / "saved.gz"
        path.write_text("an older one")
        path.chmod(0o644)
        await backup(dep, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        assert (lines[0]["format"], lines[0]["schema"]) == ("provisioner-backup", VERSION)
        assert lines[-1]["end"]["ledger"] == 12
        assert sorted(other.name for other in tmp_path.iterdir() if other.name.startswith(".")) == []
        with pytest.raises(UsageError, match="cannot be written"):
            await backup(dep, tmp_path / "no folder" / "saved.gz")


async def test_a_restore_replaces_links_only_when_told_to(opened: Opened, roster: Path, tmp_path: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        await settled(dep, roster)
        path = tmp_path / "saved.gz"
        await backup(dep, path)
        RedisContents(dep).link("traitly", "W9999", {"account": "W9999"})
        with pytest.raises(UsageError, match="not empty: it has 13 links"):
            await restore(dep, path)
        assert await dep.ledger.entry("traitly", "W9999") is not None
        await restore(dep, path, force=True)
        assert await dep.ledger.entry("traitly", "W9999") is None
        assert await dep.ledger.size("traitly") == 12


async def test_a_restore_waits_for_no_work_under_way(opened: Opened, roster: Path, tmp_path: Path) -> None:
    async with opened(only=("traitly",)) as dep:
        await settled(dep, roster)
        path = tmp_path / "saved.gz"
        await backup(dep, path)
        RedisContents(dep).lose_everything()
        contents = RedisContents(dep)
        lock = contents.planning_lock("traitly")
        contents.hold(lock, "a-run")
        with pytest.raises(StoreError, match="a run is planning traitly"):
            await restore(dep, path)
        contents.free(lock)
        contents.lease("traitly", "run|op")
        with pytest.raises(StoreError, match="traitly is being sent something"):
            await restore(dep, path)
        assert await dep.ledger.size("traitly") == 0


async def test_other_layouts_and_damaged_files_are_refused_and_change_nothing(
    opened: Opened, roster: Path, tmp_path: Path
) -> None:
    async with opened(only=("traitly",)) as dep:
        await settled(dep, roster)
        path = tmp_path / "saved.gz"
        await backup(dep, path)
        RedisContents(dep).lose_everything()
        packed = path.read_bytes()
        lines = gzip.decompress(packed).splitlines(keepends=True)
        for schema, remedy in ((VERSION - 1, "then upgrade"), (VERSION + 1, "or a newer one")):
            head = json.dumps({**json.loads(lines[0]), "schema": schema}).encode() + b"\n"
            path.write_bytes(gzip.compress(b"".join([head, *lines[1:]])))
            with pytest.raises(UsageError, match=f"has layout {schema}") as refused:
                await restore(dep, path)
            assert remedy in str(refused.value)
        damaged = {
            "cut off": packed[: len(packed) // 2],
            "without an end": gzip.compress(b"".join(lines[:-1])),
            "with a line less": gzip.compress(b"".join([lines[0], *lines[2:]])),
        }
        for what, data in damaged.items():
            path.write_bytes(data)
            with pytest.raises(UsageError, match="damaged or not whole"):
                await restore(dep, path)
            assert await dep.ledger.size("traitly") == 0, what
        for data in (b"employee_id\nW1\n", gzip.compress(b"{}\n"), b""):
            path.write_bytes(data)
            with pytest.raises(UsageError, match="no backup of provisioner"):
                await restore(dep, path)
        with pytest.raises(UsageError, match="cannot be read"):
            await restore(dep, tmp_path / "nowhere")
        assert ledger(dep) == {target: {} for target in TARGETS}
