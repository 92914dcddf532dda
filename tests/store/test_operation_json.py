"""Operations as they lie in Redis, from which any later version must be able to read them."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.operation import Kind, Operation, digest, from_json, operation_id, to_json

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.dictionaries(TEXT, st.none() | TEXT, max_size=3)
OPERATIONS = st.builds(
    Operation,
    id=TEXT, target=TEXT, person=TEXT, kind=st.sampled_from(Kind), account=st.none() | TEXT, before=VALUES,
    after=VALUES, drift=st.booleans(), wanted=VALUES, observed=VALUES, slot=TEXT, follows=st.none() | TEXT, reason=TEXT,
    counted=st.booleans(), hold=st.none() | TEXT, owned=VALUES, snapshot=TEXT, row=TEXT, refused=st.booleans(),
    owes=st.dictionaries(TEXT, st.integers(0, 2**40), max_size=2), planned=st.floats(0, 1e12),
    carries=st.lists(VALUES, max_size=2).map(tuple), rides=st.booleans(),
)  # fmt: skip
#: Word for word as version 0.1.0 wrote it before operations were structs.
EARLIER = (
    '{"id":"8c1f","target":"habitate","person":"W1","kind":"create","account":null,"before":{},'
    '"after":{"email":"zoë@example.com","role":null},"wanted":{"email":"zoë@example.com"},"reason":"joiner",'
    '"carries":[{"enrolment_code":"TH-1","due":null}],"owes":{"created":12},"planned":1795386801.924159}'
)


@given(OPERATIONS)
def test_an_operation_comes_back_as_it_was(operation: Operation) -> None:
    assert from_json(to_json(operation)) == operation


def test_what_is_as_usual_is_left_out() -> None:
    text = to_json(Operation("1", "t", "P1", Kind.LEAVE, "a", {"x": "1"}, {"x": None}))
    assert json.loads(text) == {
        "id": "1", "target": "t", "person": "P1", "kind": "leave", "account": "a",
        "before": {"x": "1"}, "after": {"x": None},
    }  # fmt: skip


def test_an_earlier_versions_operation_is_read() -> None:
    found = from_json(EARLIER)
    assert (found.kind, found.account, found.slot, found.counted) == (Kind.CREATE, None, "account", True)
    assert found.after == {"email": "zoë@example.com", "role": None}
    assert found.carries == ({"enrolment_code": "TH-1", "due": None},)
    assert found.owes == {"created": 12}


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
