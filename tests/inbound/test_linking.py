"""`link` and `unlink` as a person uses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from provisioner.model.run_document import RunDocument
from provisioner.runs import target_lock
from provisioner.runtime.context import Deployment
from tests.cli.calling import Answer, call
from tests.inbound.support import PEOPLE, Company
from tests.support.documents import anything
from tests.support.harness import drain, sync_once
from tests.support.redis_contents import RedisContents

T = TypeVar("T")
#: Everybody but Cleo (W3).
WITHOUT = (PEOPLE[0], PEOPLE[1], PEOPLE[3])


def _call(firm: Company, *words: str) -> Answer:
    return call(*words, PROVISIONER_CONFIG=str(firm.folder / "provisioner.yaml"))


def _with(firm: Company, work: Callable[[Deployment], Awaitable[T]]) -> T:
    async def go() -> T:
        async with Deployment.open(firm.settings) as dep:
            return await work(dep)

    return asyncio.run(go())


@pytest.fixture
def stranger(firm: Company) -> str:
    """The msid of a member who has Cleo's username and another address; all else is in step."""

    async def go(dep: Deployment) -> None:
        firm.roster(*WITHOUT)
        await sync_once(dep)
        firm.switchboard.act("habitate", "join", email="private@example.org", first_name="Cleo", username="w3")
        firm.roster(*PEOPLE)
        await sync_once(dep)

    _with(firm, go)
    return next(str(one["msid"]) for one in firm.switchboard.accounts("habitate") if one["username"] == "w3")


def _msid(firm: Company, email: str) -> str:
    return next(str(one["msid"]) for one in firm.switchboard.accounts("habitate") if one["email"] == email)


def test_the_todo_s_own_words_settle_it(firm: Company, stranger: str) -> None:
    (todo,) = [one for one in _call(firm, "todos", "--json").document["todos"] if one["person"] == "W3"]
    words = todo["message"].partition("provisioner ")[2].partition(". ")[0].split()
    assert words[:2] == ["link", "W3"]
    # An msid has a dot inside
    answer = _call(firm, *words[:3], stranger, "--json")
    assert answer.code == 0
    assert answer.document == {
        "person": "W3", "target": "habitate", "account": stranger, "linked": True, "dropped": 0,
    }  # fmt: skip
    assert _call(firm, "link", "W3", "habitate", stranger).code == 0
    planned = _call(firm, "plan", "--target", "habitate", "--json").document
    assert {(one["person"], one["account"]) for one in planned["operations"]} == {("W3", stranger)}
    assert "found by hand" in _call(firm, "why", "W3").out


async def _ledger(dep: Deployment) -> dict[bytes, bytes]:
    return RedisContents(dep).ledger("habitate")


def test_each_refusal_names_what_is_wrong_and_changes_nothing(firm: Company, stranger: str) -> None:
    ada = _msid(firm, "ada@example.com")
    before = _with(firm, _ledger)
    for words, said in (
        (("link", "W9", "habitate", stranger), "no person 'W9'"),
        (("link", "w33", "habitate", stranger), "no person 'w33'"),
        (("link", "W3", "habitats", stranger), "no target 'habitats'"),
        (("link", "W3", "habitate", "999.nobody"), "has shown no account '999.nobody'"),
        (("link", "W3", "habitate", stranger.swapcase()), "has shown no account"),
        (("link", "W3", "habitate", ada), "belongs to 'W1'"),
        (("link", "W1", "habitate", stranger), f"has another account in habitate '{ada}'"),
        (("unlink", "W3", "habitate"), "no account in habitate"),
        (("unlink", "W9", "habitate"), "no account in habitate"),
        (("unlink", "W1", "habitats"), "no target 'habitats'"),
    ):
        answer = _call(firm, *words, "--json")
        assert answer.code == 2, words
        assert answer.document["error"]["code"] == "usage"
        assert said in answer.document["error"]["message"], words
    assert _with(firm, _ledger) == before
    assert _with(firm, lambda dep: dep.hand_links.apart("habitate")) == {}
    assert _call(firm, "audit", "--json").document["audit"] == []


def test_a_wrong_match_is_unlinked_and_given_to_whom_it_belongs(firm: Company, stranger: str) -> None:
    """Both are written down, with who did it."""
    ben = _msid(firm, "ben@example.com")
    answer = _call(firm, "unlink", "W2", "habitate", "--json")
    assert (answer.code, answer.document["account"], answer.document["linked"]) == (0, ben, False)
    planned = _call(firm, "plan", "--target", "habitate", "--json").document
    assert planned["operations"] == []
    assert _call(firm, "unlink", "W2", "habitate").code == 2
    assert _call(firm, "link", "W3", "habitate", ben).code == 0
    trail = anything(_with(firm, lambda dep: dep.audit.newest(10)))
    assert [(one["action"], one["people"], one["target"], one["account"]) for one in trail] == [
        ("linked", ["W3"], "habitate", ben),
        ("unlinked", ["W2"], "habitate", ben),
    ]
    assert all(one["by"].startswith("cli:") for one in trail)
    del stranger


def test_what_was_planned_without_the_link_is_not_sent(firm: Company) -> None:
    async def planned(dep: Deployment) -> str:
        firm.roster(*WITHOUT)
        await sync_once(dep)
        firm.roster(*PEOPLE)
        await dep.health.pause("habitate", paused=True)
        document = await sync_once(dep)
        assert document["targets"]["habitate"]["waiting"] == {"create": 1}
        firm.switchboard.act("habitate", "join", email="private@example.org", first_name="Cleo", username="cleo")
        return str(document["run"])

    async def listed(dep: Deployment) -> None:
        assert await dep.inbound.orphan("habitate", msid)

    async def resumed(dep: Deployment) -> RunDocument:
        await dep.health.pause("habitate", paused=False)
        await drain(dep)
        document = await dep.runs.document(run)
        assert document is not None
        return document

    run = _with(firm, planned)
    msid = _msid(firm, "private@example.org")
    # A new member is known by the webhook before any listing shows it
    _with(firm, listed)
    answer = _call(firm, "link", "W3", "habitate", msid, "--json")
    assert (answer.code, answer.document["dropped"]) == (0, 1)
    document = _with(firm, resumed)
    figures = document["targets"]["habitate"]
    assert (figures["planned"]["create"], figures["superseded"], figures["waiting"]) == (1, {"create": 1}, {})
    assert [one["email"] for one in firm.switchboard.accounts("habitate") if "cleo" in one["email"]] == []


def test_it_waits_for_whoever_plans_and_gives_up_with_nothing_changed(
    firm: Company, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.admin.linking.link.__kwdefaults__", {"patience": 0.3})

    async def held(dep: Deployment) -> Answer:
        async with target_lock.held(dep.locks, "habitate", "another run") as hold:
            assert hold is not None
            return await asyncio.to_thread(_call, firm, "link", "W3", "habitate", stranger)

    answer = _with(firm, held)
    assert answer.code == 1
    assert "a run is planning habitate" in answer.err
    assert _call(firm, "link", "W3", "habitate", stranger).code == 0


def test_a_key_that_changes_takes_along_what_was_unlinked_and_forgetting_erases_it(
    firm: Company, stranger: str
) -> None:
    del stranger
    ben = _msid(firm, "ben@example.com")
    assert _call(firm, "unlink", "W2", "habitate").code == 0

    async def moved(dep: Deployment) -> dict[str, frozenset[str]]:
        await dep.ledger.rename("habitate", "W2", "N2")
        return await dep.hand_links.apart("habitate")

    assert _with(firm, moved) == {"N2": frozenset({ben})}

    async def back(dep: Deployment) -> None:
        await dep.ledger.rename("habitate", "N2", "W2")

    _with(firm, back)
    assert json.loads(_call(firm, "forget", "W2", "--json").out)["person"] == "W2"
    assert _with(firm, lambda dep: dep.hand_links.apart("habitate")) == {}
