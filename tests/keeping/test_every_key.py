"""Whoever adds a key decides whether a backup holds it, and what becomes of it when a person is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

from provisioner.store.admin.backup import KEPT
from provisioner.store.redis import keys

ROOT = Path(__file__).parents[2]
NAMES = re.findall(r"^    provisioner:(\S+)", keys.__doc__ or "", re.MULTILINE)
#: What a backup leaves out, since it is made anew, is about this moment, or is only true of this server.
LEFT_OUT = (
    *("schema", "mark", "swept", "trimmed", "run:", "runs", "history:", "heard:", "totals", "tally:", "ended"),
    *("q:", "parked:", "leases:", "slots:", "outcomes:", "claim:", "busy:", "waiting:", "doing:", "nudged:", "pace:"),
    *("observed:", "reading:", "tagging:", "writeback:", "notices", "web:", "beat:"),
    *("inbound:errors", "inbound:later", "inbound:unknown", "outbox:items"),
)
#: The streams and queues of what is under way have names that others begin with.
UNDER_WAY = {"inbound", "outbox"}
#: What names nobody of the roster.
NAMELESS = (
    *("schema", "mark", "swept", "trimmed", "target:", "outcomes:", "pace:", "totals", "tally:", "ended", "busy:"),
    *("waiting:", "doing:", "nudged:", "notified", "web:", "beat:", "readback", "writeback:", "inbound:counts"),
)


def test_the_list_of_keys_is_read() -> None:
    assert {"ledger:<target>", "history:<person>", "pace:…"} <= set(NAMES)


def test_every_key_is_in_a_backup_or_left_out_on_purpose() -> None:
    for name in NAMES:
        kept, left = name.startswith(KEPT), name.startswith(LEFT_OUT) or name in UNDER_WAY
        assert kept != left, name


def test_the_page_on_data_protection_names_every_key() -> None:
    page = (ROOT / "docs" / "data-protection.md").read_text(encoding="utf-8")
    told = {re.sub(r"(<\w+>|…).*$", "", name) for name in re.findall(r"`([a-z]+[a-z:<>…]*)`", page)}
    for name in NAMES:
        assert name.startswith(NAMELESS) or any(re.sub(r"<.*$", "", name).startswith(one) for one in told), name
