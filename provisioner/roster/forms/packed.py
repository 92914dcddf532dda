"""What is packed: gzip, and archives with one table in them. Each with a bound, so that none fills the memory."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import Final

from provisioner.errors import RosterError
from provisioner.roster.naming import is_name

#: Endings of files that may be a table.
TABLES: Final = frozenset(
    {".csv", ".tsv", ".txt", ".xlsx", ".xlsb", ".ods", ".parquet", ".jsonl", ".ndjson", ".json", ".gz"}
)
#: Parts by which a workbook is known.
WORKBOOK_PARTS: Final = frozenset({"xl/workbook.xml", "xl/workbook.bin", "content.xml"})
_MOST_MEMBERS: Final = 10_000
_ENCRYPTED: Final = 0x1


def gunzipped(content: bytes, name: str, limit: int) -> bytes:
    """What a gzip file holds.

    Raises:
        RosterError: broken, cut off, or more than `limit` bytes.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(limit + 1)
    except EOFError:
        raise RosterError(
            f"{name} is cut off: its gzip stream has no end.", remedy="Copy or export it again."
        ) from None
    except (zlib.error, OSError):
        raise RosterError(f"{name} is a broken gzip file.", remedy="Copy or export it again.") from None
    if len(unpacked) > limit:
        raise RosterError(f"{name} unpacks to more than {limit // 1024**2} MiB.")
    return unpacked


def unzipped(content: bytes, name: str, limit: int) -> tuple[bytes, str] | None:
    """The one table of an archive and its name there; None if the archive is a workbook.

    Raises:
        RosterError: broken, encrypted, no or several tables in it, or more than `limit` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if WORKBOOK_PARTS.intersection(member.filename for member in members):
                return None
            member = _table(members, name)
            with archive.open(member) as stream:
                unpacked = stream.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        raise RosterError(f"{name} is a broken archive.", remedy="Copy or export it again.") from None
    if len(unpacked) > limit:
        raise RosterError(f"{name} unpacks to more than {limit // 1024**2} MiB.")
    return unpacked, PurePosixPath(member.filename).name


def _table(members: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    if len(members) > _MOST_MEMBERS:
        raise RosterError(f"{name} is an archive of {len(members)} files.", remedy="Give the table inside it.")
    files = [
        member
        for member in members
        if not member.is_dir()
        and not member.filename.startswith("__MACOSX/")
        and not PurePosixPath(member.filename).name.startswith(".")
    ]
    tables = [member for member in files if PurePosixPath(member.filename).suffix.lower() in TABLES]
    found = tables or files
    if len(found) != 1:
        names = [PurePosixPath(member.filename).name for member in found[:5]]
        shown = f": {', '.join(one for one in names if is_name(one))}" if all(map(is_name, names)) and names else ""
        what = f"{len(found)} files{shown}" if found else "no file"
        raise RosterError(f"{name} is an archive with {what}.", remedy="Put exactly one table into it.")
    if found[0].flag_bits & _ENCRYPTED:
        raise RosterError(
            f"{name} is an encrypted archive.", remedy="Export the roster without a password, over https or sftp."
        )
    return found[0]
