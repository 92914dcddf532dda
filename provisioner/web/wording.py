"""What to do about an error, for whoever reads a page: where a command or the API was named, the page is."""

from __future__ import annotations

import re
from typing import Final

#: What a remedy says to programs and on the command line, and what the page has for it.
_ON_PAGE: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"(GET /api/runs|`provisioner runs`) lists them\."), "The page Runs lists those that are kept."),
    (
        re.compile(r"`provisioner show \S+ --operations` lists (them|whom it changed)\."),
        "The operations on the run's page have them.",
    ),
    (re.compile(r"Give its file: provisioner sync --plan FILE; or plan again\."), "Plan again."),
)
#: Where to go on from an address that failed, by what it begins with.
_PLACES: Final = (("/runs", "All runs"), ("/people", "People"), ("/targets", "Targets"), ("/inbound", "Events"))


def for_people(remedy: str | None) -> str | None:
    """A remedy as a page says it."""
    if remedy is None:
        return None
    for pattern, said in _ON_PAGE:
        remedy = pattern.sub(said, remedy)
    return remedy


def places_after(path: str) -> list[tuple[str, str]]:
    """Where to go on after an error at a path: (address, what it is called)."""
    found = [(place, name) for place, name in _PLACES if path.startswith(f"{place}/")]
    return [*found, ("/", "Overview")]
