"""Every body that the vendors' texts print, as printed, through the targets: answers, errors, webhooks. Over real HTTP.

`tests/vendor_texts/samples` holds them. Where a text prints an ellipsis, a comma or a brace that JSON does not take, it
was put right, and nothing else. Of what belongs to calls that we leave out only the shape of the text is looked at. The
release note of mtribes prints none.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.errors import ListingError, MalformedAnswerError
from provisioner.model.event import InboundEvent
from provisioner.model.operation import Enrolment, Kind, Operation
from provisioner.model.outcome import Done, Permanent, Unclear
from provisioner.sandbox import TRAITLY_TOKEN, SandboxServer
from provisioner.sandbox.habitate import HABITATE_KEY
from provisioner.sandbox.tribal_habits import TRIBAL_HABITS_KEY
from provisioner.targets import http as transport
from provisioner.targets.base import Ask
from provisioner.targets.tribal_habits import batch, enrolments, events, knowledge
from tests.targets.bench import Bench, change

SAMPLES: Final = Path(__file__).parents[1] / "vendor_texts" / "samples"
#: Samples of calls that nobody calls; the tables in docs/targets say why.
LEFT_OUT: Final = {
    "tribal_habits": {"topic", "pathway", "topic_assignment", "pathway_assignment", "external_knowledge",
                      "knowledge_update_request", "knowledge_updated", "create_request", "update_request"},
    "habitate": {"board", "reorder_request", "reordered"},
    "traitly": {"event_request"},
}  # fmt: skip
_MAPPED: Final = ("user_name", "first_name", "last_name", "email", "type", "groups", "role_1", "X-[Custom]")
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "tribal_habits": {
        "api_key": TRIBAL_HABITS_KEY,
        "match": ["user_name", "email"],
        "attributes": dict.fromkeys(_MAPPED, "id"),
        "leaver": {"active": "FALSE"},
        "enrolments": [{"code": "TH-4-16-NEW"}, {"code": "THP-4-22-NEW"}],
        "page_size": 25,
    },
    "habitate": {
        "api_key": HABITATE_KEY,
        "match": ["username", "email"],
        "attributes": dict.fromkeys(("email", "first_name", "username", "role", "boards"), "id"),
        "leaver": {"role": "'Member'"},
    },
    "traitly": {
        "token": TRAITLY_TOKEN,
        "match": ["customer_id"],
        "attributes": dict.fromkeys(("customer_id", "name", "email", "plan"), "id"),
        "leaver": {"plan": "'Left'"},
    },
}


@cache
def _printed(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / f"{kind}.json").read_text(encoding="utf-8"))
    return found


def sample(kind: str, name: str) -> Any:
    assert name not in LEFT_OUT[kind]
    return _printed(kind)[name]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading gives up at the first failure, so that no test waits."""
    monkeypatch.setattr(transport, "READ_TRIES", 1)


@pytest.fixture
def portal(sandbox: SandboxServer) -> Bench:
    return Bench(sandbox, "tribal_habits", **SETTINGS["tribal_habits"])


@pytest.fixture
def club(sandbox: SandboxServer) -> Bench:
    return Bench(sandbox, "habitate", **SETTINGS["habitate"])


@pytest.fixture
def crm(sandbox: SandboxServer) -> Bench:
    return Bench(sandbox, "traitly", **SETTINGS["traitly"])


def answers(bench: Bench, method: str, path: str, body: Any, *, status: int = 200, **more: Any) -> None:
    """The vendor answers so from now on."""
    match = {"method": method, "path_prefix": path}
    bench.fault(match=match, times=None, status=status, body=body, **more)


def whole(page: dict[str, Any]) -> dict[str, Any]:
    """A list of which all is printed: its count is that of the records."""
    return page | {"total_records": len(page["records"]), "total_pages": 1}


def refuses(bench: Bench, *operations: Operation) -> Permanent:
    (outcome,) = bench.write(*operations)
    assert isinstance(outcome, Permanent)
    return outcome


# Tribal Habits


def test_users_as_listed(portal: Bench) -> None:
    page = sample("tribal_habits", "users")
    answers(portal, "GET", "/papi/users", page)
    # One of the first 25 of 47 is printed
    with pytest.raises((ListingError, MalformedAnswerError)):
        portal.observe()
    portal.board.clear_faults(portal.name)
    answers(portal, "GET", "/papi/users", whole(page))
    (user,) = portal.observe().accounts
    assert user.id == "12345"
    assert {name: user.values[name] for name in ("email", "type", "groups", "role_1", "role_2", "active")} == {
        "email": "bilbo@myorg.com", "type": "Client", "groups": "Brisbane;Bundaberg", "role_1": "Instructor",
        "role_2": None, "active": "true",
    }  # fmt: skip
    assert user.values["X-[Custom]"] == "Custom Field, see top of page for details."
    # 09:25 of the 15th in Brisbane
    assert user.values["deactivate_scheduled_date"] == "2022-06-14"
    assert user.values["learner_report_frequency"] is None


@pytest.mark.parametrize(("name", "active"), [("user", "true"), ("created", "true"), ("updated", "false")])
def test_one_user_in_each_form(portal: Bench, name: str, active: str) -> None:
    answers(portal, "GET", "/papi/users/12345", sample("tribal_habits", name))
    found = portal.find(Ask("E1", "12345"))
    assert found is not None
    (user,) = found.accounts
    assert (user.values["active"], user.values.get("manager_2_email"), user.values["language"]) == (active, None, None)


def _hobbit(number: int, name: str, **more: str) -> Operation:
    values = {"user_name": str(number), "first_name": name, "last_name": "Baggins",
              "email": f"{name.lower()}@myorg.com", **more}  # fmt: skip
    return change(Kind.CREATE, None, values, person=str(number))


def test_a_batch_and_its_answer(portal: Bench) -> None:
    some = (_hobbit(12345, "Bilbo", language="fr"), _hobbit(12346, "Frodo"))
    assert [batch.row(one) for one in some] == sample("tribal_habits", "batch_request")["people"]  # type: ignore[arg-type]
    answers(portal, "POST", "/papi/users/batch_save", sample("tribal_habits", "batch_answer"))
    # It refuses somebody who was not sent: nobody can tell what became of the two
    assert [type(one) for one in portal.write(*some)] == [Unclear, Unclear]
    first, second, third = portal.write(*some, change(Kind.UPDATE, "john", {"email": "john"}))
    assert (type(first), type(second)) == (Done, Done)
    assert third == Permanent("row_refused", "Tribal Habits refused the row: Email is invalid")


def test_a_batch_of_leavers() -> None:
    leaves = [change(Kind.LEAVE, name, {"active": "false"}) for name in ("12345", "12346")]
    assert [batch.row(one) for one in leaves] == sample("tribal_habits", "deactivate_request")["people"]  # type: ignore[arg-type]


def test_the_catalogue(portal: Bench) -> None:
    answers(portal, "GET", "/papi/users", whole(sample("tribal_habits", "users")))
    for what in ("topics", "pathways"):
        page = sample("tribal_habits", what)
        assert len(page["records"]) < page["total_records"]
        answers(portal, "GET", f"/papi/{what}", whole(page))
    assert portal.run(lambda http: portal.target.unknown_names(http)) == ()


@pytest.mark.parametrize(
    ("topics", "pathways", "of_user"),
    [
        ("topic_assignments", "pathway_assignments", False),
        ("topic_assignments_of_user", "pathway_assignments_of_user", True),
    ],
)
def test_lists_of_enrolments(portal: Bench, topics: str, pathways: str, *, of_user: bool) -> None:
    for name, what in ((topics, "topic"), (pathways, "pathway")):
        page = whole(sample("tribal_habits", name))
        answers(portal, "GET", f"/papi/{what}_assignments{'/user/12345' if of_user else ''}", page)
    if of_user:
        told = portal.run(lambda http: portal.target.read_back_of(http, ["12345"]))
    else:
        told = portal.run(lambda http: portal.target.read_back(http, ["12345"], None, 0.0)).facts
    topic, pathway = told["12345"]
    title = "Confident and effective business networking"
    assert (topic.shows["last_completed"], topic.gathers) == (title, {"completed": title})
    # The list of one user's pathways prints no id of the enrolment
    assert pathway.name == ("enrolment.pathway.of 1" if of_user else "enrolment.pathway.2")
    assert (pathway.shows["progress.pathway.1"], pathway.shows["title.pathway.1"]) == ("unexplored", "Test Pathway ABC")


def test_an_enrolment_is_asked_for_and_answered(portal: Bench) -> None:
    asked = sample("tribal_habits", "enrol_request")
    name = asked["user_name"]
    enrol = Enrolment(id="op", target="t", person="E1", account=name, code="TH-4-77-NEW", due="2021-12-31")
    assert {"user_name": enrol.account, **enrolments.fields([enrol.after])} == asked
    answers(portal, "POST", "/papi/topic_assignments", sample("tribal_habits", "enrolled"))
    assert portal.write(enrol) == [Done(account=name)]


def test_external_knowledge(portal: Bench) -> None:
    asked = sample("tribal_habits", "knowledge_request")
    values: dict[str, str | None] = {
        "title": "title1", "provider": "prov1", "knowledge_type": "1", "date_obtained": "2021-06-01",
    }  # fmt: skip
    day = {"date_obtained": "01/06/2021"}
    assert knowledge.body("johnny", values) == asked | day
    more = {"code": "code1", "certificate_number": "CI1"}
    record = change(Kind.ENROL, "johnny", values | more, slot="knowledge:1")
    answers(portal, "POST", "/papi/external_knowledges", sample("tribal_habits", "knowledge_created"))
    assert portal.write(record) == [Done(account="johnny")]
    answers(portal, "GET", "/papi/external_knowledges", whole(sample("tribal_habits", "external_knowledges")))
    # It does not say whose it is
    outcome = portal.confirm(record)
    assert isinstance(outcome, Permanent)
    assert outcome.perhaps


def test_webhooks_of_enrolments() -> None:
    done, begun = (events.event("t", sample("tribal_habits", name)) for name in ("webhook_topic", "webhook_pathway"))
    for told in (done, begun):
        assert (told.known, told.own, told.account) == (True, False, "adam@example.com")
        assert (told.fields["Color"], told.fields["Car Model"]) == ("Blue", "Hyundai;Audi")
    assert (done.name, done.facts[0].gathers) == ("enrolment_completed", {"completed": "Countries"})
    assert done.facts[0].shows["completed.topic.278"] == "2024-04-09T09:39:32.353+10:00"
    assert (begun.name, begun.facts[0].shows["due.pathway.17"]) == (
        "enrolment_created",
        "2022-02-02T23:59:59.999+11:00",
    )


# habitate


def test_members_roles_and_boards(club: Bench) -> None:
    members, member = sample("habitate", "members"), sample("habitate", "member")
    answers(club, "GET", "/api/v1/users/me", sample("habitate", "myself"))
    answers(club, "GET", "/api/v1/roles", sample("habitate", "roles"))
    answers(club, "GET", "/api/v1/boards", sample("habitate", "boards"))
    for one in members:
        # Details are printed of the first one
        email = {"email": f"{one['username']}@example.com"}
        details = member if one["user_id"] == member["user_id"] else one | email
        answers(club, "GET", f"/api/v1/users/{one['msid']}", details)
    match = {"method": "GET", "path_prefix": "/api/v1/users"}
    club.fault(match=match, status=200, body=members, headers={"has_more": "0"})
    answers(club, "GET", "/api/v1/users", [], headers={"has_more": "0"})
    first, second = sorted(club.observe().accounts, key=lambda one: one.id, reverse=True)
    assert first.id == member["msid"]
    assert (first.values["email"], first.values["user_status"]) == ("Josiane.Baumbach@example.com", "ACTIVE")
    assert (first.values.get("last_name"), first.values["role"], second.values["role"]) == (None, "role 2", "Member")
    # Both boards are printed with one name, which could be either
    lines = club.run(lambda http: club.target.unknown_names(http))
    assert lines == ("No role 'Member'",) or all("Member" not in line for line in lines)


def test_a_new_member(club: Bench) -> None:
    answers(club, "GET", "/api/v1/roles", [*sample("habitate", "roles"), {"role_id": 0, "role_name": "New"}])
    answers(club, "POST", "/api/v1/users", sample("habitate", "created"))
    values = {"email": "string@example.com", "first_name": "string", "username": "string", "role": "New"}
    (outcome,) = club.write(change(Kind.CREATE, None, values))
    assert isinstance(outcome, Done)
    assert outcome.account == "string"


def test_a_changed_member(club: Bench) -> None:
    updated = sample("habitate", "updated")
    answers(club, "GET", f"/api/v1/users/{updated['msid']}", sample("habitate", "member"))
    answers(club, "PUT", f"/api/v1/users/{updated['msid']}", updated)
    wanted = {"email": "Josiane.Baumbach@example.com", "first_name": "Ayana", "username": "Maryam5"}
    (outcome,) = club.write(change(Kind.UPDATE, updated["msid"], {"first_name": "Ayana"}, wanted=wanted))
    assert outcome == Done(account=updated["msid"])


def test_members_of_a_board(club: Bench) -> None:
    asked = sample("habitate", "members_request")["member_changes"]
    board = {"board_id": 7, "board_name": "Sales", "is_private": True}
    answers(club, "GET", "/api/v1/boards", [board])
    answers(club, "PUT", "/api/v1/boards/7/members", sample("habitate", "members_changed"))
    some = [
        change(Kind.UPDATE, msid, {"boards": "Sales" if into else None}, before={"boards": None if into else "Sales"})
        for msid, into in asked.items()
    ]
    assert [type(one) for one in club.write(*some)] == [Done] * 3
    assert club.sent("PUT") == ["PUT /api/v1/boards/7/members"]


def test_an_error_of_habitate(club: Bench) -> None:
    answers(club, "POST", "/api/v1/users", sample("habitate", "error"), status=400)
    values = {"email": "a@example.com", "first_name": "Ann", "username": "ann"}
    said = refuses(club, change(Kind.CREATE, None, values))
    assert said.code == "row_refused"
    assert "Request payload validation errors" in said.message


def test_a_webhook_of_habitate(club: Bench) -> None:
    (body,) = club.target.single_events(sample("habitate", "webhook"))
    told: InboundEvent = club.target.event(body)
    assert (told.name, told.known, told.joined, told.account) == (
        "member.joined", True, True, "206.JO7Rv1B4bEBUawd3d2DXsE2DA",
    )  # fmt: skip
    assert told.match == {"username": "sample", "email": "sample@example.com", "user_status": "ACTIVE"}


# Traitly


def test_customers(crm: Bench) -> None:
    answers(crm, "GET", "/api/v1/customer", sample("traitly", "customers"))
    listing = crm.observe()
    john, alice = sorted(listing.accounts, key=lambda one: one.id)
    assert listing.doubt is None
    assert (john.id, alice.id) == ("123", "456")
    assert (john.values["created_at"], john.values["custom_attributes.role"]) == ("1493933699", "manager")
    assert (alice.values["monthly_payment_amount"], alice.values["organisation_id"]) == ("0", None)


def test_a_new_customer(crm: Bench) -> None:
    asked, answer = sample("traitly", "customer_request"), sample("traitly", "customer_created")
    answers(crm, "POST", "/api/v1/customer", answer)
    (outcome,) = crm.write(change(Kind.CREATE, None, {name: str(value) for name, value in asked.items()}))
    assert isinstance(outcome, Done)
    assert (outcome.account, outcome.unkept, outcome.learnt["created_at"]) == ("123", {}, "1493933699")


def test_events(crm: Bench) -> None:
    after = {"name": "Logged in", "created_at": "1494020099"}
    event = change(Kind.EVENT, "1", after, slot="event:login")
    answers(crm, "POST", "/api/v1/event", sample("traitly", "event_created"))
    assert crm.write(event) == [Done(account="1")]
    answers(crm, "GET", "/api/v1/event", sample("traitly", "events"))
    assert isinstance(crm.confirm(event), Done)
    assert crm.confirm(change(Kind.EVENT, "1", after | {"created_at": "5"}, slot="event:login")) is None


def test_next_actions(crm: Bench) -> None:
    answers(crm, "GET", "/api/v1/recommended-next-action", sample("traitly", "next_actions"))
    told = crm.run(lambda http: crm.target.next_actions(http, "123456"))
    assert (told.names, told.likelihood, told.goal) == (("Style Widget",), 0.5, "30-day Conversion")
    hooked: InboundEvent = crm.target.event(sample("traitly", "webhook_actions"))
    assert (hooked.known, hooked.account, hooked.facts[0].shows["next_action"]) == (True, "123456", "Style Widget")
    likely: InboundEvent = crm.target.event(sample("traitly", "webhook_propensity"))
    assert (likely.known, likely.facts[0].shows["likelihood"]) == (True, "0.5")


@pytest.mark.parametrize("kind", sorted(SETTINGS))
def test_each_sample_is_named_here_or_belongs_to_a_call_that_is_left_out(kind: str) -> None:
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert set(_printed(kind)) - named == set()
    assert LEFT_OUT[kind] - set(_printed(kind)) == set()
