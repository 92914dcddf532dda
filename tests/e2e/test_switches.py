"""Two days of a small company under each reading that the vendors' texts leave open: one end, or the cause by name.

In this process, over real HTTP and with a real Redis. Under no switch does an account come to hold what it neither held
before nor should hold, and nobody gets a second one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.admin.leaver_receipts import unfinished
from provisioner.model.run_document import exit_code
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from tests.decisions.conftest import company
from tests.support.harness import load_settings, plan_once, raise_limits, settings_document, sync_once
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer
from tests.support.switches import NAMED, SAME, VARIABLE, Switch

pytestmark = pytest.mark.slow

KINDS: Final = ("tribal_habits", "habitate", "traitly", "mtribes")
PEOPLE: Final = 7
#: What is another at each run, or says nothing of a person.
VARIES: Final = frozenset(
    {"created_at", "updated_at", "user_id", "sid", "msid", "last_modified_at", "role_details", "user_status"}
)
#: Two whom the roster knows and one whom it does not, in each vendor's own read form.
THERE: Final[Mapping[str, list[dict[str, Any]]]] = {
    "tribal_habits": [
        {"user_name": "W0000", "email": "p0@example.com", "first_name": "Old", "last_name": "Last0", "language": "en"},
        {"user_name": "legacy", "email": "P1@Example.com", "first_name": "First1", "last_name": "Last1"},
        {"user_name": "stranger", "email": "s@example.org", "first_name": "Zed", "last_name": "Zed"},
    ],
    "habitate": [
        {"email": "p0@example.com", "first_name": "Old", "last_name": "Last0", "username": "w0000"},
        {"email": "p1@example.com", "first_name": "First1", "last_name": "Last1", "username": "w0001"},
        {"email": "s@example.org", "first_name": "Zed", "username": "zed"},
    ],
    "traitly": [
        {
            "customer_id": f"W000{number}",
            "name": f"First{number} Last{number}",
            "email": f"p{number}@example.com",
            "plan": "Employee",
            "location": "Sydney",
            "created_at": "1493933699",
            "custom_attributes": {"department": "Engineering", "role": "Engineer", "seats": 3},
        }
        for number in (0, 1, 90)
    ],
    "mtribes": [
        {"id": "W0000", "name": "First0 Last0", "email": "p0@example.com", "tags": ["hand/made"]},
        {"id": "W0001", "name": "First1 Last1", "email": "p1@example.com", "tags": ["department/engineering"]},
        {"id": "stranger", "name": "Zed", "tags": ["hand/made"]},
    ],
}
IDENTITY: Final = {"tribal_habits": "email", "habitate": "email", "traitly": "customer_id", "mtribes": "id"}
#: Somebody moves, two leave, of whom one was there before, and somebody joins. The last day comes twice.
DAYS: Final = (
    company(PEOPLE),
    company(PEOPLE + 1, gone=(1, 3), changes={2: {"department": "Sales", "job_title": "Sales Manager"}}),
)

State = dict[str, dict[str, Any]]


class Stage:
    """Sandbox, Redis and roster for one switch after the other."""

    def __init__(self, folder: Path, server: RedisServer, sandbox: SandboxServer) -> None:
        self.folder, self.server, self.sandbox = folder, server, sandbox
        self.board = sandbox.switchboard

    def begin(self, kind: str, options: Mapping[str, Any]) -> None:
        """Everything as an organisation finds it before its first sync."""
        self.board.reset()
        raise_limits(self.board)
        self.board.options(kind, **options)
        self.board.seed(kind, THERE[kind])
        RedisContents(self.server.url).lose_everything()
        (self.folder / "redis-mark").unlink(missing_ok=True)

    async def days(self, kind: str, settings: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[list[State], str]:
        """What the vendor holds before and after each day, and the last run with its lists as text."""
        wide = {"percent": 100}
        guards = dict.fromkeys(("leavers", "updates", "missing", "overwrites", "removals"), wide) | {"window": "0s"}
        roster = self.folder / "roster.csv"
        document = settings_document(self.sandbox.url, self.server.url, roster, self.folder, guards=guards)
        document["targets"] = {kind: {**document["targets"][kind], **settings}}
        document["roster"]["gate"] = dict.fromkeys(("max_shrink", "max_leaving", "max_blank_jump"), "100%")
        self.begin(kind, options)
        states = [self.state(kind)]
        async with Deployment.open(load_settings(self.folder, document)) as dep:
            said: list[Any] = []
            code = 0
            for day in (*DAYS, DAYS[-1]):
                roster.write_text(day)
                run = await sync_once(dep)
                code = exit_code(run)
                operations = await dep.runs.operations(run["run"], (kind,))
                said += [run, [one["error"] for one in operations], await dep.health.list(kind, "todos")]
                states.append(self.state(kind))
            again = await plan_once(dep)
            said += await unfinished(dep)
            said += [{"plan": again["operations"], "exit": code}]
        return states, json.dumps(said, default=str)

    def state(self, kind: str) -> State:
        """The accounts by what tells people apart, with boards, events and enrolments among their fields."""
        state = self.board.state(kind)
        appends = self.board.options(kind).get("known_customer") == "append"
        found: State = {}
        for account in state["accounts"]:
            fields = {name: value for name, value in account.items() if name not in VARIES}
            identity = str(account[IDENTITY[kind]]).lower()
            if identity in found and appends:
                continue
            assert identity not in found, f"two accounts of {identity}"
            mine = (account.get("msid"), account.get("user_name"), account.get("customer_id"))
            fields["boards"] = sorted(board for board, members in state.get("boards", {}).items() if mine[0] in members)
            fields["codes"] = [one["code"] for one in state.get("enrolments", ()) if one["user_name"] == mine[1]]
            fields["events"] = [one["name"] for one in state.get("events", ()) if one["customer_id"] == mine[2]]
            fields["tags"] = sorted(account.get("tags", ()))
            found[identity] = fields
        return found


@pytest.fixture(scope="module")
def stage(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with SandboxServer() as sandbox:
        made = Stage(tmp_path_factory.mktemp("switches"), redis_server, sandbox)
        yield made
        RedisContents(redis_server.url).lose_everything()


@pytest.fixture(scope="module")
def plain(stage: Stage) -> Any:
    """What the vendor of a kind holds at the end of each day where no switch is turned."""

    @cache
    def states(kind: str) -> list[State]:
        found, said = asyncio.run(stage.days(kind, {}, {}))
        assert json.loads(said)[-1] == {"plan": [], "exit": 0}
        return found

    return states


@pytest.fixture(autouse=True)
def _these_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("switch", SAME, ids=lambda one: one.name)
def test_the_end_is_the_same(stage: Stage, plain: Any, switch: Switch) -> None:
    states, said = asyncio.run(stage.days(switch.kind, switch.settings, switch.options))
    assert json.loads(said)[-1] == {"plan": [], "exit": 0}
    assert states == plain(switch.kind)


@pytest.mark.parametrize("switch", NAMED, ids=lambda one: one.name)
def test_the_cause_is_named_and_nothing_is_harmed(stage: Stage, plain: Any, switch: Switch) -> None:
    states, said = asyncio.run(stage.days(switch.kind, switch.settings, switch.options))
    assert switch.says in said
    assert json.loads(said)[-1]["exit"] == switch.exit_code
    wanted = plain(switch.kind)
    assert states[-1].keys() <= wanted[-1].keys()
    for identity, account in states[-1].items():
        for name, value in account.items():
            if name in switch.lost:
                continue
            right = [state[identity].get(name) for state in (*wanted, states[0]) if identity in state]
            assert value in right, (identity, name, value, right)
