"""Which names of a file's columns a message may show: what was read may be no roster, but a file of secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

#: Column names that a message lists, and characters of each.
MAX_LISTED: Final = 40
_MAX_NAME: Final = 60
#: Signs that names of columns have; colons, equals signs, braces and the like belong to settings and keys.
_NAME: Final = re.compile(rf"(?=.*[^\W\d_])(?!\[)[\w .,;#&*%?!/()\[\]'+-]{{1,{_MAX_NAME}}}")
#: A run of letters and digits as keys and tokens have it.
_TOKEN: Final = re.compile(r"(?=[^\s]*\d)(?=[^\s]*[^\W\d_])[^\s]{20,}")


def is_name(text: str) -> bool:
    """Whether a text can be shown as the name of a column."""
    return _NAME.fullmatch(text) is not None and _TOKEN.search(text) is None


def showable(columns: Sequence[str], *, rows: int, bad: int) -> list[str]:
    """The columns' names that may be shown, none if the file does not look like a table.

    Args:
        columns: the names, as the header has them.
        rows: rows that have as many cells as the header; `bad` those that have not.
    """
    names = [one for one in columns if is_name(one)]
    table = len(columns) > 1 and rows > 0 and rows >= bad and 2 * len(names) > len(columns)
    return names if table else []


def listed(names: Sequence[str], total: int) -> str:
    """Names for a message, the first of them written out and the others counted."""
    shown = ", ".join(names[:MAX_LISTED])
    more = total - min(len(names), MAX_LISTED)
    return f"{shown} and {more} more" if more else shown


def quoted(name: str, place: int) -> str:
    """One column for a message: by its name where that may be shown, else by its place (from 1)."""
    return repr(name) if is_name(name) else f"column {place}"
