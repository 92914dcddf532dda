"""The ledger's entries as their JSON in Redis, and what an outcome changes in one."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class LedgerDocument(TypedDict):
    """One link as it lies in Redis, under the person's key; the members are those of `LedgerEntry`."""

    account: str
    state: Literal["active", "left"]
    values: dict[str, str | None]
    created: bool
    matched: str
    owed: dict[str, int]
    enrolled: list[str]
    version: int
    recorded: float
    perhaps: NotRequired[dict[str, list[str]]]
    linked: NotRequired[float]
    makes: NotRequired[int]
    loops: NotRequired[dict[str, list[Any]]]
    left: NotRequired[str]
    step: NotRequired[int]


class LedgerPatch(TypedDict, total=False):
    """What an outcome changes in an entry; what is absent stays. Known-empty values are the empty text.

    `enrolled` are codes to add, `owe` facts whose event is due from now on, and `paid` those whose event was accepted.
    `unkept` are loops to begin (see `planning.rewrite_loops`), of what the answer showed otherwise than it was sent.
    """

    account: str
    state: Literal["active", "left"]
    values: dict[str, str]
    created: bool
    matched: str
    enrolled: list[str]
    owe: dict[str, int]
    paid: list[str]
    makes: int
    left: str
    step: int
    unkept: dict[str, list[Any]]
