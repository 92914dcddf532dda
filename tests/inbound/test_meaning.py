"""What an event means for its person: linked, corrected, taken away, or nobody's; and what is kept of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from provisioner.events.poll import read_back
from provisioner.planning.routes import known_by
from provisioner.runtime.context import Deployment
from provisioner.targets.http import READ_TRIES
from tests.inbound.support import PEOPLE, SECRET, Company, enrolment, handled, joined, next_actions, post, propensity
from tests.support.harness import sync_once
from tests.support.redis_contents import RedisContents


def _tell(site: str, target: str, *bodies: Any) -> None:
    for body in bodies:
        assert post(site, f"/webhooks/{target}/{SECRET}", json.dumps(body).encode())[0] == 202


def _delivered(firm: Company, site: str, instance: str) -> None:
    firm.switchboard.options(instance, webhook_url=f"{site}/webhooks/{instance}/{SECRET}")


async def _told(firm: Company, instance: str, count: int) -> None:
    for _ in range(500):
        if len(firm.switchboard.webhooks(instance)) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{instance} did not send {count} webhooks")


def _member(firm: Company, email: str) -> dict[str, Any]:
    return next(one for one in firm.switchboard.accounts("habitate") if one["email"] == email)


def test_a_new_member_of_the_roster_is_linked_and_given_role_and_boards(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            # Nobody of Sales is known to habitate yet, and no sync of it is asked for
            firm.roster(*PEOPLE[1:])
            await sync_once(dep)
            firm.roster(*PEOPLE)
            await sync_once(dep, targets=("traitly",))
            _delivered(firm, site, "habitate")
            firm.switchboard.act("habitate", "join", email="ADA@example.com", first_name="Ada", username="whoever")
            await _told(firm, "habitate", 1)
            done = await handled(dep)
            assert len(done.runs) == 1
            entry = await dep.ledger.entry("habitate", "W1")
            member = _member(firm, "ADA@example.com")
            assert entry is not None
            assert entry.account == member["msid"]
            assert member["role_id"] == 3
            assert member["msid"] in firm.switchboard.state("habitate")["boards"]["Sales"]
            assert known_by((await dep.inbound.facts(["W1"]))["W1"]["habitate"])["joined_as"] == "member"

    asyncio.run(go())


def test_a_leaver_who_joins_gets_the_leavers_treatment(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            _delivered(firm, site, "habitate")
            firm.switchboard.act("habitate", "join", email="dan@example.com", first_name="Dan")
            await _told(firm, "habitate", 1)
            await handled(dep)
            assert _member(firm, "dan@example.com")["role_id"] == 5
            entry = await dep.ledger.entry("habitate", "W4")
            assert entry is not None
            assert entry.state == "left"

    asyncio.run(go())


def test_a_stranger_is_an_orphan(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            before = len(await dep.health.list("habitate", "orphans"))
            _tell(site, "habitate", joined(), joined(165))
            done = await handled(dep)
            assert done.runs == ()
            orphans = await dep.health.list("habitate", "orphans")
            assert orphans[before:] == ["206.JO7Rv1B4bEBUawd3d2DXsE2DA"]
            assert (await dep.inbound.counts())["habitate"]["nobody"] == 2
            assert RedisContents(dep).people_with_facts() == set()

    asyncio.run(go())


def test_our_own_creations_coming_back_start_nothing(firm: Company, site: str) -> None:
    async def go() -> None:
        _delivered(firm, site, "habitate")
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            await _told(firm, "habitate", 3)
            assert (await handled(dep)).runs == ()
            assert (await dep.inbound.backlog()).waiting == 0

    asyncio.run(go())


def test_facts_of_every_kind(firm: Company, site: str) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            _tell(site, "tribal_habits", enrolment(1), enrolment(2, knowledge_title="Rivers", knowledge_id=279))
            _tell(site, "tribal_habits", enrolment(3, "nobody-here"))
            _tell(site, "traitly", next_actions(), propensity(0.5), propensity(0.25, timestamp=123456790))
            _tell(site, "traitly", propensity(0.75, timestamp=123456788))
            _tell(site, "mtribes", {"event": "something.new", "user": "W1"})
            await handled(dep)
            told = {target: known_by(facts) for target, facts in (await dep.inbound.facts(["W1"]))["W1"].items()}
            assert told["tribal_habits"]["completed"] == "Countries;Rivers"
            assert told["tribal_habits"]["completed.topic.279"] == "2024-04-09T09:39:32.353+10:00"
            assert told["traitly"] == {
                "next_action": "Share Widget",
                "next_actions": "Share Widget;Style Widget",
                "next_actions_goal": "30-day Conversion",
                "likelihood": "0.25",
                "likelihood.30-day Conversion": "0.25",
                "goal": "30-day Conversion",
            }
            counts = await dep.inbound.counts()
            assert counts["mtribes"] == {"nobody": 1, "unknown": 1}
            assert [one["event"] for one in await dep.inbound.unknown()] == ["something.new"]
            assert (await dep.inbound.backlog()).waiting == 0

    asyncio.run(go())


def test_the_case_of_an_account_counts_where_the_vendor_tells_accounts_apart_by_it(firm: Company, site: str) -> None:
    """A customer `w1` of Traitly is not the customer `W1`; a user name of Tribal Habits ignores case."""

    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            _tell(site, "traitly", next_actions("w1"))
            _tell(site, "tribal_habits", enrolment(1, "w2"))
            await handled(dep)
            facts = await dep.inbound.facts(["W1", "W2"])
            assert "W1" not in facts
            assert list(facts["W2"]) == ["tribal_habits"]
            assert (await dep.inbound.counts())["traitly"]["nobody"] == 1

    asyncio.run(go())


def test_reading_back_tells_the_same_as_webhooks(firm: Company) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            firm.switchboard.act("tribal_habits", "complete", user_name="W2", code="TH-4-78")
            firm.switchboard.act("tribal_habits", "complete", user_name="W2", code="THP-4-22")
            first = await read_back(dep)
            assert first.failed == {}
            assert first.new["mtribes"] == 3
            assert first.new["traitly"] == 6
            facts = await dep.inbound.facts(["W1", "W2", "W3"])
            assert known_by(facts["W1"]["mtribes"]) == {"tribes": "Sales"}
            assert known_by(facts["W2"]["mtribes"]) == {"tribes": None}
            assert set(str(known_by(facts["W2"]["tribal_habits"])["completed"]).split(";")) == {
                "PathTestA",
                "Safety at work",
            }
            assert known_by(facts["W3"]["traitly"])["next_action"] == "Style Widget"
            # What did not change is read no more, or is no news
            firm.switchboard.clear_log("tribal_habits")
            again = await read_back(dep)
            assert again.new["tribal_habits"] == 0
            asked = [one["query"] for one in firm.switchboard.log("tribal_habits") if "assignments" in one["path"]]
            assert asked
            assert all("updated_at=" in query for query in asked)

    asyncio.run(go())


def test_a_target_that_cannot_be_read_is_passed_over(firm: Company) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            firm.switchboard.fault("mtribes", match={"path_prefix": "/v1.0/spaces"}, times=1000, status=403, body="{}")
            result = await read_back(dep)
            assert list(result.failed) == ["mtribes"]
            assert result.new["traitly"] == 6

    asyncio.run(go())


def test_a_customer_who_cannot_be_asked_for_holds_up_nobody_else(firm: Company) -> None:
    async def go() -> None:
        async with Deployment.open(firm.settings) as dep:
            await sync_once(dep)
            match = {"path_prefix": "/api/v1/recommended-next-action"}
            # W1 is asked for; W2 is not answered, however often
            firm.switchboard.fault("traitly", match=match, skip=1, times=READ_TRIES, status=500, body="{}")
            first = await read_back(dep, ("traitly",))
            assert "500" in first.failed["traitly"]
            assert first.new["traitly"] == 2
            # The next reading goes on behind them, and comes back to them
            assert (await read_back(dep, ("traitly",))).new["traitly"] == 2
            assert (await read_back(dep, ("traitly",))).new["traitly"] == 6
            facts = await dep.inbound.facts(["W1", "W2", "W3"])
            assert all(known_by(one["traitly"])["next_action"] for one in facts.values())

    asyncio.run(go())
