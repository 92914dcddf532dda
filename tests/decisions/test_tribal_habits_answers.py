"""Tribal Habits as its page leaves it open: counts that do not add up, odd values, names that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.leaver_receipts import unfinished
from provisioner.admin.preflight.targets import reach
from provisioner.model.run_document import exit_code
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from tests.decisions.conftest import Opened, company
from tests.support.harness import settings_document, sync_once

pytestmark = pytest.mark.anyio
PEOPLE = 6
#: Rows in which a refused create goes: what every user needs, then each other field of the example's mapping.
FIELDS = 6


async def test_counts_that_do_not_add_up_are_settled_by_reading(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    switchboard.options("tribal_habits", counts_off=True)
    roster.write_text(company(PEOPLE, changes={3: {"language": "klingon"}}))
    async with opened(
        only=("tribal_habits",), guards={"updates": {"percent": 100}, "leavers": {"percent": 100}}
    ) as dep:
        run = await sync_once(dep)
        part = run["targets"]["tribal_habits"]
        assert part["failed"] == {"create": 1}, "the list of errors is the vendor's word"
        assert part["succeeded"]["create"] == PEOPLE - 1
        # The other rows are not sent again; the refused one goes field by field
        assert switchboard.counts("tribal_habits")["rows"] == PEOPLE + FIELDS
        roster.write_text(company(PEOPLE, gone=(1,), changes={0: {"last_name": "Else"}}))
        switchboard.clear_log("tribal_habits")
        run = await sync_once(dep)
        assert exit_code(run) == 0
        # One of them gets another language than the one that was refused
        assert run["targets"]["tribal_habits"]["succeeded"] == {"update": 2, "leave": 1}
        assert switchboard.counts("tribal_habits")["by_endpoint"]["POST /papi/users/batch_save"] == 2


ITEMS = {"X-Country": {"type": "list", "items": ["Australia"]}}


async def failures(dep: Deployment, person: str) -> list[tuple[str, str]]:
    """What failed of one person, the newest first: kind and why."""
    found = [one for one in await dep.runs.history(person, 9) if one["status"] == "failed" and one["error"]]
    return [(one["kind"], one["error"]["message"]) for one in found if one["error"]]


async def test_a_bad_optional_field_costs_nobody_their_account(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    bad = {"language": "klingon", "country": "Mars", "job_title": "Sales Manager", "department": "Sales"}
    switchboard.options("tribal_habits", custom_fields=ITEMS)
    roster.write_text(company(PEOPLE, changes={3: bad}))
    async with opened(only=("tribal_habits",)) as dep:
        run = await sync_once(dep)
        part = run["targets"]["tribal_habits"]
        assert (exit_code(run), part["failed"]["create"], part["succeeded"]["create"]) == (5, 1, PEOPLE - 1)
        held = {one["user_name"]: one for one in switchboard.accounts("tribal_habits")}["W0003"]
        assert (held["role_1"], held["groups"], held["active"]) == ("Manager", "Sales;Sydney", True)
        assert (held["language"], held["X-Country"]) == (None, None)
        why = dict(await failures(dep, "W0003"))["create"]
        assert "language: Language is not available" in why
        assert "X-Country: X-Country has no item 'Mars'" in why
        assert why.endswith("all else was saved")
        entry = await dep.ledger.entry("tribal_habits", "W0003")
        assert entry is not None
        assert (entry.account, entry.state, entry.created) == ("W0003", "active", True)
        # What was to follow the account did; the next run asks for the refused field only
        assert part["succeeded"]["enrol"] == 1
        run = await sync_once(dep)
        part = run["targets"]["tribal_habits"]
        assert (exit_code(run), part["failed"], part["succeeded"]) == (5, {"update": 1}, {})
        roster.write_text(company(PEOPLE, changes={3: {**bad, "language": "en", "country": "Australia"}}))
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["tribal_habits"]["succeeded"]) == (0, {"update": 1})


async def test_a_right_is_taken_though_another_field_of_the_row_is_refused(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    switchboard.options("tribal_habits", custom_fields=ITEMS)
    manager = {"job_title": "Sales Manager"}
    roster.write_text(company(PEOPLE, changes={2: manager, 3: manager}))
    wide = {"leavers": {"percent": 100}, "updates": {"percent": 100}}
    async with opened(only=("tribal_habits",), guards=wide) as dep:
        assert exit_code(await sync_once(dep)) == 0
        # One field of each row is refused, another one for each
        roster.write_text(company(PEOPLE, changes={2: {"country": "Mars"}, 3: {"country": "Venus"}}))
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["tribal_habits"]["failed"]) == (5, {"update": 2})
        held = {one["user_name"]: one for one in switchboard.accounts("tribal_habits")}
        assert [(held[one]["role_1"], held[one]["X-Country"]) for one in ("W0002", "W0003")] == [
            ("Learner", "Australia"),
            ("Learner", "Australia"),
        ]
        assert (await failures(dep, "W0002"))[0] == (
            "update",
            "Tribal Habits refused X-Country: X-Country has no item 'Mars'; all else was saved",
        )


async def test_a_leaver_loses_access_though_another_field_of_the_row_is_refused(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=("tribal_habits",)) as dep:
        await sync_once(dep)
        own = dep.settings.targets["tribal_habits"].model_dump(by_alias=True, mode="json", exclude={"guards"})
    leaver = {"active": "FALSE", "language": "'klingon'"}
    key = {"api_key": "sandbox-tribal-habits-key"}
    async with opened(only=("tribal_habits",), targets={"tribal_habits": {**own, **key, "leaver": leaver}}) as dep:
        roster.write_text(company(PEOPLE, gone=(1,)))
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["tribal_habits"]["failed"]) == (5, {"leave": 1})
        held = {one["user_name"]: one for one in switchboard.accounts("tribal_habits")}["W0001"]
        assert (held["active"], held["language"]) == (False, "en")
        (receipt,) = await unfinished(dep)
        assert receipt["targets"]["tribal_habits"]["status"] == "failed"
        assert "refused language: Language is not available; all else was saved" in (
            receipt["targets"]["tribal_habits"]["message"] or ""
        )


async def test_an_odd_value_in_a_field_that_nobody_mapped_stops_nobody(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    roster.write_text(company(PEOPLE))
    async with opened(only=("tribal_habits",)) as dep:
        await sync_once(dep)
        switchboard.seed("tribal_habits", [{"user_name": "W0002", "admin_type": "none", "org_admin": "perhaps"}])
        roster.write_text(company(PEOPLE, gone=(1,)))
        run = await sync_once(dep, full=True)
        assert exit_code(run) == 0
        assert run["targets"]["tribal_habits"]["succeeded"] == {"leave": 1}


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("habitate", {"leaver": {"role": "'Nobody'"}}, "targets.habitate.leaver.role"),
        ("habitate", {"attributes": {"boards": "'Sales;Elsewhere'"}}, "targets.habitate.attributes.boards"),
        ("tribal_habits", {"attributes": {"X-Planet": "country"}}, "X-Planet"),
        ("tribal_habits", {"enrolments": [{"code": "TH-4-999-NEW"}]}, "TH-4-999-NEW"),
        ("mtribes", {"space_id": "6f1d2c3b-0000-4000-8000-00000000beef"}, "targets.mtribes.space_id"),
    ],
)
async def test_a_name_that_the_target_does_not_have_fails_the_check(
    opened: Opened, switchboard: Switchboard, roster: Path, kind: str, changes: dict[str, Any], told: str
) -> None:
    roster.write_text(company(2))
    async with opened(only=(kind,)) as dep:
        await sync_once(dep)
        assert not [line for line in await reach(dep.settings, redis=True, say=print) if line.verdict == "fail"]
        own = dep.settings.targets[kind]
        merged = {
            name: {**getattr(own, name), **value} if isinstance(value, dict) else value
            for name, value in changes.items()
        }
    document = own.model_dump(by_alias=True) | merged
    settings = dep.settings.model_copy(update={"targets": {kind: type(own).model_validate(document)}})
    (line,) = [line for line in await reach(settings, redis=False, say=print) if line.verdict == "fail"]
    assert told in line.message
    assert (line.subject, line.exit_code) == (f"{kind} names", 2)
    del switchboard


@pytest.mark.parametrize(
    ("uninvited", "said"),
    [
        (["*"], "Tribal Habits could not send the invitation; send it there by hand"),
        (
            ["W0001", "W0004"],
            "Tribal Habits could not send 2 of 6 invitations, not saying whose; see there who has none",
        ),
    ],
)
async def test_an_invitation_that_failed_is_a_remark(
    opened: Opened, sandbox: SandboxServer, switchboard: Switchboard, roster: Path, uninvited: list[str], said: str
) -> None:
    document = settings_document(sandbox.url, "redis://unused", roster, roster.parent)
    own = {**document["targets"]["tribal_habits"], "invitations": "new"}
    switchboard.options("tribal_habits", uninvited=uninvited)
    roster.write_text(company(PEOPLE))
    async with opened(only=("tribal_habits",), targets={"tribal_habits": own}) as dep:
        run = await sync_once(dep)
        part = run["targets"]["tribal_habits"]
        assert (exit_code(run), part["succeeded"]["create"]) == (0, PEOPLE)
        assert (
            part["notes"][-1] == f"{PEOPLE} changes were done with a remark: see `provisioner show RUN --operations`."
        )
        (create,) = [one for one in await dep.runs.history("W0001") if one["kind"] == "create"]
        assert (create["status"], create["error"], create["note"]) == ("succeeded", None, said)
        # Nobody is invited by an update, so nothing is said of one
        roster.write_text(company(PEOPLE, changes={1: {"last_name": "Else"}}))
        run = await sync_once(dep)
        assert run["targets"]["tribal_habits"]["succeeded"] == {"update": 1}
        assert run["targets"]["tribal_habits"]["notes"] == []


async def test_what_is_set_once_and_was_refused_is_sent_once_for_each_value(
    opened: Opened, switchboard: Switchboard, roster: Path
) -> None:
    def language() -> str | None:
        (one,) = [one for one in switchboard.accounts("tribal_habits") if one["user_name"] == "W0003"]
        return one["language"] or None

    def says(language: str) -> None:
        roster.write_text(company(PEOPLE, changes={3: {"language": language}}))

    # Of an account that was there before, nothing is sent that is set once
    switchboard.seed(
        "tribal_habits",
        [{"user_name": "W0004", "first_name": "First4", "last_name": "Last4", "email": "p4@example.com"}],
    )
    says("tlh")
    async with opened(only=("tribal_habits",), guards={"updates": {"percent": 100}}) as dep:
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["tribal_habits"]["failed"]) == (5, {"create": 1})
        assert "language: Language is not available" in (await failures(dep, "W0003"))[0][1]
        # The account is right but for the language: the same value is a to-do, and not sent again
        switchboard.clear_log("tribal_habits")
        run = await sync_once(dep)
        part = run["targets"]["tribal_habits"]
        assert (exit_code(run), part["planned"]["update"], part["todo"]) == (0, 0, 1)
        assert switchboard.counts("tribal_habits")["rows"] == 0
        (todo,) = await dep.health.list("tribal_habits", "todos")
        assert (todo["person"], "language 'tlh' was refused by tribal_habits" in todo["message"]) == ("W0003", True)
        # Another value is sent once, and refused once
        says("xx")
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["tribal_habits"]["failed"]) == (5, {"update": 1})
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["tribal_habits"]["planned"]["update"]) == (0, 0)
        says("en")
        run = await sync_once(dep)
        assert (exit_code(run), run["targets"]["tribal_habits"]["succeeded"]) == (0, {"update": 1})
        assert language() == "en"
        assert run["targets"]["tribal_habits"]["todo"] == 0
        # From then on it is the target's own
        for value in ("tlh", "de"):
            says(value)
            run = await sync_once(dep)
            assert run["targets"]["tribal_habits"]["unchanged"] == PEOPLE
        assert language() == "en"
        held = {one["user_name"]: one for one in switchboard.accounts("tribal_habits")}["W0004"]
        assert held["language"] is None
