"""What every stand-in offers: routes, admission, its own error body, and its state for the switchboard."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic

from provisioner.sandbox.options import OptionsT
from provisioner.sandbox.webhooks import Sender
from provisioner.sandbox.wire import Answer, Call, RefusedError, Route


class Vendor(ABC, Generic[OptionsT]):
    """One stand-in of one vendor with its own state.

    `name` is the instance's name (`tribal_habits-west`), `options` may be replaced at any time.
    """

    kind: ClassVar[str]
    listings: ClassVar[frozenset[str]] = frozenset()
    """Templates whose GET lists accounts; `listing_latency_ms` delays them."""
    key: ClassVar[str]
    """The field of an account's read form that `remove` takes."""
    knows_405: ClassVar[bool] = False
    """Whether a known path with another method answers 405; else it answers 404, as an unknown path does."""

    def __init__(self, name: str, options: OptionsT) -> None:
        self.name = name
        self.options = options
        self.webhooks = Sender()
        self.unlisted: frozenset[str] = frozenset()
        """Accounts, by their `key`, that listings do not show yet."""

    @classmethod
    @abstractmethod
    def defaults(cls) -> OptionsT:
        """The options that a new instance begins with."""

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """The endpoints."""

    @abstractmethod
    def admit(self, call: Call) -> None:
        """Checks credentials and headers; raises `RefusedError`."""

    @abstractmethod
    def refusal(self, refusal: RefusedError) -> Answer:
        """A refusal in the vendor's own error form."""

    @abstractmethod
    def rows(self, body: Any) -> int:
        """How many accounts a write with this JSON body is about."""

    @abstractmethod
    def dump(self) -> Mapping[str, Any]:
        """The whole state as JSON values."""

    @abstractmethod
    def seed(self, accounts: Sequence[Mapping[str, Any]], now: datetime) -> int:
        """Puts accounts, given in the vendor's read form, in place; known ones are overlaid.

        `now` is the time of the change. Nothing is checked but the key. Answers how many; raises `RefusedError`
        400 if a key is missing.
        """

    def act(self, action: str, _given: Mapping[str, Any], _now: datetime) -> Any:
        """Does what a person would do in the product's own pages, and answers what became of it.

        Raises `RefusedError` 400 for an unknown action or what it lacks, 404 for an unknown account.
        """
        raise RefusedError(400, f"unknown action {action!r}")

    @abstractmethod
    def remove(self, key: str) -> None:
        """Takes one account away; raises `RefusedError` 404."""
