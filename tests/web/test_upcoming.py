"""When the next run begins."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from provisioner.web.pages.next_run import next_time

SYDNEY = ZoneInfo("Australia/Sydney")


@pytest.mark.parametrize(
    ("expressions", "after", "due"),
    [
        (["*/30 * * * *"], "2026-03-02T10:00", "2026-03-02T10:30"),
        (["*/30 * * * *", "0 3 * * *"], "2026-03-02T02:45", "2026-03-02T03:00"),
        (["0 3 * * *"], "2026-03-02T03:00", "2026-03-03T03:00"),
        (["15 8-10/2,20 * * mon-fri"], "2026-03-06T20:15", "2026-03-09T08:15"),
        (["0 0 1 jan *"], "2026-03-02T00:00", "2027-01-01T00:00"),
        (["0 12 * * 7"], "2026-03-02T00:00", "2026-03-08T12:00"),
        (["0 0 29 2 *"], "2026-03-02T00:00", "2028-02-29T00:00"),
    ],
)
def test_the_next_time(expressions: list[str], after: str, due: str) -> None:
    found = next_time(expressions, datetime.fromisoformat(after).replace(tzinfo=SYDNEY), SYDNEY)
    assert found == datetime.fromisoformat(due).replace(tzinfo=SYDNEY)


def test_a_schedule_that_is_off_or_never_due() -> None:
    assert next_time([None, None], datetime(2026, 1, 1, tzinfo=UTC), SYDNEY) is None
    assert next_time(["0 0 31 2 *"], datetime(2026, 1, 1, tzinfo=UTC), SYDNEY) is None
