"""What the model of the queue knows of seats: who has which, who died on one, and who goes on though it is lost."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from provisioner.store.queue import seats
from provisioner.store.queue.rate_limit import Lane
from tests.store.bench import TARGET, Bench

#: A seat, by its lane and number, and what its holder has entered.
Seat = tuple[Lane, int]
Entered = AbstractAsyncContextManager[Any]


@dataclass
class Seats:
    """By seat whoever has it: `held` by a process that lives, `dead` by one that died; `lost` are those who lost
    theirs and do not know it."""

    held: dict[Seat, Entered] = field(default_factory=dict)
    dead: dict[Seat, Entered] = field(default_factory=dict)
    lost: list[Entered] = field(default_factory=list)

    @property
    def taken(self) -> set[Seat]:
        """The seats that nobody else may have now."""
        return {*self.held, *self.dead}


class SeatRules(RuleBasedStateMachine):
    """Processes that take seats, leave them, die on them, or are suspended for so long that they lose them."""

    bench: Bench
    seats: Seats

    @rule(lane=st.sampled_from(["bulk", "urgent"]))
    def take_first(self, lane: Lane) -> None:
        """A nudge comes: it finds the first seat of its lane exactly if nobody has that one."""
        entered = self.bench.seats.first(TARGET, lane)
        found = self.bench(entered.__aenter__())
        seat = (lane, seats.FIRST)
        assert (found is not None) == (seat not in self.seats.taken), "urgent work finds a seat, whatever bulk work has"
        if found is not None:
            self.seats.held[seat] = entered

    @rule()
    def take_further(self) -> None:
        """A call for help comes: it finds the lowest seat that is free."""
        entered = self.bench.seats.further(TARGET)
        number = self.bench(entered.__aenter__())
        free = [one for one in range(seats.FIRST + 1, seats.MOST) if ("bulk", one) not in self.seats.taken]
        assert number == (free[0] if free else None), "two holders of one seat, or a free one that nobody gets"
        if number is not None:
            self.seats.held["bulk", number] = entered

    @precondition(lambda self: self.seats.held)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Somebody is done."""
        self._exit(self.seats.held.pop(data.draw(st.sampled_from(sorted(self.seats.held)))))

    @precondition(lambda self: self.seats.held)
    @rule(data=st.data())
    def die_on_a_seat(self, data: st.DataObject) -> None:
        """A holder is killed, or suspended: its seat is its own for a while."""
        seat = data.draw(st.sampled_from(sorted(self.seats.held)))
        self.seats.dead[seat] = self.seats.held.pop(seat)

    @precondition(lambda self: self.seats.dead)
    @rule(data=st.data(), taken=st.booleans())
    def expire_seat(self, data: st.DataObject, taken: bool) -> None:
        """The time of such a seat is over, and perhaps somebody takes it at once."""
        seat = data.draw(st.sampled_from(sorted(self.seats.dead)))
        self.bench.end_seat(*seat)
        self.seats.lost.append(self.seats.dead.pop(seat))
        if taken and seat[1] == seats.FIRST:
            self.take_first(seat[0])
            assert seat in self.seats.held
        elif taken:
            self.take_further()

    @precondition(lambda self: self.seats.lost)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        """A suspended holder goes on after its seat expired, and leaves: the seat of its successor stays taken."""
        self._exit(self.seats.lost.pop(data.draw(st.integers(0, len(self.seats.lost) - 1))))

    def forget_seats(self) -> None:
        """Redis was put back, and nobody began anything for longer than a seat lasts."""
        for lane, number in {("bulk", one) for one in range(seats.MOST)} | {("urgent", seats.FIRST)}:
            self.bench.end_seat(lane, number)  # type: ignore[arg-type]  # both are lanes
        self.seats.lost += [*self.seats.held.values(), *self.seats.dead.values()]
        self.seats.held.clear()
        self.seats.dead.clear()

    def leave_all(self) -> None:
        """The example is over."""
        self.forget_seats()
        for entered in self.seats.lost:
            self._exit(entered)

    def _exit(self, entered: Entered) -> None:
        self.bench(entered.__aexit__(None, None, None))

    @invariant()
    def the_seats_are_those_that_somebody_has(self) -> None:
        """In Redis exactly those seats are taken that the model says."""
        lanes: tuple[Lane, ...] = ("bulk", "urgent")
        found = {(lane, number) for lane in lanes for number in self.bench(self.bench.seats.taken(TARGET, lane))}
        assert found == self.seats.taken
