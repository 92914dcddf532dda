"""The three commands as a person uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import call, write_settings
from tests.support.redis_contents import RedisContents

ENTRY = {"account": "C-1", "state": "active", "values": {}, "created": True, "matched": "created", "recorded": 1.0}


@pytest.fixture
def config(redis_url: str, tmp_path: Path) -> str:
    path = write_settings(tmp_path, redis_url=redis_url)
    RedisContents(redis_url).link("traitly", "E1", ENTRY)
    return str(path)


def test_backup_loss_and_restore(config: str, redis_url: str, tmp_path: Path) -> None:
    file = str(tmp_path / "saved.gz")
    saved = call("backup", file, "--json", PROVISIONER_CONFIG=config)
    assert (saved.code, saved.document["entries"]["ledger"]) == (0, 1)
    refused = call("restore", file, PROVISIONER_CONFIG=config)
    assert refused.code == 2
    assert "--force" in refused.err
    contents = RedisContents(redis_url)
    contents.lose_everything()
    restored = call("restore", file, PROVISIONER_CONFIG=config)
    assert restored.code == 0
    assert "ledger" in restored.out
    assert b"E1" in contents.ledger("traitly")
    assert contents.layout() == b"1"


def test_forget_says_what_the_vendors_hold(config: str) -> None:
    told = call("forget", "E1", PROVISIONER_CONFIG=config)
    assert told.code == 0
    assert "traitly" in told.out
    assert "C-1" in told.out
    assert "somebody new" in told.out
    again = call("forget", "E1", "--json", PROVISIONER_CONFIG=config)
    assert again.code == 2
    assert again.document["error"]["code"] == "usage"


def test_forget_as_json(config: str) -> None:
    document = call("forget", "E1", "--json", PROVISIONER_CONFIG=config).document
    assert document["accounts"] == [
        {"target": "traitly", "kind": "traitly", "account": "C-1", "state": "active", "created": True}
    ]
    assert document["erased"]["ledger"] == 1


def test_a_plan_leaves_an_empty_redis_without_even_the_layout(redis_url: str, tmp_path: Path) -> None:
    path = write_settings(tmp_path, redis_url=redis_url)
    call("plan", PROVISIONER_CONFIG=str(path))
    assert RedisContents(redis_url).lasting() == set()


def test_a_newer_layout_is_refused_by_every_command(config: str, redis_url: str, tmp_path: Path) -> None:
    RedisContents(redis_url).claim_layout(99)
    for words in (["runs"], ["why", "E1"], ["plan"], ["backup", str(tmp_path / "saved.gz")]):
        answer = call(*words, PROVISIONER_CONFIG=config)
        assert answer.code == 1, words
        assert "layout 99" in answer.err
