"""Durations, percentages and rates."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.settings import Rate, parse_duration, parse_percent, parse_rate
from provisioner.settings.values import format_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("24h", 86400), ("7d", 604800), ("1h30m", 5400), ("0s", 0), (0, 0), ("1.5m", 90)]
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "h", "10", 10, "1 parsec", "-1s", "1h x", None])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@given(st.integers(0, 10**7))
def test_a_duration_survives_being_written(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(("text", "value"), [("10", 10.0), ("10%", 10.0), (2.5, 2.5), ("0 %", 0.0), (100, 100.0)])
def test_percentages(text: object, value: float) -> None:
    assert parse_percent(text) == value


@pytest.mark.parametrize("text", ["", "ten", "101", "-1", True, None])
def test_no_percentages(text: object) -> None:
    with pytest.raises(ValueError, match="no percentage"):
        parse_percent(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("300/minute", Rate(300, 60)),
        ("10/Second", Rate(10, 1)),
        ("100/10s", Rate(100, 10)),
        ("5 / 500ms", Rate(5, 0.5)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "300", "0/minute", "1/0s", "x/minute", "1/fortnight"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|empty window"):
        parse_rate(text)
