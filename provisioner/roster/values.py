"""What the roster is on its way: frozen values, handed from step to step."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import polars as pl

from provisioner.expressions.evaluation import beyond_ascii
from provisioner.expressions.misses import MISSED

#: The column of how people are shown to people; it may be missing.
LABEL: Final = "_label"
#: Columns that we add; a roster may not have them.
RESERVED: Final = frozenset(
    {
        *("_key", "_line", "_verdict", "_row_verdict", "_starts", "_ends", "_absent_snapshots", "_absent_since"),
        *("_digest", LABEL, MISSED),
    }
)

#: Signs without width: zero-width space and joiners, word joiner, byte-order mark, soft hyphen.
INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]")


@dataclass(frozen=True, slots=True)
class Source:
    """One writing of the roster.

    `name` is what operators see, without credentials. `written` is the identity of this writing: reading the same file
    again gives the same. `modified` is UTC, None where nobody knows. `digest` is ``sha256:…`` of the content.
    `unchanged`: the writing was known already, so `content` was not brought and is empty. `doubt` says why some people
    may be missing in it, though it is whole.
    """

    name: str
    content: bytes = field(repr=False)
    written: str
    modified: datetime | None
    digest: str
    unchanged: bool = False
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What was skipped, guessed or looked odd in a whole file; `remedy` where somebody should do something about it.

    `example` is a cell of it. It may hold personal data, so it is shown to somebody who looks and never kept.
    """

    message: str
    remedy: str | None = None
    example: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that is not believed.

    `line` is where it begins in the file, counted from 1. `key` is None if it cannot be read. `value` is shown only for
    the columns of key and dates, since others hold personal data.
    """

    line: int
    key: str | None
    column: str | None
    value: str | None
    reason: str

    def __str__(self) -> str:
        who = f" ({self.key})" if self.key else ""
        what = f" {self.column}:" if self.column else ""
        shown = f" {self.value!r}" if self.value is not None else ""
        return f"line {self.line}{who}:{what}{shown} {self.reason}"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A look-up's file: how many rows it has, and its digest."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Read:
    """The rows of a roster, as text.

    `frame` has the file's columns in their order and the derived ones, all text with an empty cell as null, and `_line`
    (Int64) and `_key` (trimmed, NFC); where a look-up has no hit `MISSED`, too. `rows` counts every row of the file,
    blank ones aside. `rejects` are rows that nobody can believe; `doubts` (columns `_line`, `column`, `reason`) are
    cells that spoil the row of anybody but a leaver. `present` are the keys of rejected rows: these people are there,
    unchanged. `unreadable_keys`: some rejected row hides its key. `notes` say what was skipped, guessed or not found;
    `encoding` is that of the text, none where nothing tells; `tables` are the files of look-ups.
    """

    frame: pl.DataFrame
    rejects: tuple[Reject, ...]
    columns: tuple[str, ...]
    rows: int
    unreadable_keys: bool
    present: frozenset[str]
    doubts: pl.DataFrame
    notes: tuple[Note, ...] = ()
    encoding: str | None = None
    tables: Mapping[str, TableFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class People:
    """Everyone whose row is believed, one row each.

    `frame` has `_key`, `_line`, the roster's columns, `_verdict` (employed, leaver, excluded, future), `_starts` and
    `_ends` (dates or null). `rejects` holds the rejected rows of `Read` and those that were rejected since. `unknown`
    are people of whom `exclude` says neither yes nor no: nothing changes for them, and they do not count as rejected.
    `present` are the keys of both. `renamed` maps an earlier key to the present one. `advice` are sentences about whole
    columns that were read wrong, with the setting to change; `notes`, `encoding` and `tables` are those of `Read`.
    """

    frame: pl.DataFrame
    rejects: tuple[Reject, ...]
    unknown: tuple[Reject, ...]
    columns: tuple[str, ...]
    rows: int
    unreadable_keys: bool
    present: frozenset[str]
    renamed: dict[str, str]
    advice: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    encoding: str | None = None
    tables: Mapping[str, TableFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a roster is believed; `reasons` are sentences with their numbers."""

    status: Literal["clean", "degraded", "rejected"]
    reasons: tuple[str, ...] = ()


def clean_name(text: str) -> str:
    """A key or a column's name without what nobody can see: surrounding space, zero-width signs; NFC."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).strip()


def clean_names(column: pl.Series) -> pl.Series:
    """`clean_name` for a whole column; the empty text is null."""
    cleaned = column.str.strip_chars()
    rows = beyond_ascii(column).arg_true()
    if rows.len():
        visible = column.gather(rows).str.replace_all(f"[{INVISIBLE}]", "")
        cleaned = cleaned.scatter(rows, visible.str.normalize("NFC").str.strip_chars())
    empty = cleaned == ""
    return cleaned.set(empty, None) if empty.any() else cleaned
