"""What to do about an outcome. Pure: the same outcome, count and age give the same decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from provisioner.errors import UNEXPECTED
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear

_BASE: Final = 2.0
_CAP: Final = 900.0
#: Codes by which a whole batch may be refused because of one row.
_POISON: Final = frozenset({"bad_request", "invalid", "too_large", "conflict", "refused"})
#: More than fit into a day of waiting, so that the time decides unless someone sets it much longer.
MAX_TRIES: Final = 250
#: The code of what failed in a way that nobody thought of, and the tries of it: the same program fails so again.
MOST_UNEXPECTED: Final = 6


@dataclass(frozen=True, slots=True)
class Succeed:
    """Record success."""

    done: Done


@dataclass(frozen=True, slots=True)
class Fail:
    """Record failure; a person must look."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Park:
    """Try again in `seconds`. `unclear`: it may have been done. `spend`: the try counts."""

    seconds: float
    code: str
    message: str
    unclear: bool = False
    spend: bool = True
    unreached: bool = False


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Stop writing to the target until its credentials are fixed."""

    code: str
    message: str


Decision = Succeed | Fail | Park | Quarantine


def backoff(tries: int, chance: float) -> float:
    """Seconds until the next try: full jitter over a span that doubles with each, up to 15 minutes.

    Args:
        tries: how many there were, from 1 on.
        chance: a random number from 0 to 1.
    """
    span = min(_CAP, _BASE * 2.0 ** min(tries, 20))
    return max(0.2, span * chance)


def _most(code: str) -> int:
    return MOST_UNEXPECTED if code == UNEXPECTED else MAX_TRIES


def decide(outcome: Outcome, *, tries: int, age: float, patience: float, chance: float) -> Decision:
    """Decide about one operation.

    Args:
        tries: how often it was sent, this time included.
        age: seconds since it was first sent.
        patience: seconds after which a temporary failure counts as lasting (`retry.for`).
        chance: a random number from 0 to 1, for the back-off.
    """
    match outcome:
        case Done():
            return Succeed(outcome)
        case Permanent(code, message):
            return Fail(code, message)
        case Unauthorised(message, code):
            return Quarantine(code, message)
        case Temporary(code, message, delay, limited, unreached):
            if limited:
                return Park(delay if delay is not None else 1.0, code, message, spend=False)
            if age >= patience or tries >= _most(code):
                return Fail(code, f"{message}; given up after {tries} tries in {age / 3600:.1f} h")
            wait = max(delay or 0.0, backoff(tries, chance))
            return Park(wait, code, message, unreached=unreached, spend=not unreached)
        case Unclear(code, message):
            if age >= patience or tries >= _most(code):
                return Fail(code, f"{message}; unclear whether it was done, given up after {tries} tries")
            return Park(backoff(tries, chance), code, message, unclear=True)


def is_poisoned(outcomes: list[Outcome], tries: int) -> bool:
    """Whether a batch failed as one in a way that one bad row may have caused, so that it is worth halving."""
    if len(outcomes) < 2 or any(outcome != outcomes[0] for outcome in outcomes):
        return False
    first = outcomes[0]
    if isinstance(first, Permanent):
        return first.code in _POISON
    # A row may also make the vendor, or us, stumble: after two tries of the whole, look which one it is
    if isinstance(first, Temporary):
        return first.code == UNEXPECTED and tries >= 2
    return isinstance(first, Unclear) and first.code in ("server_error", UNEXPECTED) and tries >= 2
