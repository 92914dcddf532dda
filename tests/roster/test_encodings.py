"""Which encoding a file is in: right by name, right or said to be guessed by itself, and no change unseen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from provisioner.roster import Baseline, People, gate
from provisioner.roster.forms.encodings import guess
from provisioner.roster.legibility import misread
from tests.roster.support import HEADER, people_of, settings
from tests.roster.test_exports import people_of as export

EXPORTS = Path(__file__).parent / "exports"
NOW = datetime(2026, 3, 2, tzinfo=UTC)

NAMES = {
    "polish_cp1250.csv": ("cp1250", ["Łukasz Żółkiewski", "Ewa Śliwińska"]),
    "russian_cp1251.csv": ("cp1251", ["Анна Иванова"]),
    "chinese_gbk.csv": ("gbk", ["伟杰 陈"]),
    "japanese_sjis.csv": ("shift_jis", ["愛子 田中", "健二 大塚"]),
    "mac_roman.csv": ("mac_roman", ["Chloé Dubois", "Jürgen Groß"]),
    "cp850_dos.csv": ("cp850", ["Chloé Dubois", "Jürgen Groß"]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by_name", [True, False])
def test_names_are_right_and_a_guess_is_said(name: str, by_name: bool) -> None:
    encoding, names = NAMES[name]
    people = export(name, **({"encoding": encoding} if by_name else {}))
    assert [f"{row['first_name']} {row['last_name']}" for row in people.frame.iter_rows(named=True)] == names
    if by_name:
        assert people.notes == ()
        return
    (note,) = people.notes
    assert "its encoding was guessed" in note.message
    assert "line 2, " in note.message
    # The text is there for whoever looks, and in no sentence that is kept
    assert note.example is not None
    assert note.example.strip("'") in names[0]
    assert note.example.strip("'") not in str(note)
    assert "Set `roster.encoding: " in str(note.remedy)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((text, "cp1252") for text in ("Zoë", "Müller, José, Peña", "ÉRIC", "O’Brien", "Øyvind Ærø", "Straße")),
        *((text, "cp1251") for text in ("ИВАНОВ ПЁТР", "Анна Иванова")),
        *((text, "cp932") for text in ("佐藤 健二", "アンナ")),
        *((text, "gb18030") for text in ("王小伟", "陈静,张伟,刘洋")),
        *(
            ("王小明", "big5"),
            ("이영희,박지성", "euc_kr"),
            ("佐藤 健二,たろう", "euc_jp"),
            ("Γιώργος Παπαδόπουλος", "cp1253"),
        ),
        *(
            ("Анна Иванова", "koi8_r"),
            ("Анна Иванова", "cp866"),
            ("Łukasz Żółkiewski", "cp852"),
            ("محمد علي", "cp1256"),
        ),
    ],
)
def test_a_few_words_show_their_encoding(text: str, encoding: str) -> None:
    content = f"employee_id,name\n1,{text}\n".encode(encoding)
    assert content.decode(guess(content).encoding) == content.decode(encoding)


def test_a_guess_names_what_would_be_as_plain() -> None:
    content = f"{HEADER}\n1,Dvořák,,active,,".encode("cp1250")
    (note,) = people_of(content).notes
    assert "guessed: cp1252" in note.message
    assert "cp1250 or cp1257 would be as plain" in note.message


def test_a_large_text_without_separators_is_guessed_quickly() -> None:
    assert guess(b"a" * 2_000_000 + b"\xe9").encoding
    assert guess(b"\xe9" * 2_000_000).encoding


@pytest.mark.parametrize(
    ("text", "how"),
    [
        *(("ChloÃ©", "Windows-1252"), ("Dâ€™Angelo", "Windows-1252"), ("Å�ukasz", None), ("J√ºrgen", "Mac Roman")),
        *(("Å\x81ukasz", "Windows-1252"), ("РђРЅРЅР°", "Windows-1251"), ("Chlo├⌐", "code page 437")),
        *((text, None) for text in ("Chloé", "Łukasz", "Анна", "田中", "Ann", "Ã", "naïve Œuvre", "Þór", "ÂÊÎ", "")),
    ],
)
def test_what_looks_misread(text: str, how: str | None) -> None:
    assert misread(text) == how


def test_text_that_was_misread_before_is_said() -> None:
    (note,) = export("double_utf8.csv").notes
    assert (
        "2 cells look like UTF-8 read as Windows-1252 and written again; the first is in line 2, first_name"
        in note.message
    )
    assert note.example == "'ChloÃ©'"
    (lost,) = people_of(f"{HEADER}\n1,J\ufffdrgen,,active,,").notes
    assert "letters had been lost" in lost.message
    assert people_of(f"{HEADER}\n1,Jürgen,,active,,").notes == ()


def verdict(before: People, after: People, **changes: Any) -> tuple[str, ...]:
    found = gate(
        after,
        Baseline.from_json(Baseline.of(before).to_json()),
        settings(**changes),
        mapped=(),
        modified=None,
        now=NOW,
        known=before.frame,
    )
    assert (found.status == "clean") == (not found.reasons)
    return found.reasons


ROWS = "\n".join([HEADER, *(f"{key},{name},,active,," for key, name in enumerate(["Chloé", "Jürgen", "Zoë", "Ann"]))])


def test_another_encoding_degrades() -> None:
    before = people_of(ROWS)
    (reason,) = verdict(before, people_of(ROWS.encode("cp1252")))
    assert "changed from utf-8 to cp1252" in reason
    assert verdict(before, people_of(ROWS.encode("cp1252"), encoding="cp1252"), encoding="cp1252") == ()
    assert verdict(before, people_of(ROWS)) == ()
    # All ASCII shows none, and may be in any
    plain = people_of(f"{HEADER}\n0,Ann,,active,,\n1,Bo,,active,,\n2,Cy,,active,,\n3,Di,,active,,")
    assert verdict(plain, people_of(ROWS.encode("cp1252"))) == ()


@pytest.mark.parametrize("wrong", ["cp1252", "cp1251", "mac_roman"])
def test_text_that_turned_into_signs_degrades(wrong: str) -> None:
    (reason,) = verdict(people_of(ROWS), people_of(ROWS.encode().decode(wrong, errors="ignore")))
    assert "3 of 3 texts with letters beyond ASCII changed in nothing but these letters" in reason
    assert "line 2, first_name" in reason
    # The name is nobody's who reads a notice
    assert "Chlo" not in reason


@pytest.mark.parametrize("lost", ["?", "\ufffd"])
def test_letters_that_were_lost_degrade(lost: str) -> None:
    text = ROWS.replace("é", lost).replace("ü", lost).replace("ë", lost)
    assert len(verdict(people_of(ROWS), people_of(text))) == 1


def test_a_wrong_setting_degrades_once_the_file_changes() -> None:
    before = people_of(ROWS.encode("cp1250"), encoding="cp1250")
    assert len(verdict(before, people_of(ROWS.encode(), encoding="cp1250"), encoding="cp1250")) == 1


def test_corrections_are_no_other_encoding() -> None:
    before = people_of(ROWS)
    assert verdict(before, people_of(ROWS.replace("Chloé", "Chloè"))) == ()
    assert verdict(before, people_of(ROWS.replace("Chloé", "Cleo").replace("Zoë", "Zoe"))) == ()
    broken = people_of(ROWS.replace("Chloé", "ChloÃ©").replace("Zoë", "ZoÃ«"))
    assert verdict(broken, before) == ()


def test_unicode_text_of_excel() -> None:
    people = export("excel_unicode_text.txt", employed="status = 'active'")
    assert people.frame.select("_key", "last_name").rows() == [("E1", "Żółkiewski")]
    assert (people.notes, people.encoding) == ((), "utf-16")
    assert people.frame["_verdict"].to_list() == ["employed"]
    assert isinstance(people.frame, pl.DataFrame)
