"""What form a roster has, judged by its first bytes rather than by its name."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from provisioner.errors import RosterError
from provisioner.roster.forms.columnar import read_json_lines, read_parquet
from provisioner.roster.forms.decoding import decode
from provisioner.roster.forms.delimited import read_delimited
from provisioner.roster.forms.layout import Layout
from provisioner.roster.forms.table import Table
from provisioner.roster.forms.workbook import read_workbook
from provisioner.roster.values import Source
from provisioner.settings import RosterSettings

#: Largest roster, packed or unpacked, in bytes.
MAX_SIZE: Final = 512 * 1024 * 1024
_BEGINNING: Final = 200


def parse(source: Source, settings: RosterSettings, needed: Collection[str] | None = None) -> Table:
    """The rows of a roster of any form: delimited text, .xlsx, Parquet, JSON lines, each perhaps gzipped.

    Args:
        needed: the file's columns that somebody reads; a row that lacks only others is filled up. None: each is needed.

    Raises:
        RosterError: it is none of these, too large, or broken as a whole.
        ConfigurationError: the encoding or the sheet does not exist.
    """
    content = source.content
    if content.startswith(b"\x1f\x8b"):
        content = _unpacked(content, source.name)
    if not content:
        raise RosterError(f"{source.name} is empty.", remedy="Export the roster again.")
    if len(content) > MAX_SIZE:
        raise RosterError(f"{source.name} is larger than {MAX_SIZE // 1024**2} MiB.")
    if content.startswith(b"PK\x03\x04"):
        return read_workbook(content, source.name, settings.sheet, MAX_SIZE)
    if content.startswith(b"PAR1"):
        return read_parquet(content, source.name, MAX_SIZE)
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise RosterError(
            f"{source.name} is an old or encrypted Excel file.",
            remedy="Save it as .xlsx without a password, or as CSV.",
        )
    decoded = decode(content, settings.encoding)
    text = decoded.text
    # A character takes four bytes at most, and the last of these may be cut
    beginning = text[: 4 * _BEGINNING].decode(errors="ignore")[:_BEGINNING].lstrip()
    if beginning.startswith("{"):
        return read_json_lines(text.decode(), source.name)
    if beginning.startswith("<"):
        raise RosterError(
            f"{source.name} is a web page or XML, not a roster.",
            remedy="If a login page came instead of the file, mend the credentials in roster.url.",
        )
    layout = Layout(frozenset({settings.key}), needed, settings.delimiter, settings.header_row)
    table = read_delimited(text, source.name, layout)
    encoding = None if decoded.encoding == "ascii" else decoded.encoding
    return replace(table, encoding=encoding, guess=decoded.guess)


def _unpacked(content: bytes, name: str) -> bytes:
    """gunzip with a bound, so that a small file cannot fill the memory."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(MAX_SIZE + 1)
    except EOFError:
        raise RosterError(
            f"{name} is cut off: its gzip stream has no end.", remedy="Copy or export it again."
        ) from None
    except (zlib.error, OSError):
        raise RosterError(f"{name} is a broken gzip file.", remedy="Copy or export it again.") from None
    if len(unpacked) > MAX_SIZE:
        raise RosterError(f"{name} unpacks to more than {MAX_SIZE // 1024**2} MiB.")
    return unpacked
