"""Cron expressions: the one reader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.settings import Cron
from provisioner.settings.cron import next_time
from tests.worker.expressions import AFTER, BAD, GOOD, SYDNEY

_PARTS = ("*", "0", "1", "7", "31", "59", "L", "LW", "MON", "JAN", "-", "/", "#", ",", "5L", "*/8", "60", "?")
_FIELDS = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=4).map("".join)


@pytest.mark.parametrize(("text", "due"), GOOD.items())
def test_the_next_time(text: str, due: str) -> None:
    assert Cron.read(text).next(AFTER, SYDNEY) == datetime.fromisoformat(due).replace(tzinfo=SYDNEY)


@pytest.mark.parametrize("text", [*BAD, None, 5, True])
def test_what_is_no_expression(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no cron expression.*write five fields"):
        Cron.read(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 25 * * *", r"its hour '25' is not within 0 to 23"),
        ("0 3 * * monday", r"its day of the week 'monday'"),
        ("0 22-3 * * *", r"its hour '22-3' .* or a range runs backwards"),
        ("0 0 31 2 *", r"no calendar has such a day"),
    ],
)
def test_the_sentence_names_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Cron.read(text)


def test_blanks_are_evened_out_and_the_text_stays() -> None:
    assert str(Cron.read("  0\t3  * *  Mon ")) == "0 3 * * Mon"
    assert Cron.read(Cron("0 3 * * *")) == Cron.read(" 0 3 * * * ")


@pytest.mark.parametrize(
    ("text", "after", "times"),
    [
        # 2026-10-04: 02:00 becomes 03:00
        ("30 2 * * *", "2026-10-04T00:00+10:00", ["2026-10-04T03:00+11:00", "2026-10-05T02:30+11:00"]),
        ("0 2 * * *", "2026-10-04T01:59+10:00", ["2026-10-04T03:00+11:00", "2026-10-05T02:00+11:00"]),
        ("0 3 * * *", "2026-10-03T03:00+10:00", ["2026-10-04T03:00+11:00", "2026-10-05T03:00+11:00"]),
        ("*/30 * * * *", "2026-10-04T01:30+10:00", ["2026-10-04T03:00+11:00", "2026-10-04T03:30+11:00"]),
        # 2026-04-05: 03:00 becomes 02:00
        ("30 2 * * *", "2026-04-05T00:00+11:00", ["2026-04-05T02:30+11:00", "2026-04-06T02:30+10:00"]),
        ("45 2 * * *", "2026-04-05T02:30+10:00", ["2026-04-06T02:45+10:00"]),
        ("0 3 * * *", "2026-04-04T03:00+11:00", ["2026-04-05T03:00+10:00", "2026-04-06T03:00+10:00"]),
        (
            "*/30 * * * *",
            "2026-04-05T02:00+11:00",
            ["2026-04-05T02:30+11:00", "2026-04-05T02:00+10:00", "2026-04-05T02:30+10:00", "2026-04-05T03:00+10:00"],
        ),
    ],
)
def test_when_the_clocks_change(text: str, after: str, times: list[str]) -> None:
    cron, moment = Cron.read(text), datetime.fromisoformat(after)
    for due in times:
        found = cron.next(moment, SYDNEY)
        assert found is not None
        # Two moments of one zone compare by their clocks' readings
        assert found.astimezone(UTC) == datetime.fromisoformat(due).astimezone(UTC)
        assert found.isoformat() == datetime.fromisoformat(due).astimezone(SYDNEY).isoformat()
        moment = found


@given(st.tuples(_FIELDS, _FIELDS, _FIELDS, _FIELDS, _FIELDS), st.integers(0, 2 * 366 * 24 * 60))
def test_every_text_is_refused_or_gives_a_later_time(fields: tuple[str, ...], minutes: int) -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    for zone in (SYDNEY, ZoneInfo("America/Havana"), ZoneInfo("UTC")):
        try:
            due = Cron.read(" ".join(fields)).next(after, zone)
        except ValueError as exc:
            assert "is no cron expression" in str(exc)  # noqa: PT017 - most of them are refused
        else:
            assert due is not None
            assert due.astimezone(UTC) > after
            assert due == due.astimezone(UTC).astimezone(zone)


def test_the_first_of_several_and_none() -> None:
    crons = [None, Cron.read("*/30 * * * *"), Cron.read("0 3 * * *")]
    assert next_time(crons, datetime(2026, 3, 2, 2, 45, tzinfo=SYDNEY), SYDNEY) == datetime(
        2026, 3, 2, 3, 0, tzinfo=SYDNEY
    )
    assert next_time([None, None], AFTER, SYDNEY) is None
