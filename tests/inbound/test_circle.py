"""The whole circle: a course completed in one product becomes an event, a tag, and a date for HR."""

from __future__ import annotations

import asyncio
import csv
import time

from provisioner.progress.writeback import export, write_due
from provisioner.runtime.context import Deployment
from tests.inbound.support import SECRET, Company, handled
from tests.support.harness import sync_once


def _sent(firm: Company, instance: str, count: int) -> list[dict[str, object]]:
    """The webhooks of an instance, as soon as there are so many."""
    for _ in range(1000):
        sent = firm.switchboard.webhooks(instance)
        if len(sent) >= count:
            return sent
        time.sleep(0.01)
    raise AssertionError(f"{instance} sent {firm.switchboard.webhooks(instance)}")


def test_a_completed_course_goes_all_the_way_round(firm: Company, site: str) -> None:
    firm.switchboard.options("tribal_habits", webhook_url=f"{site}/webhooks/tribal_habits/{SECRET}")
    target = firm.folder / "back.csv"

    async def go() -> None:
        settings = firm.settings.model_copy(
            update={
                "writeback": firm.settings.writeback.model_copy(
                    update={
                        "url": str(target),
                        "columns": {
                            "course": "tribal_habits.last_completed",
                            "completed": "tribal_habits.last_completed_at",
                        },
                    }
                )
            }
        )
        async with Deployment.open(settings) as dep:
            document = await sync_once(dep)
            assert document["status"] == "succeeded", document
            # Our own enrolment of somebody in Sales came back, and went nowhere: no route asks for it
            assert {one["status"] for one in _sent(firm, "tribal_habits", 1)} == {202}
            await handled(dep)
            assert firm.events() == []

            firm.switchboard.act("tribal_habits", "complete", user_name="W2", code="TH-4-78")
            assert {one["status"] for one in _sent(firm, "tribal_habits", 3)} == {202}
            await handled(dep)
            assert firm.events() == [("W2", "Completed Safety at work")]
            assert "learning/completed" in firm.tags()["W2"]
            assert "department/engineering" in firm.tags()["W2"]
            assert "learning/completed" not in firm.tags()["W1"]

            written = await write_due(dep)
            assert written is not None
            assert written.written
            rows = {row["employee_id"]: row for row in csv.DictReader(target.read_text(encoding="utf-8").splitlines())}
            assert rows["W2"]["course"] == "Safety at work"
            assert rows["W2"]["completed"][:4].isdigit()
            assert rows["W1"]["completed"] == ""
            assert rows["W2"]["traitly_outcome"] == "event succeeded"
            assert rows["W2"]["mtribes_status"] == "active"
            assert not (await export(dep)).written

            # The next sync finds nothing to do: the tag is nobody's by mapping, and stays
            again = await sync_once(dep)
            assert again["status"] == "succeeded"
            assert all(not any(part["planned"].values()) for part in again["targets"].values()), again
            assert "learning/completed" in firm.tags()["W2"]

    asyncio.run(go())
