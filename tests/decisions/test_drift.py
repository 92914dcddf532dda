"""The drift list: what changed since we last wrote, since when, and what is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.admin.worklists import lists
from provisioner.runtime.context import Deployment
from tests.cli.calling import call
from tests.inbound.support import PEOPLE, Company, company
from tests.support.documents import anything
from tests.support.harness import sync_once
from tests.support.redis_contents import RedisContents
from tests.web.conftest import Site, make_site, sandbox

__all__ = ["make_site", "sandbox"]


async def _drift(dep: Deployment, target: str) -> dict[str, dict[str, Any]]:
    return {row["person"]: anything(row) for row in await lists(dep, "drift", (target,))}


def _overlay(firm: Company, target: str, key: str, account_of: str, **values: Any) -> None:
    account = next(one for one in firm.switchboard.accounts(target) if one[key] == account_of)
    firm.switchboard.seed(target, [{**account, **values}])


def _only(row: dict[str, Any]) -> dict[str, Any]:
    (found,) = row["attributes"]
    assert isinstance(found, dict)
    return found


def test_each_attribute_is_told_with_all_three_values_and_what_becomes_of_it(tmp_path: Path, redis_url: str) -> None:
    with company(tmp_path, redis_url) as firm:

        async def go() -> None:
            async with Deployment.open(firm.settings) as dep:
                await sync_once(dep)
                assert await _drift(dep, "tribal_habits") == {}
                _overlay(firm, "tribal_habits", "user_name", "W1", last_name="Other", language="fr")
                _overlay(firm, "tribal_habits", "user_name", "W2", active=False)
                first = await sync_once(dep, full=True)
                found = await _drift(dep, "tribal_habits")
                assert found.keys() == {"W1", "W2"}
                row = found["W1"]
                assert row["message"] == "changed in the target behind our back: last_name."
                assert (row["account"], row["then"], row["first_run"]) == ("W1", "correct", first["run"])
                by_name = {one["attribute"]: one for one in row["attributes"]}
                assert {name: by_name["last_name"][name] for name in ("written", "observed", "wanted", "then")} == {
                    "written": "Ng", "observed": "Other", "wanted": "Ng", "then": "correct"
                }  # fmt: skip
                # Its authority is create_only
                assert (by_name["language"]["then"], by_name["language"]["observed"]) == ("leave", "fr")
                assert "the target has the say" in by_name["language"]["because"]
                active = _only(found["W2"])
                assert (active["written"], active["observed"], active["then"]) == (True, False, "held")
                assert "not reactivated without approval" in active["because"]

                # Corrected since; what is held stands as it was first seen
                second = await sync_once(dep, full=True)
                found = await _drift(dep, "tribal_habits")
                assert found.keys() == {"W2"}
                assert found["W2"]["first_run"] == first["run"]
                assert found["W2"]["last_run"] == second["run"]
                assert found["W2"]["first_seen"] < found["W2"]["last_seen"]

        asyncio.run(go())


def test_where_drift_is_only_reported_it_says_so(tmp_path: Path, redis_url: str) -> None:
    with company(tmp_path, redis_url, target_traitly={"drift": "report"}) as firm:

        async def go() -> None:
            async with Deployment.open(firm.settings) as dep:
                await sync_once(dep)
                _overlay(firm, "traitly", "customer_id", "W1", name="Somebody Else")
                await sync_once(dep, full=True)
                row = (await _drift(dep, "traitly"))["W1"]
                told = _only(row)
                assert (row["then"], told["written"], told["observed"]) == ("report", "Ada Ng", "Somebody Else")
                assert told["because"] == "targets.traitly.drift is report."
                # The roster came to want just that, so nothing differs any more
                firm.roster(PEOPLE[0].replace("Ada,Ng", "Somebody,Else"), *PEOPLE[1:])
                await sync_once(dep, full=True)
                told = _only((await _drift(dep, "traitly"))["W1"])
                assert (told["then"], told["because"]) == ("leave", "it is what the roster asks for now.")

        asyncio.run(go())


def test_an_account_that_is_gone_and_tags_that_others_set(tmp_path: Path, redis_url: str) -> None:
    with company(tmp_path, redis_url) as firm:

        async def go() -> None:
            async with Deployment.open(firm.settings) as dep:
                await sync_once(dep)
                RedisContents(dep).age_links("traitly", 3600)
                firm.switchboard.remove("traitly", "W3")
                tags = next(one["tags"] for one in firm.switchboard.accounts("mtribes") if one["id"] == "W1")
                _overlay(firm, "mtribes", "id", "W1", tags=[*tags, "by/hand"])
                _overlay(firm, "mtribes", "id", "W2", tags=["by/hand"])
                await sync_once(dep, full=True)
                gone = (await _drift(dep, "traitly"))["W3"]
                assert (gone["message"], gone["attributes"], gone["then"]) == ("its account is gone.", [], "correct")
                found = await _drift(dep, "mtribes")
                assert found.keys() == {"W2"}
                assert _only(found["W2"])["observed"] == "by/hand"
                assert _only(found["W2"])["then"] == "correct"

        asyncio.run(go())


def test_the_command_and_the_page_tell_it(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site()
    site.held(3, gone=())
    account = site.switchboard.accounts("tribal_habits")[0]
    site.switchboard.seed("tribal_habits", [{**account, "last_name": "Other"}])
    site.sync(full=True)
    config = str(tmp_path / "provisioner.yaml")
    text = " ".join(call("--config", config, "drift", COLUMNS="200").out.split())
    assert f"tribal_habits {account['user_name']} last_name {account['last_name']} Other" in text
    assert "is corrected" in text
    assert "1 in all. Last seen" in text
    (row,) = call("--config", config, "drift", "--json").document["drift"]
    assert {"target", "person", "message"} <= row.keys()
    site.sign_in()
    page = site.client.get("/drift").text
    assert "We wrote" in page
    assert ">Other</td>" in page
    assert ">corrected</td>" in page
