"""What answers look like, and in what they changed; no value is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.targets.answer_shapes import AnswerShapes, Shape, changes, shape_of, without_gone
from provisioner.targets.paths import at
from provisioner.targets.responses import Answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab_1", max_size=3), inner, max_size=4),
    max_leaves=30,
)


def listed(count: int = 8, **fields: Any) -> Shape:
    row = {"id": 1, "email": "ann@example.com", "note": None, **fields}
    row = {name: value for name, value in row.items() if value != "gone"}
    return shape_of(Answer(200, {}, {"records": [row] * count, "total": count}))


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (listed(), []),
        (listed(email="gone"), ["records[].email is shown no more"]),
        (listed(4, email="gone"), []),
        (listed(id="7"), ["records[].id is text, and was number"]),
        (listed(id=None), []),
        (listed(id=1.5), []),
        (listed(note="x"), []),
        (listed(email=["a"]), ["records[].email is list of text, and was text"]),
        (listed(team_required="x"), ["records[].team_required is new, in each record"]),
        (listed(3, team="x"), []),
        (listed(note=[]), []),
        (shape_of(Answer(202, {}, {"records": [], "total": 0})), ["the status is 202, and was 200"]),
        (shape_of(Answer(200, {}, {"records": [], "total": 0})), []),
    ],
)
def test_what_changed_is_said_by_name(later: Shape, said: list[str]) -> None:
    before = listed()
    assert changes(before, later) == said
    # Once
    assert changes(without_gone(before, later).and_then(later), later) == []


def test_a_field_that_some_records_lack_may_be_missing() -> None:
    some = listed().and_then(listed(1, email="gone"))
    assert changes(some, listed(email="gone")) == []


@given(JSON, JSON)
def test_whatever_comes_is_compared_and_kept(one: Any, other: Any) -> None:
    before, later = shape_of(Answer(200, {}, one)), shape_of(Answer(200, {}, other))
    kept = Shape.from_json(json.loads(json.dumps(before.to_json())))
    assert kept == before
    assert changes(kept, before) == []
    changes(before, later)
    both = before.and_then(later)
    assert set(both.fields) == {*before.fields, *later.fields}
    assert all(0 <= seen.shown <= seen.objects for seen in both.fields.values())


def test_no_value_and_nobodys_name_is_kept() -> None:
    heard = AnswerShapes()
    body = {"records": [{"user_name": "ann.p@example.com", "by_id": {"E00001": {"email": "ann@example.com"}}}]}
    heard.note(at("/papi/users/{}", "ann"), {}, Answer(200, {}, body))
    heard.note("/papi/users/12345", {}, Answer(200, {}, body))
    heard.note("/papi/users", {}, Answer(401, {}, {"message": "no"}))
    kept = json.dumps({name: shape.to_json() for name, shape in heard.shapes.items()})
    assert list(heard.shapes) == ["GET /papi/users/{…}"]
    assert not [word for word in ("ann", "E00001", "example.com") if word in kept]


def test_what_is_kept_is_bounded() -> None:
    heard = AnswerShapes()
    wide = {f"field_{'a' * (number % 26)}{'b' * (number // 26)}": number for number in range(2000)}
    for number in range(80):
        heard.note(f"/v1/{'a' * (number + 1)}", {}, Answer(200, {}, {"data": [wide] * 2}))
    assert len(heard.shapes) == 60
    assert max(len(shape.fields) for shape in heard.shapes.values()) <= 300
