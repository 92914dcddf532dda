"""How many requests are under way at once: more at a slow vendor, no more at one that fails."""

from __future__ import annotations

import pytest

from provisioner.dispatch.in_flight import FIRST, MOST, InFlight, Learnt, wanted


class Hands:
    """A process's clocks, moved by hand."""

    def __init__(self) -> None:
        self.spent = self.now = 0.0

    def in_flight(self, first: int = FIRST) -> InFlight:
        return InFlight(first, spent=lambda: self.spent, clock=lambda: self.now)

    def answer(self, one: InFlight, seconds: float, work: float, *, times: int = 1, good: bool = True) -> None:
        for _ in range(times):
            self.spent += work
            self.now += work
            one.answered(seconds, good=good)


@pytest.mark.parametrize(
    ("answer", "work", "expected"),
    [(0.0, 0.002, FIRST), (0.01, 0.002, FIRST), (0.2, 0.01, 25), (0.2, 0.004, 63), (0.2, 0.0, MOST), (30.0, 1.0, 38)],
)
def test_as_many_as_the_process_could_send_while_one_is_answered(answer: float, work: float, expected: int) -> None:
    assert wanted(answer, work) == expected


def test_it_grows_by_one_with_each_good_answer_of_a_slow_vendor() -> None:
    hands = Hands()
    one = hands.in_flight()
    widths = []
    for _ in range(20):
        hands.answer(one, 0.2, 0.004)
        widths.append(one.width)
    assert widths == list(range(FIRST + 1, FIRST + 21))
    hands.answer(one, 0.2, 0.004, times=200)
    assert one.width == 63
    assert one.full


def test_a_quick_vendor_is_asked_no_more_at_once_than_ever() -> None:
    hands = Hands()
    one = hands.in_flight()
    # Each waited for the others, and the quickest for the fewest
    for number in range(500):
        hands.answer(one, 0.002 * (1 + number % FIRST), 0.002)
        assert one.width == FIRST
    assert one.full


def test_a_vendor_that_begins_to_fail_is_asked_as_little_as_at_the_beginning() -> None:
    hands = Hands()
    one = hands.in_flight()
    hands.answer(one, 0.2, 0.001, times=500)
    assert one.width == MOST
    hands.answer(one, 0.2, 0.001, times=4, good=False)
    assert one.width == FIRST


def test_one_that_only_fails_never_grows() -> None:
    hands = Hands()
    one = hands.in_flight()
    for _ in range(50):
        hands.answer(one, 5.0, 0.001, good=False)
        assert one.width == FIRST


def test_it_follows_a_vendor_that_becomes_slow() -> None:
    hands = Hands()
    one = hands.in_flight()
    hands.answer(one, 0.01, 0.002, times=100)
    assert one.width == FIRST
    hands.answer(one, 0.1, 0.002, times=200)
    assert one.width == 63


def test_the_next_delivery_begins_with_half_of_what_the_last_one_had_just_now() -> None:
    hands = Hands()
    one = hands.in_flight()
    hands.answer(one, 0.2, 0.002, times=300)
    assert one.later == one.width // 2 > FIRST
    hands.now += 60.0
    assert one.later == FIRST


def test_each_target_has_its_own_number() -> None:
    learnt = Learnt()
    first = learnt.at("slow")
    for _ in range(100):
        first.answered(10.0, good=True)
    assert learnt.at("slow").width == first.width // 2 > FIRST
    assert learnt.at("quick").width == FIRST
