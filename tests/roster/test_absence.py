"""Who vanished, and when that makes a leaver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from polars.testing import assert_frame_equal

from provisioner.roster import People, advance_absence
from provisioner.settings import AbsenceSettings
from tests.roster.support import HEADER, people, people_of

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
ANN, BOB = "1,Ann,ann@example.com,active,,", "2,Bob,,active,,"


class Memory:
    """The known people over a series of snapshots, one every 12 hours."""

    def __init__(self, snapshots: int = 2, grace: str = "24h") -> None:
        self.settings = AbsenceSettings.model_validate({"snapshots": snapshots, "grace": grace})
        self.known: pl.DataFrame | None = None
        self.written: str | None = None
        self.now = START

    def see(self, found: People, *, written: str | None = None, clean: bool = True, hours: float = 12) -> None:
        written = written or self.now.isoformat()
        self.known = advance_absence(
            self.known,
            found,
            clean=clean,
            written=written,
            last_written=self.written,
            now=self.now,
            settings=self.settings,
        )
        if clean:
            self.written = written
        self.now += timedelta(hours=hours)

    def verdicts(self) -> dict[str, str]:
        assert self.known is not None
        return dict(self.known.select("_key", "_verdict").iter_rows())


def test_a_vanished_row_waits_for_snapshots_and_grace() -> None:
    memory = Memory()
    memory.see(people(ANN, BOB))
    seen = []
    for _ in range(4):
        memory.see(people(ANN))
        seen.append(memory.verdicts()["2"])
    assert seen == ["absent", "absent", "leaver", "leaver"]
    assert memory.verdicts()["1"] == "employed"


def test_the_person_keeps_the_last_clean_row() -> None:
    memory = Memory()
    memory.see(people(ANN, BOB))
    memory.see(people(BOB))
    assert memory.known is not None
    row = memory.known.row(by_predicate=pl.col("_key") == "1", named=True)
    assert (row["first_name"], row["work_email"]) == ("Ann", "ann@example.com")
    assert (row["_absent_snapshots"], row["_absent_since"]) == (1, START + timedelta(hours=12))


def test_the_same_file_again_does_not_count() -> None:
    memory = Memory()
    memory.see(people(ANN, BOB))
    for _ in range(5):
        memory.see(people(ANN), written="again")
    assert memory.verdicts()["2"] == "absent"
    assert memory.known is not None
    assert memory.known["_absent_snapshots"].max() == 1


def test_grace_may_end_while_the_file_stays() -> None:
    memory = Memory(snapshots=1)
    memory.see(people(ANN, BOB))
    seen = []
    for _ in range(3):
        memory.see(people(ANN), written="again")
        seen.append(memory.verdicts()["2"])
    assert seen == ["absent", "absent", "leaver"]


def test_at_once() -> None:
    memory = Memory(snapshots=1, grace="0s")
    memory.see(people(ANN, BOB))
    memory.see(people(ANN))
    assert memory.verdicts() == {"1": "employed", "2": "leaver"}


def test_returning_resets() -> None:
    memory = Memory()
    memory.see(people(ANN, BOB))
    for _ in range(2):
        memory.see(people(ANN))
        memory.see(people(ANN, BOB))
        assert memory.verdicts()["2"] == "employed"
    memory.see(people(ANN))
    assert memory.known is not None
    assert memory.known.filter(pl.col("_key") == "2")["_absent_snapshots"].item() == 1


def test_a_rejected_row_is_present_and_resets() -> None:
    memory = Memory()
    memory.see(people(ANN, BOB))
    memory.see(people(ANN))
    memory.see(people(ANN, "2,Bob"))
    assert memory.known is not None
    row = memory.known.row(by_predicate=pl.col("_key") == "2", named=True)
    assert (row["_verdict"], row["_absent_snapshots"], row["_absent_since"]) == ("employed", 0, None)
    assert row["first_name"] == "Bob"


def test_a_hidden_key_advances_nobody() -> None:
    memory = Memory(snapshots=1, grace="0s")
    memory.see(people(ANN, BOB))
    memory.see(people(ANN, ",Somebody,,active,,"))
    assert memory.verdicts() == {"1": "employed", "2": "employed"}


def test_snapshots_that_are_not_clean_change_nothing() -> None:
    memory = Memory(snapshots=1, grace="0s")
    memory.see(people(ANN, BOB))
    before = memory.known
    memory.see(people(ANN, "3,Cy,,active,,"), clean=False)
    assert before is not None
    assert memory.known is not None
    assert_frame_equal(memory.known, before)


def test_a_first_snapshot_that_is_not_clean_makes_nobody_known() -> None:
    memory = Memory()
    memory.see(people(ANN), clean=False)
    assert memory.verdicts() == {}
    memory.see(people(ANN, BOB))
    assert memory.verdicts() == {"1": "employed", "2": "employed"}


def test_a_leaver_who_vanishes_stays_a_leaver() -> None:
    memory = Memory()
    memory.see(people(ANN, "2,Bob,,left,,"))
    memory.see(people(ANN))
    assert memory.verdicts()["2"] == "leaver"


def test_the_renamed_go_on_under_the_new_key() -> None:
    memory = Memory(snapshots=1, grace="0s")
    memory.see(people(ANN, BOB))
    text = f"{HEADER},was\n1,Ann,,active,,,\n22,Bob,,active,,,2"
    memory.see(people_of(text, previous_key="was"))
    assert memory.verdicts() == {"1": "employed", "22": "employed"}


def test_a_key_in_another_case_is_the_same_person() -> None:
    memory = Memory(snapshots=1, grace="0s")
    memory.see(people("ab,Ann,,active,,"))
    memory.see(people("AB,Ann,,active,,"))
    assert memory.verdicts() == {"AB": "employed"}


def test_columns_may_come_and_go() -> None:
    memory = Memory()
    memory.see(people(ANN, BOB))
    memory.see(people_of("employee_id,employment_status,start_date,end_date,team\n1,active,,,A"))
    assert memory.known is not None
    assert "team" in memory.known.columns
    assert "first_name" not in memory.known.columns
    assert memory.verdicts() == {"1": "employed", "2": "absent"}
