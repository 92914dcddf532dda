"""The texts that an SQL expression spells out as its value: names that a vendor can be asked about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_LITERALS: Final = re.compile(
    r"(?:^|\b(?:THEN|ELSE))\s*'((?:[^']|'')+)'\s*(?=$|\bWHEN\b|\bELSE\b|\bEND\b)", re.IGNORECASE
)


def literals(sql: str) -> Sequence[str]:
    """The names that an expression yields where it spells them out."""
    return [text.replace("''", "'") for text in _LITERALS.findall(sql.strip())]
