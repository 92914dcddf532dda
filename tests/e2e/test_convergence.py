"""Whatever the roster and whatever the vendors hold: after one sync nothing is left to do, and nobody else was touched.

In this process, but over real HTTP and with a real Redis: all five kinds, two rosters one after the other. The SCIM
service is another one each time, as services differ.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from provisioner.model.operation_document import OperationDocument
from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer
from tests.support.harness import load_settings, plan_once, raise_limits, settings_document, sync_once
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer
from tests.support.scim_company import SCIM, WORK, scim_target

pytestmark = pytest.mark.slow

Row = dict[str, str]
Accounts = dict[str, list[dict[str, Any]]]

KEYS: Final = ("000017", "W1", "w2", "W3", "4", "W5")
#: Whose email may also be another's.
SHARING: Final = "W5"
KINDS: Final = ("tribal_habits", "habitate", "traitly", "mtribes", SCIM)
IDENTIFIER: Final = {
    "tribal_habits": "user_name",
    "habitate": "msid",
    "traitly": "customer_id",
    "mtribes": "id",
    SCIM: "id",
}
#: How SCIM services deviate in ways that the target finds out by itself.
SERVICES: Final[tuple[Mapping[str, Any], ...]] = (
    {},
    {"patch": False, "etag_required": True},
    {"filters": False, "page_cap": 2},
    {"paging": "cursor", "page_cap": 2, "ignore_filters": True},
    {"discovery": "none", "silent": True},
    {"bulk": 2, "bulk_silent": True, "members_shown": "one"},
)
TODAY: Final = datetime.now(UTC).date()
PAST, SOON = (TODAY - timedelta(days=40)).isoformat(), (TODAY + timedelta(days=40)).isoformat()

NAMES = st.sampled_from(["Ana", "ZOË", "Zoe\u0308", "O'Neil", '"Q"', "李", "a;b", " Ana ", "Null", "=1+1"])
COLUMNS: Final[Mapping[str, st.SearchStrategy[str]]] = {
    "first_name": NAMES,
    "last_name": NAMES | st.just(""),
    "job_title": st.sampled_from(["Sales Manager", "Clerk", "Ma\u0301nager", ""]),
    "department": st.sampled_from(["Sales", "SALES", "Finance", "Contractors", ""]),
    "location": st.sampled_from(["Sydney", "sydney", "Perth;Hobart", " ; ", ""]),
    "country": st.sampled_from(["Australia", "Côte d'Ivoire", ""]),
    "language": st.sampled_from(["en", ""]),
    "manager_email": st.sampled_from(["", "w1@example.com", "W2@Example.com"]),
    "employment_status": st.sampled_from(["active"] * 4 + ["terminated", ""]),
    "start_date": st.sampled_from([PAST, PAST, "", SOON]),
    "end_date": st.sampled_from(["", "", SOON, PAST]),
}

LASTING: Final[Row] = {
    **dict.fromkeys(COLUMNS, ""),
    "employee_id": "Z9",
    "first_name": "Zora",
    "last_name": "Zed",
    "department": "Sales",
    "country": "Australia",
    "employment_status": "active",
}


@st.composite
def rosters(draw: st.DrawFn) -> list[list[Row]]:
    """Two days. Somebody is always there, perhaps with the email of another, who has no account from before."""
    email = draw(st.sampled_from(["z9@example.com", f"{SHARING.lower()}@Example.com"]))
    return [[*draw(people()), {**LASTING, "work_email": email}] for _ in range(2)]


@st.composite
def people(draw: st.DrawFn) -> list[Row]:
    """Some people, whoever they are."""
    rows = []
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=len(KEYS))):
        email = draw(st.sampled_from([f"{key}@example.com", f"{key.upper()}@EXAMPLE.com", ""]))
        rows.append({"employee_id": key, **{name: draw(cells) for name, cells in COLUMNS.items()}, "work_email": email})
    return rows


@st.composite
def beginnings(draw: st.DrawFn) -> Accounts:
    """What the vendors hold before the first sync: per person at most one account, by whatever it may be known."""
    found: Accounts = {kind: [] for kind in KINDS}
    for key in (*KEYS, "stranger"):
        if key == SHARING:
            continue
        email, other = f"{key}@Example.com", f"{key}.old@example.com"
        for kind in draw(st.sets(st.sampled_from(KINDS))):
            account: dict[str, Any] = {"email": draw(st.sampled_from([email, email.upper(), other]))}
            known = draw(st.booleans()) or account["email"] == other
            if kind == "tribal_habits":
                account |= {
                    "user_name": key if known else f"legacy-{key}",
                    "first_name": draw(NAMES),
                    "last_name": draw(NAMES),
                    "active": draw(st.booleans()),
                    "org_admin": draw(st.booleans()),
                    "role_1": draw(st.sampled_from(["Learner", "Manager", None])),
                    "groups": draw(st.sampled_from(["sales;SYDNEY", "Night shift", None])),
                    "deactivate_scheduled_date": draw(st.sampled_from([None, SOON])),
                }
            elif kind == "habitate":
                account |= {
                    "username": key.lower() if known else f"legacy{key.lower()}",
                    "first_name": draw(NAMES),
                    "last_name": draw(NAMES),
                    "role_id": draw(st.sampled_from([3, 4, 5])),
                }
            elif kind == SCIM:
                account = scim_beginning(draw, key, account["email"], known=known)
            elif kind == "traitly":
                account |= {
                    "customer_id": key,
                    "name": draw(NAMES),
                    "plan": draw(st.sampled_from(["Employee", "Leaver", "Free"])),
                    "custom_attributes": draw(st.sampled_from([{}, {"role": "Clerk", "theirs": "kept"}])),
                }
            else:
                account |= {
                    "id": key,
                    "name": draw(NAMES),
                    "tags": draw(st.sampled_from([[], ["theirs/kept"], ["department/sales", "employment/left"]])),
                }
            found[kind].append(account)
    return found


def scim_beginning(draw: st.DrawFn, key: str, email: str, *, known: bool) -> dict[str, Any]:
    """A user of somebody, known by user name or by our key, and the groups that they are in."""
    name = draw(st.sampled_from([key, key.upper()])) if known else f"legacy-{key}"
    user = {
        "id": f"id-{key}",
        "userName": name,
        "name": {"familyName": draw(NAMES), "middleName": "kept"},
        "emails": [{"value": email, "type": "work"}, {"value": "kept@example.com", "type": "home"}],
        "active": draw(st.booleans()),
        "groups": draw(st.sampled_from([(), ("Sales",), ("People", "Finance")])),
    }
    return user | ({"externalId": key} if not known or draw(st.booleans()) else {})


def write(path: Path, rows: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["employee_id", "work_email", *COLUMNS], delimiter="\t", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8-sig")


def untouched(states: Mapping[str, Any], named: set[tuple[str, str]], known: set[tuple[str, str]]) -> dict[Any, Any]:
    """Everything that the vendors hold of accounts which no operation names."""
    found = {}
    for kind, state in states.items():
        for account in state["accounts"]:
            name = (kind, str(account[IDENTIFIER[kind]]))
            if name in known and name not in named:
                boards = {board for board, members in state.get("boards", {}).items() if name[1] in members}
                events = [event for event in state.get("events", ()) if event.get("customer_id") == name[1]]
                found[name] = (account, boards, events)
    return found


class Stage:
    """Sandbox, Redis and roster for one example after the other."""

    def __init__(self, folder: Path, server: RedisServer, sandbox: SandboxServer) -> None:
        self.folder, self.server, self.sandbox = folder, server, sandbox
        self.switchboard = sandbox.switchboard
        self.roster = folder / "roster.csv"
        wide = {"percent": 100}
        document = settings_document(
            sandbox.url,
            server.url,
            self.roster,
            folder,
            guards={
                "leavers": wide,
                "updates": wide,
                "missing": wide,
                "removals": wide,
                "overwrites": wide,
                "window": "0s",
            },
        )
        document["targets"][SCIM] = scim_target(
            sandbox.url,
            match=["userName", "externalId", WORK],
            scope="department <> 'Contractors'",
            page_size=2,
        )
        document["targets"][SCIM]["attributes"] |= {
            "userName": "employee_id",
            # Which groups there are, only the service can say
            "groups": "CASE WHEN job_title ILIKE '%manager%' THEN department || ';Managers' ELSE department END",
        }
        document["roster"] |= {
            "absence": {"snapshots": 1, "grace": "0s"},
            "gate": dict.fromkeys(("max_shrink", "max_rejected", "max_leaving", "max_blank_jump"), "100%"),
        }
        self.settings = load_settings(folder, document)

    def clear(self) -> None:
        self.switchboard.reset()
        raise_limits(self.switchboard)
        self.switchboard.options(SCIM, rate_limit=20000, rate_window=1)
        RedisContents(self.server.url).lose_everything()
        (self.folder / "redis-mark").unlink(missing_ok=True)

    def begin(self, beginning: Accounts, service: Mapping[str, Any]) -> None:
        """What the vendors hold before the first sync."""
        self.switchboard.options(SCIM, **service)
        for kind, accounts in beginning.items():
            self.switchboard.seed(kind, accounts)
        for user in beginning[SCIM]:
            for group in user["groups"]:
                self.switchboard.act(SCIM, "member", group=group, id=user["id"])

    def states(self) -> dict[str, Any]:
        return {kind: self.switchboard.state(kind) for kind in KINDS}

    async def day(self, dep: Deployment, rows: list[Row]) -> None:
        """One roster: plan, sync, and look."""
        write(self.roster, rows)
        before = self.states()
        known = {
            (kind, str(account[IDENTIFIER[kind]])) for kind, state in before.items() for account in state["accounts"]
        }
        operations = await self.synced(dep)
        adopted = {
            (one["target"], one["person"]) for one in operations if (one.get("note") or "").startswith("adopted")
        }
        if adopted:
            # No listing showed them, so the run that made sure took them as they are, and the next one knows them
            operations += await self.synced(dep)
        undone = [one for one in operations if one["status"] != "succeeded"]
        # Where nobody was made, nothing is told of it
        untold = [one for one in undone if (one["kind"], one["status"]) == ("event", "superseded")]
        undone = [one for one in undone if one not in untold or (one["target"], one["person"]) not in adopted]
        drifted = [one for one in undone if one["status"] == "held" and one["kind"] == "rejoin" and one["drift"]]
        assert undone == drifted, undone
        named = {(one["target"], str(one["account"])) for one in operations if one["account"]}
        assert untouched(self.states(), named, known) == untouched(before, named, known)
        again = await plan_once(dep)
        left = [one for one in again["operations"] if one["id"] not in {one["id"] for one in drifted}]
        assert left == [], left
        for name, target in again["targets"].items():
            assert target["linked"] == target["unchanged"] + target["conflicts"] + target["todo"] + sum(
                one["target"] == name for one in drifted
            )

    @staticmethod
    async def synced(dep: Deployment) -> list[OperationDocument]:
        """One sync, and what it did."""
        document = await sync_once(dep)
        return list(await dep.runs.operations(document["run"], dep.targets))

    async def days(self, rosters: list[list[Row]]) -> None:
        async with Deployment.open(self.settings) as dep:
            for rows in rosters:
                await self.day(dep, rows)


@pytest.fixture(scope="module")
def stage(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with SandboxServer() as sandbox:
        made = Stage(tmp_path_factory.mktemp("convergence"), redis_server, sandbox)
        yield made
        made.clear()


@pytest.mark.timeout(280)
# Not shrunk: every example is two days of real requests
@settings(max_examples=8, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(beginning=beginnings(), days=rosters(), service=st.sampled_from(SERVICES))
def test_after_one_sync_nothing_is_left_to_do_and_nobody_else_was_touched(
    stage: Stage, beginning: Accounts, days: list[list[Row]], service: Mapping[str, Any]
) -> None:
    stage.clear()
    stage.begin(beginning, service)
    asyncio.run(stage.days(days))
