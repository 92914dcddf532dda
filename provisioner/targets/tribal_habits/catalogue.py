"""Topics, articles and pathways: what an enrolment code means, and whether it means anything.

A code is the item's own (``TH-4-77``, pathways ``THP-4-22``: `code` in the catalogue) with one word added that says
what to do, as in ``TH-4-77-NEW``. Source: pages "Topics and Articles", "Pathways" and "Enrolments" of the Public API
V1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from provisioner.settings.nearest import nearest
from provisioner.targets.http import Http
from provisioner.targets.tribal_habits.pages import read_all

What = Literal["topic", "pathway"]


def own_code(code: str) -> str:
    """The item's own code within an enrolment code."""
    return code.rpartition("-")[0]


def word(code: str) -> str:
    """The word of an enrolment code that says what to do."""
    return code.rpartition("-")[2].upper()


def what_is(code: str) -> What:
    """Which of the two lists of the catalogue a code belongs to."""
    return "pathway" if code.upper().startswith("THP-") else "topic"


class Catalogue:
    """The items by code. An item's code is its own for good, so what was found once is not read again."""

    def __init__(self) -> None:
        self._ids: dict[str, Any] = {}

    async def item(self, http: Http, code: str) -> Any:
        """The id of the item that an enrolment code means, None if there is no such item.

        Raises:
            TargetError: the catalogue could not be read.
        """
        own = own_code(code).lower()
        if own not in self._ids:
            await self._read(http, what_is(code))
        return self._ids.get(own)

    async def unknown(self, http: Http, codes: Iterable[str]) -> tuple[str, ...]:
        """A sentence for every code that means nothing, with the nearest one that does.

        Raises:
            TargetError: the catalogue could not be read.
        """
        sentences = []
        for code in dict.fromkeys(codes):
            if await self.item(http, code) is None:
                known = {f"{own.upper()}-{word(code)}" for own in self._ids}
                sentences.append(
                    f"The portal has no {what_is(code)} for the enrolment code {code}{nearest(code, known)}."
                )
        return tuple(sentences)

    async def _read(self, http: Http, what: What) -> None:
        for record in await read_all(http, f"/papi/{what}s"):
            own = record.get("code")
            if isinstance(own, str) and own and record.get("id") is not None:
                self._ids[own.lower()] = record["id"]
