"""The judgement on beat and workers, from every combination of signs, and how the signs are kept."""

from __future__ import annotations

import pytest

from provisioner.progress.vitals import BUSY_AFTER, SILENT_AFTER, STARTING, STUCK_AFTER, TICK, judge
from provisioner.store.admin.heartbeats import Heartbeats, Worker

ONE = Worker("app-1", 17, 0.0, 6)
TWO = Worker("app-2", 17, 0.0, 6)
LONG = 86_400.0


def signs(**changes: object) -> Heartbeats:
    """All is well for a day, but for the changes."""
    well: dict[str, object] = {
        "first": LONG, "beat": 1.0, "beat_since": LONG, "worker": 0.5, "tick": 1.5, "work": None,
        "workers": ((ONE, 0.5, LONG),),
    }  # fmt: skip
    return Heartbeats(**well | changes)  # type: ignore[arg-type]


def test_three_ticks_may_be_missing_and_no_more() -> None:
    assert 3 * TICK < SILENT_AFTER <= 4 * TICK
    assert judge(signs(beat=SILENT_AFTER), scheduled=True).beat.state == "ok"
    assert judge(signs(beat=SILENT_AFTER + 0.1), scheduled=True).beat.state == "silent"
    assert judge(signs(workers=((ONE, SILENT_AFTER, LONG),)), scheduled=True).alive == 1
    assert judge(signs(workers=((ONE, SILENT_AFTER + 0.1, LONG),)), scheduled=True).alive == 0


@pytest.mark.parametrize(
    ("changes", "scheduled", "state", "verdict", "word"),
    [
        ({}, True, "ok", "ok", "Beat ticks."),
        ({"beat": 40.0}, True, "silent", "fail", "has not ticked for 40 s, so no run begins by itself"),
        ({"beat": 7200.0}, True, "silent", "fail", "2 h"),
        ({"beat": 40.0}, False, "silent", "warn", "so what was put off is not taken up again"),
        ({"beat": None, "beat_since": None}, True, "never", "fail", "never ticked, so no run begins by itself"),
        ({"beat": None, "beat_since": None, "first": STARTING - 1}, True, "never", "warn", "never ticked"),
        ({"beat": None, "beat_since": None}, False, "never", "warn", "put off"),
    ],
)
def test_beat(changes: dict[str, object], scheduled: bool, state: str, verdict: str, word: str) -> None:
    found = judge(signs(**changes), scheduled=scheduled)
    assert (found.beat.state, found.beat.verdict) == (state, verdict)
    assert word in found.beat.message
    assert (found.beat.remedy is None) == (state == "ok")
    assert "`provisioner beat`" in (found.beat.remedy or "`provisioner beat`")
    # Whoever is not silent is not accused
    assert found.worker.state == "ok"
    assert found.silent == ((found.beat,) if verdict == "fail" else ())


NO_WORKER = {"workers": (), "worker": None, "tick": None}


@pytest.mark.parametrize(
    ("changes", "state", "verdict", "word"),
    [
        ({}, "ok", "ok", "1 worker answers."),
        ({"workers": ((ONE, 1.0, LONG), (TWO, 2.0, 5.0))}, "ok", "ok", "2 workers answer."),
        # One of two is silent
        ({"workers": ((ONE, 1.0, LONG), (TWO, 30.0, LONG))}, "ok", "ok", "1 worker answers."),
        ({"workers": ((ONE, 30.0, LONG),), "worker": 30.0}, "silent", "fail", "No worker has answered for 30 s"),
        ({"workers": (), "worker": 90_000.0}, "silent", "fail", "1 d"),
        (NO_WORKER, "never", "fail", "No worker was ever started"),
        (NO_WORKER | {"first": STARTING - 1}, "never", "warn", "No worker was ever started"),
        # The parent answers, the children hang
        ({"tick": STUCK_AFTER + 1}, "stuck", "fail", "1 worker answers, but carried out nothing for 1 min"),
        ({"tick": None}, "stuck", "fail", "carried out nothing for 1 d"),
        ({"tick": STUCK_AFTER + 1, "work": STUCK_AFTER + 9}, "stuck", "fail", "carried out nothing for 1 min"),
        ({"tick": STUCK_AFTER - 1}, "ok", "ok", "1 worker answers."),
        # The children are busy
        ({"tick": BUSY_AFTER - 1, "work": 1.0}, "ok", "ok", "1 worker answers."),
        ({"tick": BUSY_AFTER + 1, "work": 1.0}, "busy", "warn", "have been busy for 5 min"),
        ({"tick": None, "work": 1.0}, "busy", "warn", "have been busy for 1 d"),
        # The worker, or beat, has just started, so no tick can have been carried out for longer
        ({"tick": LONG, "workers": ((ONE, 1.0, 5.0),)}, "ok", "ok", "1 worker answers."),
        ({"tick": None, "beat_since": 5.0}, "ok", "ok", "1 worker answers."),
        # Without ticks nobody knows what the children do
        ({"tick": LONG, "beat": 40.0}, "ok", "ok", "1 worker answers."),
        ({"tick": None, "beat": None, "beat_since": None}, "ok", "ok", "1 worker answers."),
    ],
)
@pytest.mark.parametrize("scheduled", [True, False])
def test_workers(changes: dict[str, object], state: str, verdict: str, word: str, scheduled: bool) -> None:
    found = judge(signs(**changes), scheduled=scheduled)
    assert (found.worker.state, found.worker.verdict) == (state, verdict)
    assert word in found.worker.message
    assert (found.worker.remedy is None) == (state == "ok")
    assert "`provisioner worker`" in (found.worker.remedy or "`provisioner worker`")
    assert (found.worker in found.silent) == (verdict == "fail")


def test_before_anything_was_started_there_is_advice_and_no_fault() -> None:
    found = judge(Heartbeats(), scheduled=True)
    assert (found.beat.verdict, found.worker.verdict, found.silent, found.alive) == ("warn", "warn", (), 0)
    assert "`provisioner up`" in (found.beat.remedy or "")
    assert "`provisioner up`" in (found.worker.remedy or "")
