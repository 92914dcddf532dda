"""The one tree of errors.

::

    ProvisionerError                exit 1   anything that we raise on purpose
    ├── UsageError                  exit 2   a command asked for something that does not exist
    │   └── ConfigurationError      exit 2   a setting or an expression is wrong
    ├── UnexpectedError             exit 1   an exception that nobody thought of
    ├── StoreError                  exit 1   Redis unreachable, unsuitable, or its data is of another version
    │   ├── RedisBehindError        exit 1   Redis was put back to an earlier state
    │   ├── OtherDeploymentError    exit 2   data_dir belongs to a deployment with another Redis
    │   ├── StoreRefusedError       exit 1   Redis is full, a replica, or refuses our credentials
    │   ├── HoldLostError           exit 1   a lock ran out while its holder was suspended
    │   └── ClaimLostError          exit 1   an operation's lease ran out while its holder was suspended
    ├── WorkerError                 exit 1   no worker answers
    ├── RosterError                 exit 3   the roster is rejected as a whole
    ├── TargetError                 exit 5   a target refused, failed or is not believed
    │   ├── UnauthorisedError                credentials refused
    │   ├── UnreachableError                 no answer: name, connection, TLS, deadline
    │   ├── MalformedAnswerError             an answer that is not what the vendor's text promises
    │   ├── OriginError                      the ledger is about another product or account
    │   └── ListingError                     a listing that is incomplete or not believed
    └── ReadOnlyError               exit 1   a write was tried beneath `plan`

Every error carries a stable ``code`` (for machines), a sentence that names the person, target or setting it is
about, and, where there is one, the ``remedy``: what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

_cleaned: Callable[[str], str] = str


def clean_messages(by: Callable[[str], str]) -> None:
    """Let every message pass through a function, which takes out what nobody may read: it may quote a file."""
    global _cleaned
    _cleaned = by


class ProvisionerError(Exception):
    """Something went wrong that we can explain."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None, *, remedy: str | None = None) -> None:
        self.message = _cleaned(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.remedy = _cleaned(remedy) if remedy else remedy
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class UsageError(ProvisionerError):
    """The command names something that does not exist."""

    code = "usage"
    exit_code = 2


class ConfigurationError(UsageError):
    """A setting is wrong."""

    code = "configuration"


#: The code of whatever nobody thought of: of an error, and of what an operation failed with.
UNEXPECTED: Final = "unexpected"


class UnexpectedError(ProvisionerError):
    """Something went wrong that nobody thought of."""

    code = UNEXPECTED


class StoreError(ProvisionerError):
    """Redis cannot be used."""

    code = "store"


class RedisBehindError(StoreError):
    """Redis holds an earlier state than this process has seen."""

    code = "redis_behind"


class StoreRefusedError(StoreError):
    """Redis answers, and refuses what is asked: it is full, a replica, cannot save, or wants other credentials."""

    code = "store_refused"

    def __init__(self, message: str | None = None, *, remedy: str | None = None, state: str = "") -> None:
        """
        Args:
            state: why, as the rest of a sentence that begins with Redis; it names no address.
        """
        self.state = state
        super().__init__(message, remedy=remedy)


class OtherDeploymentError(StoreError):
    """The folder in `data_dir` belongs to a deployment with another Redis."""

    code = "other_deployment"
    exit_code = 2


class HoldLostError(StoreError):
    """A lock ran out while its holder was suspended; somebody else may have it."""

    code = "hold_lost"


class ClaimLostError(StoreError):
    """The lease of an operation ran out while its holder was suspended; somebody else may send it."""

    code = "claim_lost"


class WorkerError(ProvisionerError):
    """No worker answers."""

    code = "no_worker"


class RosterError(ProvisionerError):
    """The roster is rejected; nothing is sent."""

    code = "roster_rejected"
    exit_code = 3


class TargetError(ProvisionerError):
    """A target failed."""

    code = "target_failed"
    exit_code = 5

    def __init__(self, target: str, message: str, *, remedy: str | None = None) -> None:
        self.target = target
        super().__init__(f"{target}: {message}", remedy=remedy)


class UnauthorisedError(TargetError):
    """The target refused our credentials."""

    code = "unauthorised"


class UnreachableError(TargetError):
    """The target did not answer."""

    code = "unreachable"


class MalformedAnswerError(TargetError):
    """The target's answer is not what its documentation promises."""

    code = "malformed_answer"


class ListingError(TargetError):
    """The target's listing is incomplete or not believed."""

    code = "listing_incomplete"


class OriginError(TargetError):
    """The ledger belongs to another product or account than the settings name."""

    code = "origin_differs"


class ReadOnlyError(ProvisionerError):
    """A write was tried where only reading is allowed."""

    code = "read_only"
