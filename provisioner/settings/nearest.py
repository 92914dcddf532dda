"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known name, or nothing if none is near."""
    found = get_close_matches(wrong.lower(), sorted(known, key=str.lower), n=1, cutoff=0.55)
    return f" (did you mean {found[0]!r}?)" if found else ""
