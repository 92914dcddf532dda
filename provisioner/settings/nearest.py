"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known name, whatever its case, or nothing if none is near."""
    by_lower = {name.lower(): name for name in sorted(known, reverse=True)}
    found = get_close_matches(wrong.lower(), sorted(by_lower), n=1, cutoff=0.55)
    return f" (did you mean {by_lower[found[0]]!r}?)" if found else ""
