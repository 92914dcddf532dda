"""Whether a figure was reached: by the best of several turns, and only where these say nearly the same.

Whatever else a machine does can only add to a time, so the best turn is the nearest to the truth. Where the turns lie
far apart even the best one may have been disturbed, and nothing is said of the goal. What is counted, such as requests,
is the same on every machine and needs no turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

#: How many times as large as the smallest the largest turn of a measured figure may be.
MOST_APART: Final = 1.5
#: The share of the processors' time that others may take while a figure is measured.
MOST_STOLEN: Final = 0.05

Side = Literal["at most", "at least"]
#: None: it was not judged.
Verdict = bool | None


@dataclass(frozen=True, slots=True)
class Turns:
    """One thing that was measured several times.

    Raises:
        ValueError: there is no turn.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("nothing was measured")

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest."""
        return max(self.values)

    @property
    def apart(self) -> float:
        """How many times as large as the smallest the largest is; 1 where all are nothing."""
        if self.low <= 0:
            return 1.0 if self.high <= 0 else float("inf")
        return self.high / self.low

    def shown(self, form: Callable[[float], str], *, best: float | None = None) -> str:
        """The best (the smallest if it is not given), and in parentheses the smallest and the largest."""
        first = form(self.low if best is None else best)
        if len(self.values) == 1:
            return first
        return f"{first} ({form(self.low)} to {form(self.high)})"


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, and what was found.

    Attributes:
        name: what it is about; part of the page's first sentence.
        wanted, found: as they are shown.
        met: None where it was not judged.
        why: why it was not judged.
        counted: it was counted, so that noise changes nothing about it.
    """

    name: str
    wanted: str
    found: str
    met: Verdict
    why: str = ""
    counted: bool = False

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.met is None:
            return f"not judged: {self.why}" if self.why else "not judged"
        return "met" if self.met else "missed"


def counted(name: str, wanted: str, found: str, *, met: bool) -> Goal:
    """A goal of something that was counted."""
    return Goal(name, wanted, found, met, counted=True)


def measured(name: str, side: Side, bound: float, turns: Turns, form: Callable[[float], str]) -> Goal:
    """A goal of one figure with a bound; the best turn is held against it."""
    best = turns.low if side == "at most" else turns.high
    met = best <= bound if side == "at most" else best >= bound
    return _judged(name, f"{side} {form(bound)}", turns.shown(form, best=best), [turns], met=met)


def compared(name: str, side: Side, bound: float, ours: Turns, other: Turns) -> Goal:
    """A goal of ours divided by another side's, which took turns with it: the best of each are divided.

    The spread that is shown is that of each turn's own ratio.
    """
    best = ours.low / other.low if side == "at most" else ours.high / other.high
    each = Turns(tuple(one / beside for one, beside in zip(ours.values, other.values, strict=True)))
    met = best <= bound if side == "at most" else best >= bound
    found = each.shown(_times, best=best)
    return _judged(name, f"{side} {_times(bound)}", found, [ours, other], met=met)


def disturbed(goals: Sequence[Goal], stolen: float) -> tuple[Goal, ...]:
    """The goals, of which those that were measured are not judged where others took too much of the machine's time."""
    if stolen <= MOST_STOLEN:
        return tuple(goals)
    why = f"{100 * stolen:.0f} % of the machine's time was stolen"
    return tuple(one if one.counted or one.met is None else replace(one, met=None, why=why) for one in goals)


def _judged(name: str, wanted: str, found: str, sides: Sequence[Turns], *, met: bool) -> Goal:
    apart = max(side.apart for side in sides)
    if apart > MOST_APART:
        return Goal(name, wanted, found, None, f"the turns lie {apart:.1f} times apart")
    return Goal(name, wanted, found, met)


def _times(value: float) -> str:
    return f"{value:.2f} x"


def seconds(value: float) -> str:
    """Seconds as they are shown."""
    return f"{value:.2f} s"


def milliseconds(value: float) -> str:
    """Seconds, shown as thousandths."""
    return f"{1000 * value:.2f} ms"


def number(value: float) -> str:
    """A number without a fraction."""
    return f"{value:,.0f}"
