"""Email addresses: which texts are none, and which address was probably meant. Pure."""

from __future__ import annotations

import re
from typing import Final

import polars as pl
from anyascii import anyascii

#: An address as mail systems take it: one @, a dot in the domain, no space and none of the signs that end an address.
_EMAIL: Final = r"^[!#-'*+\-./0-9=?A-Z^-~]{1,64}@[A-Za-z0-9.-]+\.[A-Za-z0-9-]{2,}$"
_MAX: Final = 254
_ANYWHERE: Final = re.compile(r"[^\s@<>(),;:\"\[\]]{1,64}@[^\s@<>(),;:\"\[\]_]+\.[^\s@<>(),;:\"\[\]_.]{2,}")


def improper(column: pl.Expr) -> pl.Expr:
    """Which texts are no email address."""
    plain = column.str.strip_chars()
    return ~(plain.str.contains(_EMAIL) & (plain.str.len_bytes() <= _MAX))


def complaint(text: str) -> str:
    """What is wrong with a text that is no email address, and the one that was probably meant."""
    found = [one.strip(".'") for one in _ANYWHERE.findall(text.strip())]
    if len(found) > 1:
        return f"it holds {len(found)} email addresses; {found[0]} was probably meant"
    if not found:
        return "it is no email address"
    if found[0] == text.strip() and not text.isascii():
        return f"it is no email address, since it has letters beyond ASCII; {anyascii(found[0])} was probably meant"
    if not found[0].isascii() or found[0] == text.strip():
        return "it is no email address"
    return f"it is no email address; {found[0]} was probably meant"
