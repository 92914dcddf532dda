"""The decision about an outcome, as a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dispatch.retry_policy import (
    MAX_TRIES,
    MOST_UNEXPECTED,
    Decision,
    Fail,
    Park,
    Quarantine,
    Succeed,
    backoff,
    decide,
    is_poisoned,
)
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear

DAY = 86400.0
DONE = Done("a1")


@pytest.mark.parametrize(
    ("outcome", "tries", "age", "decision"),
    [
        (DONE, 1, 0.0, Succeed(DONE)),
        (DONE, MAX_TRIES, 9 * DAY, Succeed(DONE)),
        (Permanent("invalid", "no"), 1, 0.0, Fail("invalid", "no")),
        (Unauthorised("who?"), 1, 0.0, Quarantine("unauthorised", "who?")),
        (Unauthorised("who?", "forbidden"), 9, 9 * DAY, Quarantine("forbidden", "who?")),
        (Temporary("busy", "later"), 1, 0.0, Park(2.0, "busy", "later")),
        (Temporary("busy", "later"), 3, 0.0, Park(8.0, "busy", "later")),
        (Temporary("busy", "later", delay=60.0), 1, 0.0, Park(60.0, "busy", "later")),
        (Temporary("busy", "later", delay=1.0), 3, 0.0, Park(8.0, "busy", "later")),
        (Temporary("away", "later", unreached=True), 1, 0.0, Park(2.0, "away", "later", spend=False, unreached=True)),
        (Temporary("limited", "slow", delay=7.0, limited=True), 1, 0.0, Park(7.0, "limited", "slow", spend=False)),
        (Temporary("limited", "slow", limited=True), 1, 0.0, Park(1.0, "limited", "slow", spend=False)),
        (
            Temporary("limited", "slow", delay=7.0, limited=True),
            MAX_TRIES,
            9 * DAY,
            Park(7.0, "limited", "slow", spend=False),
        ),
        (Temporary("unexpected", "oh"), MOST_UNEXPECTED - 1, 0.0, Park(32.0, "unexpected", "oh")),
        (
            Temporary("unexpected", "oh"),
            MOST_UNEXPECTED,
            0.0,
            Fail("unexpected", f"oh; given up after {MOST_UNEXPECTED} tries in 0.0 h"),
        ),
        (
            Unclear("unexpected", "oh"),
            MOST_UNEXPECTED,
            0.0,
            Fail("unexpected", f"oh; unclear whether it was done, given up after {MOST_UNEXPECTED} tries"),
        ),
        (Temporary("busy", "later"), 4, DAY, Fail("busy", "later; given up after 4 tries in 24.0 h")),
        (
            Temporary("busy", "later"),
            MAX_TRIES,
            0.0,
            Fail("busy", f"later; given up after {MAX_TRIES} tries in 0.0 h"),
        ),
        (Unclear("timeout", "?"), 1, 0.0, Park(2.0, "timeout", "?", unclear=True)),
        (
            Unclear("timeout", "?"),
            5,
            DAY,
            Fail("timeout", "?; unclear whether it was done, given up after 5 tries"),
        ),
    ],
)
def test_the_table(outcome: Outcome, tries: int, age: float, decision: Decision) -> None:
    assert decide(outcome, tries=tries, age=age, patience=DAY, chance=0.5) == decision


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_back_off_grows_to_a_quarter_of_an_hour_and_never_to_nothing(tries: int, chance: float) -> None:
    assert 0.2 <= backoff(tries, chance) <= 900.0
    assert backoff(tries, 1.0) <= backoff(tries + 1, 1.0)


NO = Permanent("bad_request", "no")
STUMBLE = Unclear("server_error", "500")


@pytest.mark.parametrize(
    ("outcomes", "tries", "poisoned"),
    [
        ([NO, NO], 1, True),
        ([NO], 1, False),
        ([NO, Permanent("bad_request", "else")], 1, False),
        ([NO, DONE], 1, False),
        ([Permanent("gone", "no")] * 3, 1, False),
        ([STUMBLE] * 3, 1, False),
        ([STUMBLE] * 3, 2, True),
        ([Unclear("timeout", "?")] * 3, 9, False),
        ([DONE, DONE], 1, False),
        ([Temporary("busy", "later")] * 2, 9, False),
    ],
)
def test_a_batch_is_halved_where_one_row_may_have_spoiled_it(
    outcomes: list[Outcome], tries: int, poisoned: bool
) -> None:
    assert is_poisoned(outcomes, tries) is poisoned
