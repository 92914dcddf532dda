"""Rows as a file of any form gives them, before anybody asks what they mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from provisioner.errors import RosterError
from provisioner.roster.forms.encodings import Guess
from provisioner.roster.values import RESERVED, Note, clean_name

#: Most columns of a roster.
MAX_COLUMNS: Final = 2_000
#: Names may be broken over several lines.
_LINE_BREAKS: Final = re.compile(r"\s*[\r\n\t]+\s*")
#: Before the place (from 1) of a column whose name is not its own alone.
PLACE: Final = "\x1f"
#: Longest row, in characters.
MAX_ROW: Final = 1_048_576
#: What `Table.lacks` may name, so that nobody looks for it in each cell: signs beyond ASCII, white space but the space,
#: the beginning of a spreadsheet's error, and that of a text which spreadsheets are made to leave alone.
BEYOND, CONTROLS, HASH, WRAPPED = "beyond ASCII", "controls", "#", '="'


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that has no proper cells; `key_cell` is the raw key if it is where it must be.

    `cells` are those of a row that ends too early, which are in their columns; of other bad rows nobody knows.
    """

    line: int
    key_cell: str | None
    reason: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """`frame` has the columns as text and `_line`; `bad` are the rows besides it. Blank rows are in neither.

    `marked`: some cell may hold NUL or `UNDECODABLE`. `notes` say what was skipped or looked odd; `encoding` is that of
    the text (none: its form has none, or nothing tells), and `guess` how it was guessed. `delimiter` and `header_line`
    are set where the form has them. `calculated`: a spreadsheet worked the cells out, so that #N/A is an error. `lacks`
    names what no cell holds, as far as the form can tell at once.
    """

    columns: tuple[str, ...]
    frame: pl.DataFrame
    bad: list[BadRow] = field(default_factory=list)
    marked: bool = True
    notes: tuple[Note, ...] = ()
    encoding: str | None = None
    guess: Guess | None = None
    delimiter: str | None = None
    header_line: int | None = None
    calculated: bool = False
    lacks: frozenset[str] = frozenset()


def header(cells: Sequence[str | None], name: str, line: int) -> tuple[str, ...]:
    """The columns' names, cleaned of what nobody sees; those that are there more than once end with their place.

    Raises:
        RosterError: a name is missing, ours or a pattern to polars, or there are too many.
    """
    names = tuple(clean_name(_LINE_BREAKS.sub(" ", cell or "")) for cell in cells)
    if not names:
        raise RosterError(f"{name} has no columns.", remedy="Export the roster again.")
    if len(names) > MAX_COLUMNS:
        raise RosterError(f"{name}: the header has {len(names)} columns; at most {MAX_COLUMNS} are read.")
    empty = [str(index) for index, one in enumerate(names, 1) if not one]
    if empty:
        raise RosterError(
            f"{name}, line {line}: the header has no name for column {', '.join(empty[:10])}.",
            remedy="Name every column, or remove the empty ones.",
        )
    wild = [place for place, one in enumerate(names, 1) if one == "*" or (one.startswith("^") and one.endswith("$"))]
    if wild:
        raise RosterError(
            f"{name}, line {line}: the name of column {wild[0]} matches other columns' names (* or ^…$).",
            remedy="Rename that column.",
        )
    reserved = sorted(RESERVED.intersection(names))
    if reserved:
        raise RosterError(
            f"{name}, line {line}: the column name {reserved[0]!r} is reserved.", remedy="Rename that column."
        )
    doubled = {one for one, count in Counter(names).items() if count > 1}
    # Which is which only `roster.rename` can say, by their places
    return tuple(f"{one}{PLACE}{place}" if one in doubled else one for place, one in enumerate(names, 1))


def without_blanks(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Cells of nothing but space become null; rows of nothing but such cells go."""
    # What begins with another sign of ASCII is not blank, which is seen some four times faster than by stripping
    may_be = frame.select(((pl.col(name) < "!") | (pl.col(name) >= "\x80")).any() for name in columns).row(0)
    frame = frame.with_columns(
        pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name)).alias(name)
        for name, hit in zip(columns, may_be, strict=True)
        if hit
    )
    blank = frame.select(pl.all_horizontal(pl.col(name).is_null() for name in columns)).to_series()
    return frame.filter(~blank) if blank.any() else frame
