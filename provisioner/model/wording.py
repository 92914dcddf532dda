"""How sentences for people count things."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what it counts: ``1 row``, ``3 rows``, ``1 person leaves``, ``2 people leave``.

    Args:
        many: of several, where that is more than an s at the end.
    """
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
