"""The table of keys: each row decides about backups and forgetting, and each key in Redis has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provisioner.store.redis import keys

ROOT = Path(__file__).parents[2]
#: What a backup leaves out although it is about people: it is read or planned again, or it is about this moment.
LEFT_OUT = {
    *("run:<run>", "run:<run>:ops:<target>", "run:<run>:op:<target>:<id>", "run:<run>:stage:<target>"),
    *("run:<run>:by:<target>:<status>", "run:<run>:rejects", "run:<run>:people", "run:<run>:content"),
    *("run:<run>:again:<target>", "run:<run>:behind:<target>", "run:<run>:put_off:<target>"),
    *("q:<target>", "parked:<target>", "leases:<target>", "claim:<target>:<token>", "slots:<target>"),
    *("slots:fresh:<target>", "observed:<target>", "tagging:<target>:<person>", "history:<person>", "heard:<person>"),
    *("unsent:<target>:<guard>", "run:<run>:coming:<target>:<guard>", "looked:<target>", "names:<target>"),
    "rostered:<target>",
    *("inbound", "inbound:errors", "inbound:later", "inbound:unknown", "outbox", "outbox:items", "notices"),
    *("roster:past:<day>", "restoring:<name>", "audit:anew", "reviewed:<digest>", "run:<run>:left_out"),
    "web:signed_in:<session>",
    *("roster:changed", "roster:scim:index"),
}


def test_whoever_adds_a_key_about_people_decides_whether_a_backup_holds_it() -> None:
    assert {key.template for key in keys.TABLE if key.personal and not key.backup} == LEFT_OUT


def test_a_name_tells_its_row() -> None:
    assert keys.kind_of(keys.slots("traitly")) is keys.slots
    assert keys.kind_of(keys.installing("traitly")) is keys.installing
    assert keys.kind_of(keys.operation("r1", "traitly", "a:b")) is keys.operation
    assert keys.kind_of(f"{keys.pace('traitly')}:60") is keys.pace
    assert keys.kind_of(f"{keys.PREFIX}something:else") is None
    assert keys.slots.part_of(keys.slots("traitly").encode()) == "traitly"
    with pytest.raises(ValueError, match="no key of the kind ledger"):
        keys.ledger.part_of(keys.slots("traitly"))
    with pytest.raises(TypeError, match="takes 2 parts"):
        keys.run_target("r1")


def test_a_person_s_key_may_hold_whatever_the_roster_has() -> None:
    for person in ("a:b", "{x}", "*", "ä b"):
        assert keys.history.part_of(keys.history(person)) == person


@pytest.mark.parametrize("key", keys.TABLE, ids=lambda key: key.template)
def test_a_backup_holds_what_its_row_says(key: keys.Key) -> None:
    name = re.sub(r"<[a-z ]+>", "x", key.template)
    assert keys.in_backup(name) == key.backup


def test_the_page_on_data_protection_leads_to_the_table() -> None:
    page = (ROOT / "docs" / "data-protection.md").read_text(encoding="utf-8")
    assert "(redis-keys.md)" in page


def test_no_other_module_spells_a_key() -> None:
    spelt = re.compile(r"[\"']provisioner:[a-z]")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "provisioner").rglob("*.py"))
        if path.name != "keys.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if spelt.search(line)
    ]
    assert found == []
