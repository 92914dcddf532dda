"""A vendor that changes its mind is noticed in its answers, once and by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.preflight.answers import changed
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import plan_once, sync_once

pytestmark = pytest.mark.anyio
PEOPLE = 8


async def notes(dep: Deployment, target: str) -> list[str]:
    part: dict[str, Any] = (await sync_once(dep))["targets"][target]
    return [one for one in part["notes"] if "answers otherwise" in one]


async def said(dep: Deployment, target: str) -> str:
    return " ".join(line.message for line in await changed(dep.answer_shapes, [target], await dep.clock.now()))


async def test_a_field_that_is_gone_and_one_of_another_type_are_said_once(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=("mtribes",)) as dep:
        for _ in range(3):
            assert await notes(dep, "mtribes") == []
        switchboard.options("mtribes", tag_objects=True)
        # A plan changes nothing, so it does not use the news up either
        await plan_once(dep)
        # The listing is not believed, and the run says what changed
        (note,) = await notes(dep, "mtribes")
        assert note.startswith("mtribes answers otherwise than before: GET /{…}/spaces/{…}/users: users[].tags is ")
        assert note.endswith("list of object, and was list of text.")
        assert await notes(dep, "mtribes") == []
        assert "users[].tags is list of object" in await said(dep, "mtribes")
    document = {"urls": ["json://127.0.0.1:1"]}
    async with opened(only=("traitly",), notify=document) as dep:
        assert await notes(dep, "traitly") == []
        switchboard.seed("traitly", [{"customer_id": "W0000", "custom_attributes": {"level": 7}}])
        assert await notes(dep, "traitly") == []
        switchboard.seed("traitly", [{"customer_id": "W0000", "custom_attributes": {"level": "7"}}])
        (note,) = await notes(dep, "traitly")
        assert note.endswith("/customer: data[].custom_attributes.level is text, and was number.")
        waiting = await dep.notices.first()
        assert waiting is not None
        assert (waiting["state"], note in waiting["text"]) == ("changed", True)
