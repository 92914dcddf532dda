"""Turns: what must not be done twice at once at a target, such as to read a list there and write it back changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol


class Turn(Protocol):
    """The right to do something that nobody else does at the same time."""

    def keep(self) -> None:
        """Let nobody else have it before its time is over: a request of this turn may still be under way."""


class Turns(Protocol):
    """Where turns come from: one at a time for each name of a target, in the whole deployment."""

    def turn(self, name: str) -> AbstractAsyncContextManager[Turn | None]:
        """A turn for as long as the context lasts; None if others have had it for too long.

        Args:
            name: of what is read and written, within the target.

        Raises:
            StoreError: Redis does not answer.
        """


class Alone:
    """Turns where no other process works at the same target."""

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Turn | None]:  # noqa: ARG002 - the protocol's
        """A turn, at once."""
        yield self

    def keep(self) -> None:
        """Nobody waits for it."""
