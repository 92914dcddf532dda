"""What we took away of a shared set stays ours to take away until a listing shows that it went."""

from __future__ import annotations

import json

import pytest

from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_record import OperationRecord
from provisioner.planning.withdrawn import still_ours, withdrawal, withdrawn_of

LOOPS = json.dumps({"tags": [1, "a", "b", 1.0, 1.0, 0]})


def moved(before: str | None, wanted: str | None) -> Operation:
    after = {"tags": wanted}
    return OperationRecord("op", "m", "P", Kind.UPDATE, "P", {"tags": before}, after, wanted=after).operation()


@pytest.mark.parametrize(
    ("before", "wanted", "kept"),
    [
        ("a;B;c", "C", "7.500 a;B"),
        ("a", "a;b", ""),
        (None, "a", ""),
        ("a;b", None, "7.500 a;b"),
    ],
)
def test_what_a_change_takes_away_is_kept_with_its_time(before: str | None, wanted: str | None, kept: str) -> None:
    assert withdrawal(moved(before, wanted), "tags", 7.5) == {withdrawn_of("tags"): kept}


@pytest.mark.parametrize(
    ("last_read", "loops", "ours"),
    [
        (7.0, None, {"a", "b"}),  # the first look since
        (8.0, None, set()),  # a listing showed that they went: whoever adds them again added their own
        (8.0, LOOPS, {"a", "b"}),  # every listing since showed them
        (8.0, json.dumps({"name": [1, "a", "b", 1.0, 1.0, 0]}), set()),
        (None, None, set()),
    ],
)
def test_it_is_ours_until_a_listing_shows_that_it_went(
    last_read: float | None, loops: str | None, ours: set[str]
) -> None:
    assert still_ours("7.500 a;B", "tags", last_read, loops) == ours
    assert still_ours("", "tags", last_read, loops) == still_ours(None, "tags", last_read, loops) == set()
