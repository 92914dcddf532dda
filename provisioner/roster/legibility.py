"""Whether text is what people wrote: signs that a wrong encoding left, and texts that changed their encoding. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.expressions.evaluation import beyond_ascii
from provisioner.roster.forms.table import BEYOND, Table
from provisioner.roster.values import Note

#: The sign that programs put where they could not read a letter.
LOST: Final = "\ufffd"
#: Encodings that UTF-8 is read in by mistake, with the names that people know them by.
_MISREAD: Final = {
    "cp1252": "Windows-1252",
    "mac_roman": "Mac Roman",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "cp850": "code page 850",
    "cp437": "code page 437",
}


def _pairs() -> str:
    """A pattern of what each of these encodings makes of the first two bytes of a letter in UTF-8.

    It finds texts that may be misread, some hundred times faster than asking each.
    """
    found = []
    for encoding in _MISREAD:
        leads, others = (
            "".join(sorted({sign for byte in part if (sign := bytes([byte]).decode(encoding, errors="ignore"))}))
            for part in (range(0xC2, 0xF5), range(0x80, 0xC0))
        )
        if encoding == "cp1252":
            others += "\x81\x8d\x8f\x90\x9d"
        found.append(f"[{re.escape(leads)}][{re.escape(others)}]")
    return "|".join(found)


_MAYBE: Final = _pairs()
_WORD: Final = re.compile(r"[^\x00-\x7f]{2,}")
#: What a text keeps when its encoding is mistaken; lost letters may be question marks.
_NOT_KEPT: Final = r"[^\x00-\x7f]|\?"
_MAX_SHOWN: Final = 40
#: Texts of people that changed in nothing but their letters beyond ASCII: at least so many, and every so-manieth.
_LEAST_CHANGED: Final = 2
_CHANGED_SHARE: Final = 0.5
_GARBLED_SHARE: Final = 0.1


def misread(text: str) -> str | None:
    """In which encoding UTF-8 was read to give this text; None if it looks like what somebody wrote.

    Every run of letters beyond ASCII has to be UTF-8 in it, which no real name is.
    """
    runs = _WORD.findall(text)
    if not runs or any(sign > "\x7f" for sign in _WORD.sub("", text)):
        return None
    for encoding, name in _MISREAD.items():
        try:
            if all(_bytes(run, encoding).decode("utf-8") for run in runs):
                return name
        except UnicodeError:
            continue
    return None


def _bytes(run: str, encoding: str) -> bytes:
    """The bytes of a text; those that Windows-1252 has no sign for stay as they are, as browsers have it."""
    return b"".join(
        bytes([ord(sign)]) if encoding == "cp1252" and "\x80" <= sign <= "\x9f" else sign.encode(encoding)
        for sign in run
    )


@dataclass(frozen=True, slots=True)
class _Hit:
    """The first cell of a sort, by its line, and how many there are."""

    line: int
    column: str
    cell: str
    count: int

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}"

    def note(self, message: str, remedy: str) -> Note:
        """What is to be said about it, with the cell for somebody who looks."""
        return Note(message, remedy, f"{self.cell[:_MAX_SHOWN]!r}")


def legibility_notes(table: Table, name: str) -> tuple[Note, ...]:
    """What to say about a guessed encoding and about cells that a wrong one spoilt.

    The first cell that is concerned comes along, so that somebody sees whether the guess is right.
    """
    if BEYOND in table.lacks:
        return ()
    guess = table.guess
    special = table.frame.select(beyond_ascii(pl.col(one)).any() for one in table.columns).row(0)
    columns = [one for one, hit in zip(table.columns, special, strict=True) if hit]
    if not columns:
        return ()
    told: list[Note] = []
    if guess is not None and (hit := _first(table, columns, None)) is not None:
        others = f"; {' or '.join(guess.others[:3])} would be as plain" if guess.others else ""
        message = (
            f"{name} is no UTF-8, and its encoding was guessed: {guess.encoding}, in which its words look plainest"
            f"{others}. The first text that this touches is in {hit}."
        )
        remedy = f"Set `roster.encoding: {guess.encoding}` if that is right, else the right one, or export it as UTF-8."
        told.append(hit.note(message, remedy))
    if (hit := _first(table, columns, _MAYBE, lambda cell: misread(cell) is not None)) is not None:
        looks = f"{_cells(hit.count)} like UTF-8 read as {misread(hit.cell)} and written again"
        told.append(hit.note(f"{name}: {looks}; the first is in {hit}.", "Let the export be written once, as UTF-8."))
    if (hit := _first(table, columns, LOST)) is not None:
        looks = f"{_cells(hit.count)} as if letters had been lost before the file was written"
        told.append(hit.note(f"{name}: {looks}; the first is in {hit}.", "Let the export be written as UTF-8."))
    return tuple(told)


def _cells(count: int) -> str:
    return "a cell looks" if count == 1 else f"{count} cells look"


def _first(
    table: Table, columns: list[str], pattern: str | None, wanted: Callable[[str], bool] | None = None
) -> _Hit | None:
    """The first cell beyond ASCII that a pattern finds and that is `wanted`."""
    found: list[_Hit] = []
    for column in columns:
        cells = table.frame.select("_line", column).filter(beyond_ascii(pl.col(column)))
        if pattern is not None:
            cells = cells.filter(pl.col(column).str.contains(pattern))
        if wanted is not None and cells.height:
            verdicts = {cell: wanted(cell) for cell in cells[column].unique()}
            cells = cells.filter(cells[column].replace_strict(verdicts, return_dtype=pl.Boolean))
        if cells.height:
            line, cell = cells.row(int(cells["_line"].arg_min() or 0))
            found.append(_Hit(line, column, cell, cells.height))
    if not found:
        return None
    first = min(found, key=lambda hit: hit.line)
    return _Hit(first.line, first.column, first.cell, sum(hit.count for hit in found))


def changed_texts(people: pl.DataFrame, previous: pl.DataFrame) -> str | None:
    """A sentence if the letters beyond ASCII of people changed, and nothing else of their texts; None if not.

    Args:
        people: as of `People`.
        previous: their last clean rows, with `_key` and the roster's columns.
    """
    names = [name for name in people.columns if name in previous.columns and not name.startswith("_")]
    special = previous.select(beyond_ascii(pl.col(name)).any().alias(name) for name in names).row(0, named=True)
    texts = changed = garbled = 0
    example: tuple[int, str] | None = None
    for name in (one for one in names if special[one]):
        before = previous.filter(beyond_ascii(pl.col(name))).select("_key", pl.col(name).alias("was"))
        both = before.join(people.select("_key", "_line", pl.col(name).alias("is")), on="_key").drop_nulls()
        kept = [pl.col(one).str.replace_all(_NOT_KEPT, "") for one in ("was", "is")]
        other = both.filter((pl.col("was") != pl.col("is")) & (kept[0] == kept[1]))
        # A text that was wrong and is right now is no harm
        other = other.filter([not _is_garbled(was) for was in other["was"]])
        bad = other.filter([_is_garbled(now) or "?" in now for now in other["is"]])
        texts, changed, garbled = texts + both.height, changed + other.height, garbled + bad.height
        if other.height and example is None:
            example = (other["_line"][0], name)
    many = changed >= _LEAST_CHANGED and changed >= _CHANGED_SHARE * texts
    if example is None or not (many or garbled > _GARBLED_SHARE * texts):
        return None
    line, column = example
    return (
        f"{changed} of {texts} texts with letters beyond ASCII changed in nothing but these letters, as if the "
        f"encoding of the file had changed; the first is in line {line}, {column}."
    )


def _is_garbled(text: str) -> bool:
    return LOST in text or misread(text) is not None
