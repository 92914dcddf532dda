"""JSON: one object per line, an array of objects, or a list within an object; nested fields are named with dots."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import msgspec
import polars as pl

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster.forms.table import MAX_COLUMNS, MAX_ROW, BadRow, Table, header, without_blanks
from provisioner.roster.naming import is_name, listed
from provisioner.roster.values import Note

#: Rows that are held as objects at once; a table of them takes a tenth of the room.
_BATCH: Final = 20_000
#: How deep a list is looked for that `roster.records` may name.
_DEPTH: Final = 4
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def read_json(text: bytes, name: str, records: str | None, key_names: Collection[str]) -> Table:
    """The rows of UTF-8 text that begins as JSON; a field that an object lacks is an empty cell.

    The line of a row is that in which its object begins. Where several begin in one line, rows are counted instead.

    Args:
        records: where the list is, such as ``data.employees``; None: the text is an array, or has an object per line.
        key_names: the names of the key, by which a person is told from an object around a list of them.

    Raises:
        RosterError: no object is found, the fields' names are unusable, or the list has to be named.
        ConfigurationError: there is no list at `records`.
    """
    if records is not None:
        return _listed(_at(text, records, name), text, name)
    if text.lstrip()[:1] == b"[":
        return _listed(_array(text, name), text, name)
    places = lists_in(text)
    table = None if places is None else _by_lines(text, name) if _is_lines(text) else None
    if places and (table is None or not set(key_names).intersection(table.columns)):
        raise RosterError(
            f"{name} is one JSON object around its rows.",
            remedy=f"Set `roster.records: {places[0]}`" + (f" (or {', '.join(places[1:4])})." if places[1:] else "."),
        )
    return table or _by_lines(text, name)


def _is_lines(text: bytes) -> bool:
    """Whether the first line that is not blank is an object of its own."""
    begin = text.lstrip()
    try:
        _OBJECT.decode(begin[: begin.find(b"\n") + 1 or len(begin)])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def lists_in(text: bytes) -> list[str] | None:
    """The places of lists of objects within a text that is one JSON object; None if it is no object."""
    try:
        top = _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    found: list[str] = []
    level = [(field, raw) for field, raw in top.items()]
    for _ in range(_DEPTH):
        deeper: list[tuple[str, msgspec.Raw]] = []
        for path, raw in level[:MAX_COLUMNS]:
            begin = bytes(memoryview(raw)[:64]).lstrip()
            if begin.startswith(b"[") and begin[1:].lstrip()[:1] in (b"{", b""):
                found.append(path)
            elif begin.startswith(b"{"):
                try:
                    deeper += [(f"{path}.{field}", one) for field, one in _OBJECT.decode(raw).items()]
                except (msgspec.DecodeError, RecursionError):
                    continue
        level = deeper
    return [path for path in found if is_name(path)]


def _at(text: bytes, records: str, name: str) -> list[msgspec.Raw]:
    """The elements of the list at a path."""
    raw: bytes | msgspec.Raw = text
    walked: list[str] = []
    try:
        for field in records.split("."):
            fields = _OBJECT.decode(raw)
            if field not in fields:
                names = [one for one in fields if is_name(one)]
                where = f" in {'.'.join(walked)}" if walked else ""
                raise ConfigurationError(
                    f"roster.records: {name} has no {field!r}{where}.",
                    remedy=f"It has: {listed(names, len(fields))}." if names else "Look whether it is the right file.",
                )
            raw = fields[field]
            walked.append(field)
        return _LIST.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        what = f"{'.'.join(walked)} is no list of objects" if walked else "the text is no whole JSON object"
        raise RosterError(
            f"{name}: {what}.", remedy="Fix roster.records, or export the roster again if it was cut off."
        ) from None


def _array(text: bytes, name: str) -> list[msgspec.Raw]:
    try:
        return _LIST.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise RosterError(
            f"{name} begins like a JSON array, but is no whole one.", remedy="Export it again; it may be cut off."
        ) from None


def _listed(elements: list[msgspec.Raw], text: bytes, name: str) -> Table:
    lines = _lines_of(elements, text)
    spread = all(one < other for one, other in pairwise(lines))
    numbers: Iterable[int] = lines if spread else range(1, len(elements) + 1)
    notes = () if spread else (Note("Several objects are in one line, so rows are counted instead of lines."),)
    return _table(zip(numbers, (bytes(one) for one in elements), strict=True), name, notes)


def _lines_of(elements: Iterable[msgspec.Raw], text: bytes) -> list[int]:
    lines: list[int] = []
    place, line = 0, 1
    for element in elements:
        # Nothing but commas and space is between an element and the next
        begin = text.index(bytes(element), place)
        line += text.count(b"\n", place, begin)
        lines.append(line)
        line += bytes(element).count(b"\n")
        place = begin + len(element)
    return lines


def _by_lines(text: bytes, name: str) -> Table:
    return _table(
        ((number, line) for number, line in enumerate(text.replace(b"\r\n", b"\n").split(b"\n"), 1) if line.strip()),
        name,
    )


def _table(objects: Iterable[tuple[int, bytes]], name: str, notes: tuple[Note, ...] = ()) -> Table:
    columns: dict[str, None] = {}
    bad: list[BadRow] = []
    lines: list[int] = []
    rows: list[dict[str, str | None]] = []
    parts: list[pl.DataFrame] = []

    def settle() -> None:
        schema = {**dict.fromkeys(dict.fromkeys(field for row in rows for field in row), pl.String)}
        if schema:
            parts.append(pl.DataFrame(rows, schema=schema))
        elif rows:
            parts.append(pl.DataFrame({"": [None] * len(rows)}, schema={"": pl.String}))
        rows.clear()

    for number, text in objects:
        try:
            row = _row(text)
        except _BadRowError as exc:
            bad.append(BadRow(number, None, str(exc)))
            continue
        columns.update(dict.fromkeys(row))
        if len(columns) > MAX_COLUMNS:
            raise RosterError(f"{name}, line {number}: there are more than {MAX_COLUMNS} different fields.")
        rows.append(row)
        lines.append(number)
        if len(rows) == _BATCH:
            settle()
    settle()
    if not columns:
        raise RosterError(f"{name}: no line is a JSON object with fields.", remedy="Write one object per line, or CSV.")
    names = header(list(columns), name, lines[0])
    frame = pl.concat(parts, how="diagonal").select(list(columns))
    frame.columns = list(names)
    frame = frame.with_columns(pl.Series("_line", lines, dtype=pl.Int64))
    return Table(names, without_blanks(frame, names), bad, notes=notes)


class _BadRowError(ValueError):
    """An object that is no row; says why."""


#: JSON can spell half of a character outside the basic plane; no text holds one.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _row(text: bytes) -> dict[str, str | None]:
    if len(text) > 4 * MAX_ROW or len(text.decode()) > MAX_ROW:
        raise _BadRowError(f"the row is longer than {MAX_ROW} characters")
    try:
        # Numbers keep their spelling: 007.10 must not lose anything on the way
        document = json.loads(text, parse_int=str, parse_float=str, parse_constant=_nothing, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise _BadRowError(str(exc) if isinstance(exc, _BadRowError) else "it is no JSON object") from None
    if not isinstance(document, dict):
        raise _BadRowError("it is no JSON object")
    row: dict[str, str | None] = {}
    for field, value in _flat(document):
        if field in row:
            raise _BadRowError("a field occurs in it twice")
        row[field] = _cell(field, value)
        if len(row) > MAX_COLUMNS:
            raise _BadRowError(f"it has more than {MAX_COLUMNS} fields")
    if b"\\u" in text and any(_SURROGATE.search(word) for pair in row.items() for word in pair if word):
        raise _BadRowError("it holds half of a character, which is no text")
    return row


def _nothing(_: str) -> None:
    """NaN and Infinity, which are no JSON, say nothing."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _BadRowError("a field occurs in it twice")
    return fields


def _flat(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every single value with its name: those of objects by dots, those of lists by their place from 0."""
    # Not by recursion: what is nested deeply is somebody's mischief
    waiting: list[tuple[str, Any]] = list(reversed(document.items()))
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{field}", one) for field, one in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{name}.{place}", one) for place, one in reversed(list(enumerate(value)))]
        else:
            yield name, value


def _cell(field: str, value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    text = str(value)
    try:
        f"{field}{text}".encode()
    except UnicodeEncodeError:
        what = f"the field {field!r}" if is_name(field) else "a field"
        raise _BadRowError(f"{what} holds half a character") from None
    return text
