"""One request's operations, handed to the target: what may have been done and hurts if done twice is looked up first.

Whatever goes wrong in a target's package is an outcome here, so that it neither stops other work nor repeats for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, get_args

import structlog

from provisioner.errors import UNEXPECTED, TargetError
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Outcome, Permanent, Unclear
from provisioner.runtime.faults import is_fault, log_fault, named
from provisioner.store.queue.operations import Claim
from provisioner.targets.base import Target
from provisioner.targets.capabilities import Confirms
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.responses import as_outcome

log = structlog.get_logger(__name__)

#: Look-ups at once before unclear operations are sent again.
_LOOKUPS: Final = 4
_OUTCOMES: Final = get_args(Outcome)


class Applying:
    """Sends through one target."""

    def __init__(self, made: Target[Any], doubtful: Collection[Kind], stopped: Callable[[], bool]) -> None:
        """Args:
        doubtful: kinds of which even a first sending may be a second one.
        stopped: whether this process was asked to end.
        """
        self._made, self._doubtful, self._stopped = made, doubtful, stopped

    async def send(self, http: Http, claims: Sequence[Claim]) -> list[Outcome]:
        """What became of each operation, in its place."""
        places = [place for place, claim in enumerate(claims) if self._hurts_again(claim)]
        looked = await each(places, lambda place: self._confirm(http, claims[place].operation), limit=_LOOKUPS)
        outcomes = {place: found for place, found in zip(places, looked, strict=True) if found is not None}
        rest = [place for place in range(len(claims)) if place not in outcomes]
        if rest:
            outcomes |= zip(rest, await self._write(http, [claims[place].operation for place in rest]), strict=True)
        return [outcomes[place] for place in range(len(claims))]

    async def _write(self, http: Http, operations: Sequence[Operation]) -> Sequence[Outcome]:
        name = self._made.name
        try:
            written = await self._made.write(http, operations)
            if len(written) == len(operations) and all(isinstance(one, _OUTCOMES) for one in written):
                return written
        except TargetError as exc:
            return [Unclear(exc.code, exc.message)] * len(operations)
        except BaseException as exc:
            if not is_fault(exc, stopping=self._stopped()):
                raise
            # An answer of a kind that nobody thought of must not stop the others, and is not known to be a refusal
            log_fault("send_failed", exc, target=name, person=operations[0].person, count=len(operations))
            return [Unclear(UNEXPECTED, f"{name}: sending ended with {named(exc)}")] * len(operations)
        log.error("outcomes_malformed", target=name, person=operations[0].person, count=len(operations))
        return [Unclear(UNEXPECTED, f"{name}: its package did not say what became of each operation")] * len(operations)

    def _hurts_again(self, claim: Claim) -> bool:
        kind = claim.operation.kind
        hurts = isinstance(self._made, Confirms) and kind in self._made.hurts_twice
        return hurts and (claim.unclear or kind in self._doubtful)

    async def _confirm(self, http: Http, operation: Operation) -> Outcome | None:
        if not isinstance(self._made, Confirms):
            return None
        try:
            return await self._made.confirm(http, operation)
        except TargetError as exc:
            # A refused look-up says nothing lasting about the operation itself
            outcome = as_outcome(exc)
            return Unclear(outcome.code, outcome.message) if isinstance(outcome, Permanent) else outcome
        except BaseException as exc:
            if not is_fault(exc, stopping=self._stopped()):
                raise
            log_fault("look_up_failed", exc, target=self._made.name, person=operation.person)
            return Unclear(UNEXPECTED, f"{self._made.name}: looking whether it was done ended with {named(exc)}")
