"""Names of columns that SQL takes for something else: ``E-Mail`` is a subtraction to it, ``Work Email`` two words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from provisioner.expressions.tokens import FUNCTIONS, KEYWORDS

_QUOTED: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`""")
#: A name that needs no quotes: that of a column with dots in it.
_DOTTED: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
#: Words joined by a sign without space, words that begin with digits, and words side by side.
_SUSPECTS: Final = (
    re.compile(r"\w+(?:[-/#&.%+]\w+)+[#%]?"),
    re.compile(r"[^\W\d]\w*[#%?!]"),
    re.compile(r"(?<!\w)\d+[^\W\d]\w*"),
    re.compile(r"[^\W\d]\w*(?: \w+)+"),
)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A name in an expression, the column that it probably is, and the expression with that in quotes."""

    name: str
    column: str
    mended: str


def suspect(text: str, columns: Collection[str] | None) -> Suspect | None:
    """The first name in an expression that should probably be in double quotes.

    Args:
        columns: the known ones, of which it has to be one; None: any name will do.
    """
    known = None if columns is None else {re.sub(r"\s+", " ", one).strip().lower(): one for one in columns}
    for start, name in _found(_QUOTED.sub(lambda found: "\0" * len(found[0]), text)):
        column = name if known is None else known.get(name.lower())
        if column is not None:
            quoted = column.replace('"', '""')
            return Suspect(name, column, f'{text[:start]}"{quoted}"{text[start + len(name) :]}')
    return None


def _found(bare: str) -> Iterator[tuple[int, str]]:
    for pattern in _SUSPECTS:
        for match in pattern.finditer(bare):
            words = re.findall(r"\w+", match[0])
            if (
                _DOTTED.fullmatch(match[0])
                or any(word.upper() in KEYWORDS for word in words)
                or all(word.isdecimal() for word in words)
            ):
                continue
            if bare[match.end() :].lstrip().startswith("(") and words[-1].upper() in FUNCTIONS:
                continue
            yield match.start(), match[0]
