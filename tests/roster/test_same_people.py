"""However a roster is written, the people are the same: encoding, delimiter, form and order change nothing."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Sequence
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioner.roster import judge
from tests.roster.support import read_bytes, settings
from tests.roster.test_forms import zipped

COLUMNS = ("employee_id", "first_name", "work_email", "employment_status", "start_date", "end_date")
NAMES = st.sampled_from(
    [
        "Ann",
        "Zoë",
        "Łukasz Żółkiewski",
        'Tom "T" Berg',
        "Berg, Jr.",
        "O’Brien",
        "田中",
        "Анна",
        "a;b",
        "x|y",
        "two\nlines",
        "",
    ]
)
DAYS = st.sampled_from(["2020-01-05", "5.1.2020", "24-DEC-21", "2020-03-16-07:00", "", "00.00.0000", "no day"])
ROWS = st.lists(
    st.tuples(
        NAMES, st.sampled_from(["a@example.com", "no address", ""]), st.sampled_from(["active", "left", ""]), DAYS, DAYS
    ),
    min_size=1,
    max_size=12,
)
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"encoding": "utf-8-sig"},
    {"encoding": "utf-16"},
    {"encoding": "utf-16-le"},
    {"encoding": "gb18030", "named": True},
    {"delimiter": ";", "end": "\r\n"},
    {"delimiter": "~", "encoding": "utf-16"},
    {"delimiter": "\x01"},
    {"banner": "Report,,\nAs of: today\n\n"},
    {"tail": ("",)},
    {"form": "json"},
    {"form": "lines"},
    {"form": "records", "indent": 1},
    {"packed": "gz"},
    {"packed": "zip", "encoding": "utf-16"},
)


def written(
    rows: list[dict[str, str]],
    *,
    encoding: str = "utf-8",
    delimiter: str = ",",
    end: str = "\n",
    banner: str = "",
    tail: Sequence[str] = (),
    form: str = "csv",
    indent: int | None = None,
    packed: str = "",
    **_: Any,
) -> bytes:
    """The rows as a file."""
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
        writer.writerows([*row, *tail] for row in (COLUMNS, *(one.values() for one in rows)))
        content = f"{banner}{text.getvalue()}"
    elif form == "lines":
        content = "\n".join(map(json.dumps, rows))
    else:
        content = json.dumps({"data": {"people": rows}} if form == "records" else rows, indent=indent)
    data = content.encode(encoding)
    return gzip.compress(data) if packed == "gz" else zipped(people__csv=data) if packed == "zip" else data


def people(content: bytes, way: dict[str, Any]) -> tuple[Any, Any]:
    """Everybody by key, and who is rejected for what; without lines, which are another file's."""
    changes: dict[str, Any] = {"dates": ["iso", "day_first", "%d-%b-%y"]}
    if way.get("named"):
        changes["encoding"] = way["encoding"]
    if way.get("form") == "records":
        changes["records"] = "data.people"
    read = read_bytes(content, ("work_email",), **changes)
    found = judge(read, settings(**changes), today=date(2026, 3, 2))
    rows = found.frame.sort("_key").select("_key", *COLUMNS, "_verdict", "_starts", "_ends").rows()
    return rows, sorted((one.key, one.column, one.value, one.reason) for one in found.rejects)


@given(rows=ROWS, seed=st.integers(0, 99), way=st.sampled_from(WAYS))
def test_the_people_are_the_same(rows: list[tuple[str, ...]], seed: int, way: dict[str, Any]) -> None:
    whole = [dict(zip(COLUMNS, (f"E{place}", *row), strict=True)) for place, row in enumerate(rows)]
    expected = people(written(whole), {})
    assert len(expected[0]) + len(expected[1]) == len(rows)
    shuffled = list(whole)
    random.Random(seed).shuffle(shuffled)
    assert people(written(shuffled, **way), way) == expected
