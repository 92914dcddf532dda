"""What changed of a run is told once, to everybody who listens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioner.admin.decisions import Choice, decide_about
from provisioner.errors import UnexpectedError
from provisioner.progress import notifications, subscribers
from provisioner.progress.run_events import PartsChanged, RunEnded, RunEvent
from provisioner.progress.run_status import end_with_error, refresh
from provisioner.runs import lifecycle
from provisioner.runtime.context import Deployment
from provisioner.store.runs.documents import Request
from tests.decisions.conftest import Opened, company
from tests.support.harness import drain, sync_once

pytestmark = pytest.mark.anyio
ONLY = ("traitly",)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[RunEvent]:
    """What is told, besides those who listen anyway."""
    events: list[RunEvent] = []

    async def listen(dep: Deployment, event: RunEvent) -> None:
        del dep
        events.append(event)

    monkeypatch.setattr(subscribers, "SUBSCRIBERS", {**subscribers.SUBSCRIBERS, "listening": listen})
    return events


async def test_a_run_ends_once_and_each_change_is_told_once(
    opened: Opened, roster: Path, heard: list[RunEvent]
) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(20))
        run = (await sync_once(dep))["run"]
        assert heard == [
            RunEnded(run, "succeeded", first=True),
            PartsChanged(run, {"traitly": "succeeded"}),
        ]
        await refresh(dep, run)
        assert len(heard) == 2, "nothing changed since"


async def test_of_many_who_look_at_once_one_ends_the_run(opened: Opened, roster: Path, heard: list[RunEvent]) -> None:
    notify = {"urls": ["json://127.0.0.1:1/"], "on": ["held"]}
    async with opened(only=ONLY, notify=notify) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        heard.clear()
        roster.write_text(company(20, gone=(0, 1, 2, 3)))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        for target in await lifecycle.begin(dep, run):
            await lifecycle.plan_part(dep, run, target)
        assert heard == []
        assert set(await asyncio.gather(*(refresh(dep, run) for _ in range(12)))) == {"held"}
        # A part whose notices may be lost is told again until they are written, and each is written once
        assert {type(one) for one in heard} == {PartsChanged, RunEnded}
        assert await dep.notices.waiting() == 1
        assert [one for one in heard if isinstance(one, RunEnded) and one.first] == [RunEnded(run, "held", first=True)]


@pytest.mark.parametrize("label", [None, "first_name || ' ' || last_name"])
async def test_a_notice_shows_people_only_where_the_settings_say_how(
    opened: Opened, roster: Path, monkeypatch: pytest.MonkeyPatch, label: str | None
) -> None:
    sent: list[str] = []

    def tell(_url: str, _title: str, text: str) -> bool:
        sent.append(text)
        return True

    monkeypatch.setattr(notifications, "_tell", tell)
    notify = {"urls": ["json://127.0.0.1:1/"], "on": ["held"]}
    async with opened(only=ONLY, notify=notify, reading={"label": label}) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2, 3)))
        await sync_once(dep)
        notice = await dep.notices.first()
        assert notice is not None
        assert notice.get("people", []) == (["W0000", "W0001", "W0002"] if label else [])
        assert await notifications.send_waiting(dep) == 1
    ((text),) = sent
    assert text.startswith("traitly: held for approval: 4 leave")
    people = "Among them: First0 Last0 (W0000), First1 Last1 (W0001), First2 Last2 (W0002)."
    assert text.endswith(people) == (label is not None)
    assert ("First0" in text) == (label is not None)


async def test_an_approval_after_the_end_changes_it(opened: Opened, roster: Path, heard: list[RunEvent]) -> None:
    async with opened(only=ONLY) as dep:
        roster.write_text(company(20))
        await sync_once(dep)
        roster.write_text(company(20, gone=(0, 1, 2, 3)))
        run = (await sync_once(dep))["run"]
        heard.clear()
        await decide_about(dep, run, "approved", Choice(), by="test")
        assert heard == [PartsChanged(run, {"traitly": "running"})]
        await drain(dep)
        assert heard[1:] == [
            RunEnded(run, "succeeded", first=False),
            PartsChanged(run, {"traitly": "succeeded"}),
        ]


async def test_a_run_that_could_not_be_carried_out_asks_for_no_table(
    opened: Opened, roster: Path, tmp_path: Path, heard: list[RunEvent]
) -> None:
    async with opened(only=ONLY, writeback={"url": str(tmp_path / "back.csv")}) as dep:
        roster.write_text(company(2))
        run = await lifecycle.request_run(dep, Request(trigger="manual"))
        await end_with_error(dep, run, UnexpectedError("it broke"))
        assert heard == [RunEnded(run, "failed", first=True, carried_out=False)]
        assert await dep.table_requests.asked_by() is None


async def test_a_subscriber_that_fails_keeps_no_other_from_hearing(
    opened: Opened, roster: Path, heard: list[RunEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(dep: Deployment, event: RunEvent) -> None:
        del dep, event
        raise KeyError("Jane")

    monkeypatch.setattr(subscribers, "SUBSCRIBERS", {"breaking": broken, **subscribers.SUBSCRIBERS})
    async with opened(only=ONLY) as dep:
        roster.write_text(company(2))
        run = await sync_once(dep)
        assert (run["status"], len(heard)) == ("succeeded", 2)
        assert "breaking ended with KeyError" in run["error"]["message"]
        assert "Jane" not in run["error"]["message"]
