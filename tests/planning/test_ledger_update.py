"""What an outcome says of an operation: whether for sure nothing of it was done."""

from __future__ import annotations

import pytest

from provisioner.model.operation import AccountChange, Kind
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unclear
from provisioner.planning.ledger_update import is_refused_whole

NO = Permanent("refused", "no")


def leave(before: dict[str, str | None], after: dict[str, str | None]) -> AccountChange:
    return AccountChange(id="1", target="t", person="p", kind=Kind.LEAVE, account="a", before=before, after=after)


@pytest.mark.parametrize(
    ("outcome", "before", "after", "whole"),
    [
        (NO, {"active": "true"}, {"active": "false"}, True),
        (NO, {"active": None}, {"active": "false"}, True),
        (NO, {"role": "Member", "boards": "Sales"}, {"role": "Guest", "boards": None}, False),
        (NO, {"boards": "Finance;Sales"}, {"boards": None}, False),
        (Permanent("refused", "no", perhaps=True), {"active": "true"}, {"active": "false"}, False),
        (Permanent("refused", "no", kept=Done()), {"active": "true"}, {"active": "false"}, False),
        (Temporary("busy", "no"), {"active": "true"}, {"active": "false"}, False),
        (Unclear("server_error", "no"), {"active": "true"}, {"active": "false"}, False),
    ],
    ids=["one change", "of what was empty", "two changes", "a set", "perhaps", "in part", "given up", "unclear"],
)
def test_only_a_refusal_of_one_change_is_whole(
    outcome: Outcome, before: dict[str, str | None], after: dict[str, str | None], whole: bool
) -> None:
    assert is_refused_whole(leave(before, after), outcome) is whole
