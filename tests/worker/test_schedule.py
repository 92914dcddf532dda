"""The schedule of beat: one reading of cron for settings, beat and page, and nothing stored that could stop it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from redbeat.decoder import RedBeatJSONEncoder
from redbeat.schedulers import RedBeatSchedulerEntry

from provisioner.errors import ConfigurationError
from provisioner.runtime.context import Deployment
from provisioner.settings import Cron, Settings
from provisioner.web.pages import overview
from provisioner.worker.app import configured
from provisioner.worker.beat import entries
from provisioner.worker.schedule import BoundedScheduler, CronSchedule, Entry
from tests.support.harness import load_settings, settings_document
from tests.support.redis_contents import RedisContents
from tests.worker.expressions import BAD, GOOD, SYDNEY

#: A beat with every good expression, as `provisioner beat` runs it.
PROGRAM = """
import sys
from provisioner.settings import Cron
from provisioner.worker.app import configure, settings
from provisioner.worker.beat import entries
from provisioner.worker.schedule import CronSchedule

app, found = configure(), entries(settings())
for place, text in enumerate(sys.argv[1:]):
    found[f"cron{place}"] = {**found["sync"], "schedule": CronSchedule(Cron.read(text), settings().zone)}
app.conf.beat_schedule = found
app.Beat(loglevel="WARNING", quiet=True).run()
"""


def with_sync(folder: Path, redis_url: str, sync: Any) -> Settings:
    document = settings_document("http://127.0.0.1:9", redis_url, folder / "roster.csv", folder / "data")
    document |= {"timezone": "Australia/Sydney", "schedule": {"sync": sync, "full": None, "watch_roster": None}}
    return load_settings(folder, document)


def scheduler(settings: Settings, **schedules: Any) -> BoundedScheduler:
    """A scheduler as beat makes it; `schedules` besides those of the settings."""
    app = Celery("schedule", set_as_current=False)
    app.conf.update(configured(settings))
    found = entries(settings)
    app.conf.beat_schedule = found | {name: {**found["tick"], "schedule": one} for name, one in schedules.items()}
    return BoundedScheduler(app)


@pytest.fixture
def contents(redis_url: str) -> RedisContents:
    return RedisContents(redis_url)


@pytest.mark.parametrize("text", BAD)
def test_what_beat_and_page_could_not_read_is_refused_by_the_settings(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"schedule\.sync.*is no cron expression"):
        with_sync(tmp_path, "redis://127.0.0.1:9/0", text)


def test_settings_beat_and_page_have_one_next_time_for_each(
    tmp_path: Path, redis_url: str, contents: RedisContents
) -> None:
    settings = {text: with_sync(tmp_path, redis_url, text) for text in GOOD}
    assert len(GOOD) + len(BAD) >= 40

    async def shown() -> dict[str, datetime]:
        async with Deployment.open(settings["* * * * *"]) as dep:
            looks = {text: await overview.look(replace(dep, settings=one)) for text, one in settings.items()}
            return {text: datetime.fromisoformat(str(one.next_run)) for text, one in looks.items()}

    def planned() -> dict[str, datetime]:
        found = {}
        for text, one in settings.items():
            contents.lose_everything()
            scheduler(one)
            found[text] = datetime.fromtimestamp(contents.entries_due()["sync"], UTC)
        return found

    before, page, after = planned(), asyncio.run(shown()), planned()
    while before != after:
        # A minute began between the two, and `* * * * *` is due in it
        before, page, after = planned(), asyncio.run(shown()), planned()
    for text, due in page.items():
        assert before[text] == due.astimezone(UTC), text
        assert due.utcoffset() == due.astimezone(SYDNEY).utcoffset()


@pytest.mark.parametrize(
    ("text", "last", "now", "due", "seconds"),
    [
        ("0 3 * * *", "2026-03-02T03:00+11:00", "2026-03-02T10:00+11:00", False, 17 * 3600),
        ("0 3 * * *", "2026-03-01T03:00+11:00", "2026-03-02T03:00+11:00", True, 24 * 3600),
        # Nobody was there at three
        ("0 3 * * *", "2026-03-01T03:00+11:00", "2026-03-02T10:00+11:00", True, 17 * 3600),
        ("0 3 * * 7", "2026-03-01T03:00+11:00", "2026-03-02T10:00+11:00", False, 6 * 86400 - 7 * 3600),
        # Days of 25 and of 23 hours
        ("0 3 * * *", "2026-04-04T03:00+11:00", "2026-04-04T03:00+11:00", False, 25 * 3600),
        ("0 3 * * *", "2026-10-03T03:00+10:00", "2026-10-03T03:00+10:00", False, 23 * 3600),
        # The hour that comes twice: once only
        ("30 2 * * *", "2026-04-05T02:30+11:00", "2026-04-05T02:30+10:00", False, 24 * 3600),
        # The hour that does not come: at once after it
        ("30 2 * * *", "2026-10-03T02:30+10:00", "2026-10-04T03:00+11:00", True, 23.5 * 3600),
    ],
)
def test_when_a_run_is_due(text: str, last: str, now: str, due: bool, seconds: float) -> None:
    when = CronSchedule(Cron.read(text), SYDNEY, nowfun=lambda: datetime.fromisoformat(now).astimezone(SYDNEY))
    found = when.is_due(datetime.fromisoformat(last).astimezone(SYDNEY))
    assert (found.is_due, found.next) == (due, seconds)


def test_a_run_before_the_clocks_change_is_looked_at_on_the_day_itself(tmp_path: Path, redis_url: str) -> None:
    """A day of 25 hours: the place in Redis is the moment itself, not an hour after it."""
    made = scheduler(with_sync(tmp_path, redis_url, "0 3 * * *"))
    now = datetime(2026, 4, 4, 3, 30, tzinfo=SYDNEY)
    when = CronSchedule(Cron.read("0 3 * * *"), SYDNEY, nowfun=lambda: now)

    class Then(Entry):
        def default_now(self) -> datetime:
            return now.astimezone(UTC)

    entry = Then(name="sync", task="provisioner.scheduled", schedule=when, app=made.app, last_run_at=now)
    assert entry.due_at == datetime(2026, 4, 5, 3, 0, tzinfo=SYDNEY).astimezone(UTC)


def test_the_last_run_outlasts_a_restart_and_another_expression(
    tmp_path: Path, redis_url: str, contents: RedisContents
) -> None:
    scheduler(with_sync(tmp_path, redis_url, "0 3 * * *"))
    kept = contents.entry_meta("sync")
    made = scheduler(with_sync(tmp_path, redis_url, "0 4 1 1 *"))
    assert contents.entry_meta("sync") == kept
    entry = Entry.from_key(contents.entry("sync"), app=made.app)
    assert str(entry.schedule.cron) == "0 4 1 1 *"


def stored(schedule_: Any, last: datetime | None) -> dict[str, str]:
    """An entry as redbeat itself writes it."""
    definition: dict[str, Any] = {"name": "sync", "task": "provisioner.scheduled", "args": ["schedule"], "kwargs": {}}
    definition |= {"options": {}, "schedule": schedule_, "enabled": True}
    return {
        "definition": json.dumps(definition, cls=RedBeatJSONEncoder),
        "meta": json.dumps({"last_run_at": last}, cls=RedBeatJSONEncoder),
    }


LONG_AGO = datetime(2020, 1, 1, tzinfo=ZoneInfo("Australia/Sydney"))


@pytest.mark.parametrize(
    ("content", "caught_up"),
    [
        (stored(crontab("0", "3"), LONG_AGO), True),
        (stored(schedule(60), LONG_AGO), True),
        ({**stored(None, LONG_AGO), "definition": '{"schedule": {"__type__": "crontab", "hour": "25"}}'}, True),
        ({**stored(None, LONG_AGO), "definition": "no JSON"}, True),
        ({**stored(None, LONG_AGO), "meta": "no JSON"}, False),
        ({**stored(None, LONG_AGO), "meta": "[]"}, False),
        ({**stored(None, LONG_AGO), "meta": '{"last_run_at": {"__type__": "datetime", "timezone": "Nowhere"}}'}, False),
        (stored(crontab("0", "3"), None), False),
        (stored(crontab("0", "3"), datetime.now(UTC) + timedelta(days=900)), False),
        ("a text where a hash should be", False),
    ],
)
def test_nothing_that_is_stored_stops_beat(
    tmp_path: Path, redis_url: str, contents: RedisContents, content: Any, caught_up: bool
) -> None:
    """What another version or a wrong clock left is read as far as it goes; a run that was missed is due at once."""
    contents.write_entry("sync", content)
    contents.let_entries_be_due("sync", "nobody-knows-it")
    made = scheduler(with_sync(tmp_path, redis_url, "0 3 * * *"))
    entry = Entry.from_key(contents.entry("sync"), app=made.app)
    assert str(entry.schedule.cron) == "0 3 * * *"
    assert bool(entry.is_due().is_due) == caught_up
    assert "nobody-knows-it" not in made.schedule.keys() | contents.entries_due().keys()


def test_an_older_version_can_read_what_is_stored(tmp_path: Path, redis_url: str, contents: RedisContents) -> None:
    made = scheduler(with_sync(tmp_path, redis_url, "0 3 * * 7"))
    entry = RedBeatSchedulerEntry.from_key(contents.entry("sync"), app=made.app)
    assert entry.is_due().is_due is False


@pytest.mark.timeout(120)
def test_a_real_beat_begins_with_every_expression_and_begins_again(
    tmp_path: Path, redis_url: str, contents: RedisContents
) -> None:
    with_sync(tmp_path, redis_url, "*/30 * * * *")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONER_")}
    environment |= {"PROVISIONER_CONFIG": str(tmp_path / "provisioner.yaml")}
    contents.write_entry("cron4", stored(crontab("0", "3"), LONG_AGO))
    contents.write_entry("cron5", {**stored(None, LONG_AGO), "definition": "no JSON"})
    contents.let_entries_be_due("cron4", "cron5")
    for _ in range(2):
        contents.empty_queue()
        with (tmp_path / "beat.err").open("wb") as err:
            beat = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *GOOD],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
            )
        try:
            deadline = time.monotonic() + 40
            while contents.messages() < 4:
                assert beat.poll() is None, (tmp_path / "beat.err").read_text(encoding="utf-8")
                assert time.monotonic() < deadline, "beat sends nothing"
                time.sleep(0.1)
            places = contents.entries_due()
            for place, text in enumerate(GOOD):
                due = Cron.read(text).next(datetime.now(UTC) - timedelta(minutes=1), SYDNEY)
                assert due is not None
                assert places[f"cron{place}"] >= due.timestamp(), text
            assert "rubbish" not in places
        finally:
            beat.send_signal(signal.SIGTERM)
            beat.wait(20)
    assert "provisioner.tick" in contents.sent()


def test_a_schedule_that_another_beat_wrote_over_is_restored(
    tmp_path: Path, redis_url: str, contents: RedisContents
) -> None:
    mine = scheduler(with_sync(tmp_path, redis_url, "*/30 * * * *"))
    first = contents.entries_due()["sync"]
    # Another beat, which has other settings, and acts until this one does
    scheduler(with_sync(tmp_path, redis_url, "0 0 29 2 *"))
    assert contents.entries_due()["sync"] != first
    mine.lock_key = None
    mine.tick()
    assert contents.entries_due()["sync"] <= time.time() + 1800
    contents.take_entry_off("sync")
    mine.tick()
    assert "sync" in contents.entries_due()


def test_beat_imports_neither_polars_nor_a_task() -> None:
    program = """
import sys
from provisioner.settings import load
from provisioner.worker.beat import entries
entries(load().settings)
print([name for name in ("fastapi", "polars", "provisioner.worker.tasks") if name in sys.modules])
"""
    config = Path(__file__).parents[2] / "config" / "provisioner.yaml"
    variables = {**os.environ, "PROVISIONER_CONFIG": str(config)}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=variables)
    assert ran.stdout.strip() == "[]"
