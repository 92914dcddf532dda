"""What form a roster has, judged by its first bytes rather than by its name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from provisioner.errors import RosterError
from provisioner.roster.forms.columnar import read_parquet
from provisioner.roster.forms.decoding import decode
from provisioner.roster.forms.delimited import read_delimited
from provisioner.roster.forms.json_rows import lists_in, read_json
from provisioner.roster.forms.layout import Layout
from provisioner.roster.forms.packed import gunzipped, unzipped
from provisioner.roster.forms.refused import check_bytes, check_text
from provisioner.roster.forms.table import Table
from provisioner.roster.forms.workbook import Wanted, read_workbook
from provisioner.roster.named import key_names
from provisioner.roster.values import Source
from provisioner.settings import RosterSettings

#: Largest roster, packed or unpacked, in bytes.
MAX_SIZE: Final = 512 * 1024 * 1024
_BEGINNING: Final = 200
#: Text may begin with a bracket, too, but not so.
_ARRAY: Final = re.compile(r"\[\s*(?:\{|\]|$)")


def parse(source: Source, settings: RosterSettings, needed: Collection[str] | None = None) -> Table:
    """The rows of a roster of any form: delimited text, workbooks, Parquet, JSON, each perhaps packed.

    Args:
        needed: the file's columns that somebody reads; a row that lacks only others is filled up. None: each is needed.

    Raises:
        RosterError: it is none of these, too large, or broken as a whole.
        ConfigurationError: the encoding or the sheet does not exist.
    """
    return _parsed(source.content, source.name, settings, needed)


def records_in(source: Source, settings: RosterSettings) -> list[str]:
    """Where lists of objects are in a roster that is one JSON object; none if it is something else."""
    if source.content[:1].isascii() and source.content.lstrip()[:1] == b"{" and len(source.content) <= MAX_SIZE:
        return lists_in(decode(source.content, settings.encoding).text) or []
    return []


def _parsed(
    content: bytes, name: str, settings: RosterSettings, needed: Collection[str] | None, *, inner: bool = False
) -> Table:
    if content.startswith(b"\x1f\x8b"):
        content = gunzipped(content, name, MAX_SIZE)
        if content.startswith(b"\x1f\x8b"):
            raise RosterError(f"{name} is a gzip file within a gzip file.", remedy="Pack the table once.")
    if not content:
        raise RosterError(f"{name} is empty.", remedy="Export the roster again.")
    if len(content) > MAX_SIZE:
        raise RosterError(f"{name} is larger than {MAX_SIZE // 1024**2} MiB.")
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        unpacked = unzipped(content, name, MAX_SIZE)
        if unpacked is None:
            wanted = Wanted(settings.sheet, key_names(settings), settings.header_row)
            return read_workbook(content, name, wanted, MAX_SIZE)
        if inner:
            raise RosterError(f"{name} is an archive within an archive.", remedy="Give the table inside it.")
        return _parsed(unpacked[0], f"{unpacked[1]} in {name}", settings, needed, inner=True)
    if content.startswith(b"PAR1"):
        return read_parquet(content, name, MAX_SIZE)
    check_bytes(content, name)
    decoded = decode(content, settings.encoding)
    text = decoded.text
    # A character takes four bytes at most, and the last of these may be cut
    beginning = text[: 4 * _BEGINNING].decode(errors="ignore")[:_BEGINNING].lstrip()
    if beginning.startswith("{") or _ARRAY.match(beginning):
        return read_json(text, name, settings.records, key_names(settings))
    check_text(text, name)
    layout = Layout(key_names(settings), needed, settings.delimiter, settings.header_row)
    table = read_delimited(text, name, layout)
    encoding = None if decoded.encoding == "ascii" else decoded.encoding
    return replace(table, encoding=encoding, guess=decoded.guess)
