"""Files that are no table are refused by what they are, with what to export instead."""

from __future__ import annotations

import pytest

from provisioner.errors import RosterError
from tests.roster.support import HEADER, people_of, read_bytes
from tests.roster.test_exports import people_of as export


@pytest.mark.parametrize(
    ("name", "key", "what", "instead"),
    [
        ("fixed.txt", "EMPNO", "columns of fixed width", "as CSV"),
        ("sap_alv.txt", "PersNr", "list output for a printer", "SAP: List, Export, Spreadsheet"),
        ("workers.xml", "Employee_ID", "is XML", "format=csv or format=json"),
        ("export.ldif", "uid", "is LDIF", "csvde"),
        ("roster.csv.asc", "employee_id", "is encrypted (PGP)", "before it is encrypted"),
        ("roster.csv.pgp", "employee_id", "is encrypted (PGP)", "before it is encrypted"),
        ("html_as.xls", "Employee ID", "HTML with a table in it", "real .xlsx"),
    ],
)
def test_exports(name: str, key: str, what: str, instead: str) -> None:
    with pytest.raises(RosterError) as caught:
        export(name, key=key)
    assert what in caught.value.message
    assert name in caught.value.message
    assert instead in str(caught.value.remedy)
    # What is in it is nobody's business
    assert "Ann" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title>", "a web page, not a roster"),
        (b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">', "Excel 2003 XML"),
        ('<?xml version="1.0"?><a/>'.encode("utf-16"), "is XML"),
        (b"version: 1\n\ndn: uid=a\nuid: a\n", "is LDIF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old or encrypted Excel"),
        (b"\x8c\x0d\x04\x09\x03\x02" + bytes(range(128, 255)), r"is encrypted \(PGP\)"),
        (b"age-encryption.org/v1\n-> X25519", r"is encrypted \(age\)"),
        (b"Salted__12345678xxxx", r"is encrypted \(OpenSSL\)"),
        (b"BZh91AY&SY", "packed with bzip2"),
        (b"%PDF-1.7", "is a PDF"),
        (b"+----------+-----+\n| id       | a   |\n+----------+-----+\n| 1        | Ann |\n", "list output"),
    ],
)
def test_others(content: bytes, what: str) -> None:
    with pytest.raises(RosterError, match=what):
        read_bytes(content)


@pytest.mark.parametrize(
    "first",
    ["------------,,,,,", "|x|,A,,active,,", "dn: x,A,,active,,", "a  b  c  d,A,,active,,", "„x“,A,,active,,"],
)
def test_rows_that_look_alike_are_none(first: str) -> None:
    found = people_of(f"{HEADER}\n{first}\n{first.replace('x', 'y')}2\n")
    assert found.rows == 2


def test_one_column_is_no_fixed_width() -> None:
    read = read_bytes(b"employee_id\n1001\n1002\n", (), employed="TRUE", starts=None, ends=None)
    assert read.frame["_key"].to_list() == ["1001", "1002"]
    pipes = "employee_id|name\n1|Ann\n----------\n2|Tom\n"
    assert read_bytes(pipes.encode(), (), employed="TRUE", starts=None, ends=None).frame["_key"].to_list() == ["1", "2"]


def test_text_in_an_old_encoding_is_not_taken_for_encrypted() -> None:
    for text in ("„id“,name\n1,Ann\n", "Århus,name\n1,Ann\n", "Œuvre,name\n1,a\n"):
        for encoding in ("cp1252", "mac_roman"):
            content = text.encode(encoding, errors="ignore")
            with pytest.raises(RosterError, match="missing"):
                read_bytes(content)
