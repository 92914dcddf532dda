"""Operations as they lie in Redis, from which any later version must be able to read them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.operation import (
    ACCOUNT_KINDS,
    AccountChange,
    Enrolment,
    EventTag,
    Kind,
    KnowledgeRecord,
    Operation,
    PlannedState,
    Status,
    TargetEvent,
    digest,
    operation_id,
)
from provisioner.model.operation_batches import Packed
from provisioner.model.operation_record import from_json, to_json

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.dictionaries(TEXT, st.none() | TEXT, max_size=3)
COMMON = {
    "id": TEXT, "target": TEXT, "person": TEXT, "account": st.none() | TEXT, "follows": st.none() | TEXT,
    "state": st.builds(PlannedState, hold=st.none() | TEXT.filter(bool), refused=st.booleans(), fails=TEXT),
    "reason": TEXT, "counted": st.booleans(), "snapshot": TEXT, "row": TEXT, "planned": st.floats(0, 1e12),
    "undoes": TEXT,
}  # fmt: skip
OPERATIONS = st.one_of(
    st.builds(
        AccountChange, **COMMON, kind=st.sampled_from(ACCOUNT_KINDS), before=VALUES, after=VALUES, wanted=VALUES,
        observed=VALUES, owned=VALUES, drift=st.booleans(), makes=st.integers(0, 9),
        carries=st.lists(VALUES, max_size=2).map(tuple), owes=st.dictionaries(TEXT, st.integers(0, 2**40), max_size=2),
    ),
    st.builds(Enrolment, **COMMON, code=TEXT, due=st.none() | TEXT, bundled=st.booleans()),
    st.builds(KnowledgeRecord, **COMMON, slot=TEXT.map("knowledge:{}".format), after=VALUES),
    st.builds(TargetEvent, **COMMON, slot=TEXT.map("event:{}".format), after=VALUES),
    st.builds(EventTag, **COMMON, slot=TEXT.map("tag:{}".format), tag=TEXT),
)  # fmt: skip
#: Word for word as version 0.1.0 wrote it before operations were structs.
EARLIER = (
    '{"id":"8c1f","target":"habitate","person":"W1","kind":"create","account":null,"before":{},'
    '"after":{"email":"zoë@example.com","role":null},"wanted":{"email":"zoë@example.com"},"reason":"joiner",'
    '"carries":[{"enrolment_code":"TH-1","due":null}],"owes":{"created":12},"planned":1795386801.924159}'
)
#: Each kind of change in each state, as commit adaff22 wrote them when an operation was one struct.
ONE_STRUCT: Final = (Path(__file__).parent / "data" / "operations-written-by-adaff22.jsonl").read_bytes().splitlines()
THEN: Final = {json.loads(line)["id"]: line for line in ONE_STRUCT}


@given(OPERATIONS)
def test_an_operation_comes_back_as_it_was(operation: Operation) -> None:
    assert from_json(to_json(operation)) == operation


@given(st.lists(OPERATIONS, max_size=5))
def test_batches_give_back_what_they_were_made_of(operations: list[Operation]) -> None:
    assert list(Packed([operations, operations])) == operations * 2


def test_what_is_as_usual_is_left_out() -> None:
    text = to_json(
        AccountChange(
            id="1", target="t", person="P1", kind=Kind.LEAVE, account="a", before={"x": "1"}, after={"x": None}
        )
    )
    assert json.loads(text) == {
        "id": "1", "target": "t", "person": "P1", "kind": "leave", "account": "a",
        "before": {"x": "1"}, "after": {"x": None},
    }  # fmt: skip


def test_an_earlier_versions_operation_is_read() -> None:
    found = from_json(EARLIER)
    assert isinstance(found, AccountChange)
    assert (found.kind, found.account, found.slot, found.counted) == (Kind.CREATE, None, "account", True)
    assert found.after == {"email": "zoë@example.com", "role": None}
    assert found.carries == ({"enrolment_code": "TH-1", "due": None},)
    assert found.owes == {"created": 12}


@pytest.mark.parametrize("line", ONE_STRUCT, ids=list(THEN))
def test_what_one_struct_wrote_is_read_and_written_alike(line: bytes) -> None:
    """So that the version before, which may still run next to this one, reads all that this one writes."""
    assert to_json(from_json(line)) == line


@pytest.mark.parametrize(
    ("id_", "type_", "kind", "slot"),
    [
        ("a1", AccountChange, Kind.CREATE, "account"),
        ("a5", AccountChange, Kind.REJOIN, "account"),
        ("b1", Enrolment, Kind.ENROL, "enrol:TH-4-77-NEW"),
        ("c1", KnowledgeRecord, Kind.ENROL, "knowledge:0f3e6a1d2c4b5968"),
        ("d1", TargetEvent, Kind.EVENT, "event:created"),
        ("d2", TargetEvent, Kind.EVENT, "event:left:1795959822"),
        ("d3", TargetEvent, Kind.EVENT, "event:inbound:77aa:r1"),
        ("e1", EventTag, Kind.EVENT, "tag:inbound:77aa:r2"),
    ],
)
def test_the_slot_of_a_record_says_what_is_changed(id_: str, type_: type, kind: Kind, slot: str) -> None:
    found = from_json(THEN[id_])
    assert (type(found), found.kind, found.slot) == (type_, kind, slot)


def test_the_fields_of_one_struct_are_those_of_its_change() -> None:
    bundled, record, tag = from_json(THEN["b1"]), from_json(THEN["c1"]), from_json(THEN["e1"])
    assert isinstance(bundled, Enrolment)
    assert (bundled.code, bundled.due, bundled.bundled) == ("TH-4-77-NEW", "2026-12-31", True)
    assert (bundled.token, bundled.follows) == ("TH-4-77-NEW", "a1")
    assert isinstance(record, KnowledgeRecord)
    assert (record.token, record.after["title"]) == ("knowledge:0f3e6a1d2c4b5968", "Forklift")
    assert isinstance(tag, EventTag)
    assert (tag.tag, tag.wanted, tag.counted) == ("course:forklift", {}, False)


@pytest.mark.parametrize(
    ("id_", "status", "error"),
    [
        ("a1", Status.HELD, None),
        ("a2", Status.PENDING, None),
        ("a3", Status.REJECTED, None),
        ("a5", Status.FAILED, {"code": "unkept", "message": "it did not keep active."}),
    ],
)
def test_the_planned_state_of_one_struct_is_read(id_: str, status: Status, error: object) -> None:
    found = from_json(THEN[id_])
    assert (found.planned_status, found.planned_error) == (status, error)


def test_what_a_later_version_added_is_passed_over() -> None:
    assert from_json(EARLIER.replace('{"id"', '{"colour":"blue","id"', 1)) == from_json(EARLIER)


@pytest.mark.parametrize("text", ["", "{}", "[]", EARLIER.replace("create", "paint"), EARLIER.replace('"W1"', "7")])
def test_what_is_no_operation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|missing|Expected|Invalid|truncated"):
        from_json(text)


@given(TEXT, TEXT, st.sampled_from(Kind), VALUES, VALUES)
def test_an_operation_is_named_by_its_json_for_ever(
    target: str, person: str, kind: Kind, before: dict[str, str | None], after: dict[str, str | None]
) -> None:
    named = [target, person, kind.value, before, after]
    text = json.dumps(named, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert (
        operation_id(target, person, kind, before, after) == hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    )


def test_a_digest_does_not_depend_on_the_order_of_names() -> None:
    assert digest({"a": "1", "b": None}, size=8) == digest({"b": None, "a": "1"}, size=8)
    assert digest(["a", None], size=8) != digest(["a", "null"], size=8)
