"""What is no table that we read, known by what it is, with what to export instead. Pure."""

from __future__ import annotations

import re
from typing import Final

from provisioner.errors import RosterError

_SAMPLE: Final = 8_192
_LINES: Final = 30
_ENCRYPTED: Final = (
    "Give the roster as it is before it is encrypted, over https or sftp, or decrypt it before it gets here."
)
_PACKED: Final = "Pack it with gzip or zip, or give the file as it is."
_BINARY: Final = (
    (b"-----BEGIN PGP", "is encrypted (PGP)", _ENCRYPTED),
    (b"-----BEGIN PKCS7", "is encrypted (S/MIME)", _ENCRYPTED),
    (b"-----BEGIN CMS", "is encrypted (S/MIME)", _ENCRYPTED),
    (b"age-encryption.org/", "is encrypted (age)", _ENCRYPTED),
    (b"-----BEGIN AGE", "is encrypted (age)", _ENCRYPTED),
    (b"Salted__", "is encrypted (OpenSSL)", _ENCRYPTED),
    (b"\xd0\xcf\x11\xe0", "is an old or encrypted Excel file", "Save it as .xlsx without a password, or as CSV."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", _PACKED),
    (b"Rar!\x1a\x07", "is a RAR archive", _PACKED),
    (b"BZh", "is packed with bzip2", _PACKED),
    (b"\xfd7zXZ\x00", "is packed with xz", _PACKED),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd", _PACKED),
    (b"%PDF-", "is a PDF", "Export the report as CSV or .xlsx."),
)
#: The first packet of a PGP message: an encrypted session key or encrypted data, in the old and the new format.
_PGP: Final = re.compile(
    rb"(?:\x84.\x03|\x85..\x03|\xc1.{1,2}\x03|\x8c.[\x04\x05]|\xc3.[\x04\x05]|\xd2.{1,5}\x01)", re.DOTALL
)
_HTML: Final = re.compile(r"<(?:!doctype\s+html|html|head|body|table|meta)\b", re.IGNORECASE)
_LDIF: Final = re.compile(r"(?:version:\s*1\s+)?dn::?\s", re.IGNORECASE)
_RULE: Final = re.compile(r"[|+]?[-=+|]{10,}[|+]?")
_LISTED: Final = re.compile(r"\|.*\|")
#: Anything that may part cells.
_DELIMITED: Final = re.compile(r"[,;\t|~\x01\x1f]")
_FIXED: Final = re.compile(r"\S+(?: \S+)*(?: {2,}|$)")
_LEAST_FIELDS: Final = 3


def check_bytes(content: bytes, name: str) -> None:
    """Refuse what its first bytes show to be encrypted, packed in a way that is not read, or no table.

    Raises:
        RosterError: says what it is, and what to export instead.
    """
    for beginning, what, remedy in _BINARY:
        if content.startswith(beginning):
            raise RosterError(f"{name} {what}.", remedy=remedy)
    if _PGP.match(content) and not content[:_SAMPLE].isascii() and _is_binary(content):
        raise RosterError(f"{name} is encrypted (PGP).", remedy=_ENCRYPTED)


def _is_binary(content: bytes) -> bool:
    """Whether there are control characters that no text has."""
    sample = content[:_SAMPLE]
    return any(byte < 32 and byte not in b"\t\n\r\x0b\x0c\x01\x1f\x1a" for byte in sample)


def check_text(text: bytes, name: str) -> None:
    """Refuse text that is markup, a directory's export, or a list for the printer.

    Args:
        text: UTF-8.

    Raises:
        RosterError: says what it is, and what to export instead.
    """
    beginning = text[:_SAMPLE].decode(errors="ignore").lstrip()
    if beginning.startswith("<"):
        _check_markup(beginning, name)
    if _LDIF.match(beginning):
        raise RosterError(
            f"{name} is LDIF, the export of a directory.",
            remedy="Export it as CSV: `csvde` in Active Directory, or the list of attributes as a table.",
        )
    lines = [line for line in beginning.splitlines()[:_LINES] if line.strip()]
    if (
        any(_RULE.fullmatch(line.strip()) for line in lines)
        and sum(bool(_LISTED.fullmatch(one.strip())) for one in lines) > 1
    ):
        raise RosterError(
            f"{name} is list output for a printer, with lines drawn around its cells.",
            remedy="Export it as a spreadsheet or text with tabs (in SAP: List, Export, Spreadsheet).",
        )
    if _is_fixed(lines):
        raise RosterError(
            f"{name} has columns of fixed width and nothing between them.",
            remedy="Export it with a delimiter: as CSV, or with tabs.",
        )


def _check_markup(beginning: str, name: str) -> None:
    if _HTML.search(beginning[:1_000]):
        table = "<table" in beginning.lower()
        what = "HTML with a table in it, whatever its name says" if table else "a web page, not a roster"
        remedy = "Export it as CSV or as a real .xlsx. If a login page came instead, fix the credentials in roster.url."
        raise RosterError(f"{name} is {what}.", remedy=remedy)
    if "urn:schemas-microsoft-com:office:spreadsheet" in beginning:
        raise RosterError(f"{name} is an Excel 2003 XML file.", remedy="Save it as .xlsx or CSV.")
    raise RosterError(
        f"{name} is XML, which is not read.",
        remedy="Export it as CSV or JSON (a Workday report: format=csv or format=json in its address).",
    )


def _is_fixed(lines: list[str]) -> bool:
    """Whether all lines are alike in length, hold no delimiter, and the first has names with wide gaps between."""
    if len(lines) < 2 or any(_DELIMITED.search(line) for line in lines[:-1]):
        return False
    lengths = {len(line.rstrip("\r")) for line in lines[:-1]} or {len(lines[0])}
    return max(lengths) - min(lengths) <= 2 and len(_FIXED.findall(lines[0].strip())) >= _LEAST_FIELDS
