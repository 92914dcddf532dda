"""SCIM services over HTTP: each dialect ends in the same, and what is not whole is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.sandbox import SCIM_CLIENT, SCIM_SECRET, SCIM_TOKEN, SandboxServer
from provisioner.sdk import (
    Ask,
    ConfigurationError,
    Done,
    Http,
    Kind,
    ListingError,
    Operation,
    Permanent,
    Temporary,
    UnauthorisedError,
    Unclear,
)
from provisioner.targets import http as transport
from provisioner.targets.scim import Scim
from provisioner.targets.scim.settings import ScimDialect, ScimSettings
from provisioner.testing.bench import Bench, change
from tests.targets.documented import attributes_in

WORK: Final = 'emails[type eq "work"].value'
DEPARTMENT: Final = f"{ENTERPRISE}:department"
NAMES: Final = ("userName", "externalId", "name.familyName", WORK, "active", DEPARTMENT, "roles", "groups")
IMAGE: Final[Mapping[str, str | None]] = {
    "userName": "e1",
    "externalId": "E1",
    "name.familyName": 'O"Hara\\',
    WORK: "e1@example.com",
    "active": "true",
    DEPARTMENT: "R&D",
    "roles": "clerk;driver",
    "groups": "Finance;Sales",
}
DOCS: Final = Path(__file__).resolve().parents[2] / "docs" / "targets" / "scim.md"
_numbers = count(1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "READ_TRIES", 1)


class Case:
    """A service of the sandbox, and a target that is configured for it."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.name = f"scim-case{next(_numbers)}"
        self.board = sandbox.switchboard
        self.url = sandbox.url_of(self.name)
        self.options(rate_limit=100_000)

    def options(self, **changes: Any) -> None:
        self.board.options(self.name, **changes)

    def bench(self, **changes: Any) -> Bench:
        document = {
            "kind": "scim",
            "base_url": self.url,
            "token": SCIM_TOKEN,
            "match": ["userName"],
            "page_size": 2,
            "attributes": {name: name for name in NAMES},
            "leaver": {"active": "FALSE"},
            **changes,
        }
        if "oauth" in changes or "username" in changes:
            del document["token"]
        target = Scim("t", ScimSettings.model_validate(document))
        target.check()
        return Bench(target)

    def users(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.board.state(self.name)["accounts"]
        return found

    def user(self, name: str) -> dict[str, Any]:
        return next(one for one in self.users() if one["userName"] == name)

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.board.counts(self.name)["by_endpoint"]
        return found


@pytest.fixture
def case(sandbox: SandboxServer) -> Case:
    return Case(sandbox)


def create(image: Mapping[str, str | None] = IMAGE, person: str = "P1") -> Operation:
    return change(Kind.CREATE, None, image, person=person)


def update(account: str, kind: Kind = Kind.UPDATE, **after: str | None) -> Operation:
    return changed(account, after, kind)


def changed(account: str, after: Mapping[str, str | None], kind: Kind = Kind.UPDATE) -> Operation:
    return change(kind, account, after, person="P1", wanted={**IMAGE, **after}, before=IMAGE)


def image(number: int) -> dict[str, str | None]:
    return {**IMAGE, "userName": f"e{number}", "externalId": f"E{number}", WORK: f"e{number}@example.com"}


def made(bench: Bench, operation: Operation) -> str:
    (outcome,) = bench.write(operation)
    assert isinstance(outcome, Done)
    assert outcome.account
    return outcome.account


#: How services deviate, and what the settings say about it.
DIALECTS: Final[Mapping[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "as the RFC says": ({}, {}),
    "changes by PUT, versions required, no filter": ({"patch": False, "filters": False, "etag_required": True}, {}),
    "says nothing of itself": ({"discovery": "none", "silent": True, "patch": False, "page_cap": 2}, {}),
    "cursors, text for booleans, one member at a time": (
        {"paging": "cursor", "page_cap": 2, "text_booleans": True, "single_members": True},
        {"booleans": "text", "members": "single"},
    ),
    "everything at once, filters passed over": (
        {"ignore_filters": True, "paging": "none"},
        {"patch": "attributes", "memberships": "users", "remove_member": "value"},
    ),
    "no paths": ({"patch_form": "whole", "etag": False}, {"patch": "value", "paging": "none"}),
    "paths as keys": ({"patch_form": "keyed", "etag_required": True}, {"patch": "keyed"}),
    "lists whole": ({"patch_form": "paths", "silent": True}, {"patch": "lists", "etag": "no"}),
    "members by address": ({}, {"member_ref": True, "update": "put"}),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_each_dialect_ends_in_the_same(case: Case, name: str) -> None:
    options, dialect = DIALECTS[name]
    case.options(**options)
    bench = case.bench(dialect=dialect)
    accounts = [made(bench, create(image(number), f"P{number}")) for number in range(1, 6)]
    held = bench.accounts()
    for number, account in enumerate(accounts, start=1):
        assert {one: held[account].values[one] for one in IMAGE} == image(number)
    after = {"name.familyName": "Ito", DEPARTMENT: None, "roles": "clerk", "groups": "Sales;Support", "active": "false"}
    for _ in range(2):
        (outcome,) = bench.write(changed(accounts[0], after))
        assert isinstance(outcome, Done), outcome
        held = bench.accounts()
        assert {one: held[accounts[0]].values[one] for one in IMAGE} == {**IMAGE, **after}
        assert {one: held[accounts[1]].values[one] for one in IMAGE} == image(2)
    found = bench.run(lambda http: bench.target.find(http, [Ask("P1", accounts[0])], {}), read_only=True)  # type: ignore[attr-defined]
    assert [one.values for one in found.accounts] == [held[accounts[0]].values]


def test_a_change_that_is_there_already_is_not_sent(case: Case) -> None:
    bench = case.bench()
    account = made(bench, create())
    before = case.counts()
    assert isinstance(bench.write(update(account, active="true", title=None))[0], Done)
    after = case.counts()
    assert {name: after[name] - before.get(name, 0) for name in after if "GET" not in name} == dict.fromkeys(
        (name for name in after if "GET" not in name), 0
    )


def test_a_listing_that_does_not_reach_its_total_is_not_believed(case: Case) -> None:
    bench = case.bench()
    made(bench, create())
    for paging in ("index", "cursor", "none"):
        case.options(short_total=1, paging=paging)
        with pytest.raises(ListingError, match="1 of 2"):
            case.bench(dialect={"paging": paging}).observe()
    case.options(short_total=0, paging="index")
    assert len(bench.observe().accounts) == 1


def test_a_page_that_repeats_itself_is_not_believed(case: Case) -> None:
    bench = case.bench()
    for number in range(1, 5):
        made(bench, create(image(number)))
    # It takes no part in paging, and shows the first page for ever
    case.options(paging="cursor", page_cap=2)
    with pytest.raises(ListingError):
        case.bench(dialect={"paging": "none"}).observe()


def test_whoever_is_there_already_is_adopted_only_by_what_proves_it(case: Case) -> None:
    case.board.seed(case.name, [{"userName": "E1", "name": {"familyName": "Other"}}])
    (outcome,) = case.bench().write(create())
    assert isinstance(outcome, Done)
    assert outcome.adopted
    assert outcome.learnt["name.familyName"] == "Other"
    assert outcome.learnt["groups"] is None
    (outcome,) = case.bench(match=["externalId"]).write(create())
    assert isinstance(outcome, Permanent)
    assert outcome.code == "taken"
    case.options(filters=False)
    (outcome,) = case.bench().write(create())
    assert isinstance(outcome, Done)
    assert len(case.users()) == 1


def test_a_change_to_a_taken_name_is_refused_by_name(case: Case) -> None:
    bench = case.bench()
    account = made(bench, create())
    made(bench, create(image(2)))
    (outcome,) = bench.write(update(account, userName="E2"))
    assert isinstance(outcome, Permanent)
    assert (outcome.code, "409" in outcome.message) == ("taken", True)


def test_somebody_elses_change_in_between_is_kept(case: Case) -> None:
    bench = case.bench(dialect={"update": "put"})
    account = made(bench, create())
    case.board.fault(case.name, match={"method": "PUT"}, status=412, times=1)
    (outcome,) = bench.write(changed(account, {"name.familyName": "Ito"}))
    assert isinstance(outcome, Done)
    case.board.fault(case.name, match={"method": "PUT"}, status=412, times=3)
    (outcome,) = bench.write(changed(account, {"name.familyName": "Lee"}))
    assert isinstance(outcome, Temporary)
    assert outcome.code == "overtaken"


def test_an_account_that_the_service_deleted(case: Case) -> None:
    bench = case.bench()
    account = made(bench, create())
    case.board.remove(case.name, account)
    (outcome,) = bench.write(changed(account, {"active": "false", "groups": None}, Kind.LEAVE))
    assert isinstance(outcome, Done)
    assert outcome.note
    for after in ({"title": "x"}, {"groups": "Sales;Support"}):
        (outcome,) = bench.write(changed(account, after))
        assert isinstance(outcome, Permanent)
        assert outcome.code == "gone"


def test_a_group_that_is_not_there_keeps_nobody_from_the_others(case: Case) -> None:
    bench = case.bench()
    (outcome,) = bench.write(create({**IMAGE, "groups": "Nowhere;Sales"}))
    assert isinstance(outcome, Done)
    assert outcome.learnt["groups"] == "Sales"
    assert "Nowhere" in (outcome.note or "")
    (outcome,) = bench.write(changed(outcome.account or "", {"groups": "Nowhere;Sales"}))
    assert isinstance(outcome, Permanent)
    assert outcome.code == "unknown_group"


def test_members_of_one_group_change_in_one_request(case: Case) -> None:
    bench = case.bench(batch_size=100, rate_limit="1000/second")
    outcomes = bench.write(*(create({**image(number), "groups": "Sales"}, f"P{number}") for number in range(1, 11)))
    accounts = [outcome.account or "" for outcome in outcomes if isinstance(outcome, Done)]
    assert case.counts()["PATCH /Groups/{id}"] == 1
    bench.write(
        *(change(Kind.UPDATE, one, {"groups": None}, person=one, before={"groups": "Sales"}) for one in accounts)
    )
    assert case.counts()["PATCH /Groups/{id}"] == 2
    assert all(one.values["groups"] is None for one in bench.observe().accounts)


@pytest.mark.parametrize("shown", ["one", "none"])
def test_a_leaver_is_taken_out_of_groups_whose_lists_show_no_members(case: Case, shown: str) -> None:
    case.options(members_shown=shown)
    bench = case.bench()
    assert all(one.values["groups"] is None for one in bench.observe().accounts)
    account = made(bench, create())
    other = made(bench, create({**image(2), "groups": "Sales"}))
    held = {one.id: one.values["groups"] for one in bench.observe().accounts}
    assert held == {account: "Finance;Sales", other: "Sales"}
    found = bench.run(lambda http: bench.target.find(http, [Ask("P1", account)], {}), read_only=True)  # type: ignore[attr-defined]
    assert [one.values["groups"] for one in found.accounts] == ["Finance;Sales"]
    leave = change(Kind.LEAVE, account, {"groups": None}, person="P1", before={"groups": held[account]})
    assert isinstance(bench.write(leave)[0], Done)
    assert {one.id: one.values["groups"] for one in bench.observe().accounts} == {account: None, other: "Sales"}


def test_a_group_that_shows_no_members_is_not_put_back_without_them(case: Case) -> None:
    case.options(members_shown="none")
    bench = case.bench(dialect={"update": "put"})
    # Whoever is the first in an empty group takes nobody's place
    first = made(bench, create({**image(1), "groups": "Sales"}))
    account = made(bench, create({**image(2), "groups": None}))
    (outcome,) = bench.write(change(Kind.UPDATE, account, {"groups": "Sales"}, person="P2", before={}))
    assert isinstance(outcome, Permanent)
    assert outcome.code == "members_hidden"
    assert bench.accounts()[first].values["groups"] == "Sales"


def test_whoever_was_renamed_there_leaves_groups_that_name_members_by_user_name(case: Case) -> None:
    case.options(members_by_name=True)
    bench = case.bench(dialect={"member_value": "userName"}, match=["externalId"])
    account = made(bench, create())
    assert bench.accounts()[account].values["groups"] == "Finance;Sales"
    # Somebody renames the user there; the mapping still says the former name
    case.board.seed(case.name, [{"id": account, "userName": "renamed"}])
    (outcome,) = bench.write(changed(account, {"active": "false", "groups": None}, Kind.LEAVE))
    assert isinstance(outcome, Done)
    assert bench.accounts()[account].values["groups"] is None
    # By a new name that we give them they enter and leave, too
    (outcome,) = bench.write(changed(account, {"userName": "e9", "groups": "Support"}))
    assert isinstance(outcome, Done)
    assert bench.accounts()[account].values["groups"] == "Support"
    # And one whose new name is another's leaves by the one that they have
    made(bench, create(image(2)))
    leave = change(
        Kind.LEAVE,
        account,
        {"userName": "e2", "groups": None},
        person="P1",
        wanted={"userName": "e2"},
        before={"userName": "e9", "groups": "Support"},
    )
    (outcome,) = bench.write(leave)
    assert isinstance(outcome, Permanent)
    assert bench.accounts()[account].values["groups"] is None


def test_a_service_that_shows_text_for_booleans_and_takes_booleans(case: Case) -> None:
    case.board.seed(case.name, [{"id": "a", "userName": "e1", "active": "False"}, {"id": "b", "userName": "e2"}])
    bench = case.bench()
    held = bench.accounts()
    assert (held["a"].values["active"], held["b"].values["active"]) == ("false", None)
    assert isinstance(bench.write(update("a", active="true"))[0], Done)
    assert case.user("e1")["active"] is True
    case.board.seed(case.name, [{"id": "a", "active": "True"}])
    assert bench.accounts()["a"].values["active"] == "true"


def test_a_service_that_asks_for_time_by_a_date_gets_it(case: Case) -> None:
    bench = case.bench()
    account = made(bench, create())
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    for match in ({"path_prefix": "/Users", "method": "PATCH"}, {"path_prefix": "/Groups", "method": "PATCH"}):
        case.board.fault(case.name, match=match, status=429, headers={"Retry-After": soon}, times=1)
        (outcome,) = bench.write(changed(account, {"title": match["path_prefix"], "groups": "Sales"}))
        assert isinstance(outcome, Temporary), outcome
        assert outcome.limited
        assert 60 < (outcome.delay or 0) <= 90


def test_new_users_of_the_same_groups_go_together(case: Case) -> None:
    target: Any = case.bench().target
    one, other = (create({**IMAGE, "groups": "Sales;Finance"}, person) for person in ("P1", "P2"))
    assert target.group(one) == target.group(other)
    third = create({**IMAGE, "groups": "Sales"}, "P3")
    assert target.group(third) != target.group(one)
    # What follows # is no part of the kind of batch
    assert {target.group(each).split("#")[0] for each in (one, third)} == {"create"}


def test_a_lost_group_change_leaves_the_create_unclear_and_then_ends_it(case: Case) -> None:
    bench = case.bench()
    case.board.fault(case.name, match={"path_prefix": "/Groups", "method": "PATCH"}, status=500, times=2)
    (outcome,) = bench.write(create({**IMAGE, "groups": "Sales"}))
    assert isinstance(outcome, Unclear)
    ended = bench.run(lambda http: bench.target.confirm(http, create({**IMAGE, "groups": "Sales"})))  # type: ignore[attr-defined]
    assert isinstance(ended, Done)
    assert [one["display"] for one in case.user("e1")["groups"]] == ["Sales"]


@pytest.mark.parametrize(
    ("options", "dialect"),
    [
        # We read and write whole groups, and no version says that somebody else was faster
        ({"etag": False, "latency_ms": 50}, {"update": "put"}),
        # Versions that do not change within a second, as Canaille has them
        ({"version_seconds": True}, {"update": "put"}),
        # The service does so for each change that it takes
        ({"group_lag_seconds": 0.2, "latency_ms": 300}, {}),
    ],
)
def test_changes_of_one_group_at_the_same_time_lose_nobody(
    case: Case, options: dict[str, Any], dialect: dict[str, Any]
) -> None:
    case.options(**options)
    bench = case.bench(dialect=dialect)
    made_before = [made(bench, create({**image(number), "groups": None}, f"P{number}")) for number in range(1, 5)]
    creates = [create({**image(number), "groups": "Sales"}, f"P{number}") for number in range(1, 5)]
    others = [made(bench, create({**image(number), "groups": None}, f"P{number}")) for number in range(5, 9)]
    joining = [change(Kind.UPDATE, one, {"groups": "Sales"}, person=one, before={}) for one in others]

    async def all_at_once(http: Http) -> list[Any]:
        # As after a worker was killed: each is looked up for itself, while other senders go on
        target: Any = bench.target
        looked = asyncio.gather(*(target.confirm(http, operation) for operation in creates))
        sent = asyncio.gather(*(target.write(http, [operation]) for operation in joining))
        return [*await looked, *(one for outcomes in await sent for one in outcomes)]

    ended = bench.run(all_at_once)
    assert all(isinstance(one, Done) for one in ended), ended
    everybody = {*made_before, *others}
    (sales,) = (one for one in case.board.state(case.name)["groups"] if one["displayName"] == "Sales")
    assert {one["value"] for one in sales["members"]} == everybody


def test_tokens_are_asked_for_renewed_and_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    oauth = {"token_url": f"{case.url}/oauth/token", "client_id": SCIM_CLIENT, "client_secret": SCIM_SECRET}
    bench = case.bench(oauth=oauth)
    made(bench, create())
    bench.observe()
    assert case.counts()["POST /oauth/token"] == 1
    # A token that has been withdrawn is asked for once more, also for a write
    case.options(clock_offset_seconds=7200.0)
    made(bench, create(image(2)))
    assert case.counts()["POST /oauth/token"] == 2
    # One that lasts less than a request is used once
    case.options(token_seconds=30)
    brief = case.bench(oauth={**oauth, "send_secret": "body", "scope": "scim"})
    brief.observe()
    assert case.counts()["POST /oauth/token"] > 3
    with pytest.raises(UnauthorisedError):
        case.bench(oauth={**oauth, "client_secret": "wrong"}).observe()
    away = case.bench(oauth={**oauth, "token_url": "http://127.0.0.1:9/token"})
    (outcome,) = away.write(create(image(3)))
    assert isinstance(outcome, Temporary)
    monkeypatch.setenv("UNUSED", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"token": None},
        {"username": "u"},
        {"oauth": {"token_url": "http://example.com/t", "client_id": "c", "client_secret": "s"}},
        {"paths": {"users": "/Users?x=1"}},
        {"dialect": {"patch": "other"}},
    ],
)
def test_settings_that_cannot_be(case: Case, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's
        case.bench(**changes)


@pytest.mark.parametrize("name", ["username", "emails", "password", 'emails[type eq "work"]', "no such"])
def test_a_wrong_path_is_an_error_of_the_settings(case: Case, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"targets\.t\.attributes"):
        case.bench(attributes={"userName": "x", name: "x"})


def test_the_type_of_an_own_extension_is_said_by_the_settings(case: Case) -> None:
    own = "urn:example:2.0:User:clearance"
    bench = case.bench(attributes={"userName": "x", own: {"from": "y", "type": "boolean"}})
    assert bench.target.attribute(own).type.value == "boolean"
    with pytest.raises(ConfigurationError, match="says itself"):
        case.bench(attributes={"userName": "x", "title": {"from": "y", "type": "set"}})


def test_names_that_the_service_does_not_have_are_found(case: Case) -> None:
    bench = case.bench(
        attributes={
            "userName": "x",
            "nickName": "x",
            "name.middleName": "x",
            'ims[type eq "work"].value': "x",
            "urn:example:2.0:User:clearance": "x",
            "groups": "'Sales;Nowhere'",
        }
    )
    target: Any = bench.target
    found = bench.run(target.unknown_names, read_only=True)
    assert [one.partition(":")[0].split(".", 3)[-1] for one in found] == [
        'ims[type eq "work"]',
        "urn",
        "groups",
    ] or found
    text = " ".join(found)
    assert "'ims'" in text
    assert "no extension urn:example:2.0:User" in text
    assert "'Nowhere'" in text
    assert "nickName" not in text.replace("its groups", "")
    case.options(discovery="none")
    assert len(bench.run(target.unknown_names, read_only=True)) == 1


def test_what_was_discovered_is_said(case: Case) -> None:
    said = " ".join(case.bench().probe())
    assert "PATCH" in said
    assert "filters" in said
    case.options(discovery="none")
    assert "no ServiceProviderConfig" in " ".join(case.bench().probe())


def test_look_ups_by_filter_find_the_first_that_matches(case: Case) -> None:
    bench = case.bench(match=["externalId", "userName"])
    account = made(bench, create())
    target: Any = bench.target

    def find(**match: str) -> Any:
        return bench.run(lambda http: target.find(http, [Ask("P1", None, match)], {}), read_only=True)

    assert [one.id for one in find(externalId="none", userName="E1").accounts] == [account]
    assert find(userName='e1" or userName pr').accounts == []
    case.options(filters=False)
    assert find(userName="e1") is None
    case.options(filters=True, ignore_filters=True)
    made(bench, create(image(2)))
    assert [one.id for one in find(userName="e1").accounts] == [account]
    assert find(userName="nobody") is None


def test_docs_name_every_attribute_and_every_dialect() -> None:
    assert attributes_in(DOCS) == {
        name: (one.on_create, one.on_update, one.observed) for name, one in Scim.catalogue.items()
    }
    text = DOCS.read_text(encoding="utf-8")
    for name in ScimDialect.model_fields:
        assert f"`{name}" in text
