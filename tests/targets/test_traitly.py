"""Traitly's target against the stand-in, over real HTTP. What the real service does beyond its page is unknown."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import structs

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError, ReadOnlyError, UnauthorisedError
from provisioner.model.account import Account
from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_record import OperationRecord
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.sandbox import TRAITLY_TOKEN, SandboxServer
from provisioner.targets.base import Ask, Listing
from provisioner.targets.http import Http, new_client
from provisioner.targets.traitly import NEXT_ACTIONS, Traitly
from provisioner.targets.traitly.events import NextActions
from provisioner.targets.traitly.reading import CUSTOMERS
from provisioner.targets.traitly.settings import TraitlySettings
from provisioner.targets.traitly.writing import EVENTS

R = TypeVar("R")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "targets" / "traitly.md"
MAPPING = {"customer_id": "id", "name": "name", "email": "mail", "plan": "'Staff'"}
SMITH: Mapping[str, Any] = {
    "customer_id": "123",
    "name": "John Smith",
    "created_at": "1493933699",
    "monthly_payment_amount": 199,
    "location": "San Francisco",
    "email": "John.Smith@example.com",
    "phone_number": "0123456789",
    "organisation_id": None,
    "plan": "Starter",
    "custom_attributes": {
        "role": "manager",
        "seats": 4,
        "ratio": 0.5,
        "beta": True,
        "nested": {"b": [1, None], "a": "é"},
        "nothing": None,
        "blank ": "  kept  ",
    },
}
_numbers = count(1)


class FreeSlot:
    """A slot that costs nothing."""

    async def answered(self, *, limited: bool = False, retry_after: float | None = None) -> None:
        """Nothing to give back."""


class FreePace:
    """Grants at once."""

    async def slot(self, deadline: float) -> FreeSlot:  # noqa: ARG002
        """A slot, now."""
        return FreeSlot()


class Bench:
    """One instance of the stand-in and the target that is configured for it."""

    def __init__(self, sandbox: SandboxServer, **settings: Any) -> None:
        self.name = f"traitly-bench{next(_numbers)}"
        self.board = sandbox.switchboard
        self.board.options(self.name, rate_limit=100_000)
        self.target = Traitly(
            "crm",
            TraitlySettings.model_validate(
                {
                    "kind": "traitly",
                    "base_url": sandbox.url_of(self.name),
                    "token": TRAITLY_TOKEN,
                    "match": ["customer_id"],
                    "attributes": MAPPING,
                    **settings,
                }
            ),
        )

    def run(self, use: Callable[[Http], Awaitable[R]], *, read_only: bool = False) -> R:
        """Use the target's transport once."""

        async def main() -> R:
            async with new_client() as client:
                target = self.target
                http = Http(target.name, client, target.origin, target.headers(), FreePace(), read_only=read_only)
                return await use(http)

        return asyncio.run(main())

    def observe(self) -> Listing:
        """List everything."""
        return self.run(lambda http: self.target.observe(http, {}))

    def account(self, identifier: str) -> Account:
        """One account of the listing."""
        return next(account for account in self.observe().accounts if account.id == identifier)

    def write(self, *operations: Operation) -> list[Outcome]:
        """Send."""
        return list(self.run(lambda http: self.target.write(http, operations)))

    def held(self, identifier: str) -> Mapping[str, Any]:
        """What the stand-in holds, in its own form."""
        return next(row for row in self.board.accounts(self.name) if row["customer_id"] == identifier)

    def writes(self) -> int:
        """POSTs that arrived."""
        return int(self.board.counts(self.name)["writes"])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def bench(sandbox: SandboxServer) -> Bench:
    """A fresh instance."""
    return Bench(sandbox)


def operation(kind: Kind, account: str | None, after: Mapping[str, str | None], **more: Any) -> Operation:
    return OperationRecord("op", "crm", "E1", kind, account, {}, after, **more).operation()


def create(identifier: str = "E1", **more: str | None) -> Operation:
    wanted = {"customer_id": identifier, "name": "Ann Lee", "email": "ann@example.com", "plan": "Staff", **more}
    return operation(Kind.CREATE, None, wanted, wanted=wanted)


def update(account: Account, **after: str | None) -> Operation:
    """As the planner makes it: the whole managed image, and what the target asked to have carried."""
    managed = {name: account.values[name] for name in MAPPING}
    observed = {name: account.values.get(name) for name in Traitly.carried}
    return operation(Kind.UPDATE, account.id, after, wanted={**managed, **after}, observed=observed)


def event(customer: str | None = "E1", moment: str = "1700000000", fact: str = "created") -> Operation:
    after = {"name": "Onboarded", "created_at": moment}
    return operation(Kind.EVENT, customer, after, slot=f"event:{fact}", reason=fact)


def test_listing_shows_every_readable_field_as_canonical_text(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH])
    listing = bench.observe()
    assert listing.complete
    assert listing.notes == ()
    (account,) = listing.accounts
    assert account.id == "123"
    assert account.untouchable is None
    custom = account.values["custom_attributes"]
    assert custom is not None
    assert json.loads(custom) == SMITH["custom_attributes"]
    assert {name: value for name, value in account.values.items() if name != "custom_attributes"} == {
        "customer_id": "123",
        "name": "John Smith",
        "created_at": "1493933699",
        "monthly_payment_amount": "199",
        "location": "San Francisco",
        "email": "John.Smith@example.com",
        "phone_number": "0123456789",
        "organisation_id": None,
        "plan": "Starter",
        "custom_attributes.role": "manager",
        "custom_attributes.seats": "4",
        "custom_attributes.ratio": "0.5",
        "custom_attributes.beta": "true",
        "custom_attributes.nested": '{"a":"é","b":[1,null]}',
        "custom_attributes.nothing": None,
        "custom_attributes.blank ": "kept",
    }


@pytest.mark.parametrize("relative", [False, True])
def test_listing_follows_the_next_page(bench: Bench, relative: bool) -> None:
    bench.board.seed(bench.name, [{**SMITH, "customer_id": str(number)} for number in range(7)])
    bench.board.options(bench.name, page_size=3, relative_next=relative)
    assert [account.id for account in bench.observe().accounts] == [str(number) for number in range(7)]
    assert bench.board.counts(bench.name)["reads"] == 3


@pytest.mark.parametrize(
    ("following", "query"), [(2, {"page": "2"}), ("2", {"page": "2"}), ("abc", {"cursor": "abc"}), ("?p=2", {"p": "2"})]
)
def test_next_may_be_a_page_number_a_cursor_or_a_query(bench: Bench, following: Any, query: dict[str, str]) -> None:
    bench.board.fault(bench.name, match={"path_prefix": CUSTOMERS}, status=200, body=_page("1", following))
    bench.board.fault(bench.name, match={"path_prefix": CUSTOMERS}, status=200, body=_page("2", None))
    assert [account.id for account in bench.observe().accounts] == ["1", "2"]
    assert bench.board.log(bench.name)[-1]["query"] in (query, "&".join(f"{k}={v}" for k, v in query.items()))


@pytest.mark.parametrize(
    "following",
    ["https://elsewhere.example/api/v1/customer?page=2", "//elsewhere.example/api/v1/customer", "/api/v1/event", True],
)
def test_next_that_leads_elsewhere_is_not_followed(bench: Bench, following: Any) -> None:
    bench.board.fault(bench.name, status=200, body=_page("1", following))
    with pytest.raises(ListingError, match=r"crm: .*metadata\.next"):
        bench.observe()
    assert bench.board.counts(bench.name)["reads"] == 1


def test_next_that_leads_in_a_circle_is_refused(bench: Bench) -> None:
    bench.board.fault(bench.name, status=200, body=_page("1", "/api/v1/customer?page=2"))
    bench.board.fault(bench.name, times=None, status=200, body=_page("2", "/api/v1/customer?page=2"))
    with pytest.raises(ListingError, match="leads back"):
        bench.observe()
    assert bench.board.counts(bench.name)["reads"] == 2


def test_a_second_page_that_is_the_first_again_is_refused(bench: Bench) -> None:
    bench.board.fault(bench.name, times=None, status=200, body=_page("1", "/api/v1/customer?page=2"))
    with pytest.raises(ListingError, match="the same as the one before"):
        bench.observe()
    assert bench.board.counts(bench.name)["reads"] == 2


def test_a_page_that_is_gone_makes_the_listing_incomplete(bench: Bench) -> None:
    bench.board.fault(bench.name, status=200, body=_page("1", "?customer_id=1&page=2"))
    bench.board.fault(bench.name, status=404, body={})
    ask = Ask("E1", "1")
    with pytest.raises(ListingError, match="leads to nothing"):
        bench.run(lambda http: bench.target.find(http, [ask], {}))


def test_the_same_customer_twice_is_noted_and_taken_once(bench: Bench) -> None:
    rows = [{**SMITH, "plan": plan} for plan in ("First", "Second")]
    bench.board.fault(bench.name, status=200, body={"data": rows, "metadata": {}})
    listing = bench.observe()
    assert [account.values["plan"] for account in listing.accounts] == ["First"]
    assert listing.notes == ("Traitly shows more than one customer for customer_id 123; the first of each is taken.",)


@pytest.mark.parametrize("body", [{}, [], {"data": None}, {"data": [1]}, {"data": [{"name": "no id"}]}])
def test_an_answer_without_customers_is_malformed(bench: Bench, body: Any) -> None:
    bench.board.fault(bench.name, status=200, body=json.dumps(body))
    with pytest.raises(MalformedAnswerError, match="crm: GET /api/v1/customer"):
        bench.observe()


def test_what_cannot_be_read_could_not_be_sent_back_and_is_left_alone(bench: Bench) -> None:
    bench.board.seed(bench.name, [{**SMITH, "monthly_payment_amount": "a lot", "custom_attributes": [1]}])
    untouchable = bench.account("123").untouchable
    assert untouchable == ("unreadable in part (monthly_payment_amount is no number; custom_attributes is no object)")


def test_find_asks_for_the_linked_or_the_desired_customer_only(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH, {**SMITH, "customer_id": "456"}])
    asks = [Ask("a", "123"), Ask("b", None, {"customer_id": "456"}), Ask("c", None, {"customer_id": "nobody"})]
    listing = bench.run(lambda http: bench.target.find(http, asks, {}))
    assert listing is not None
    assert not listing.complete
    assert [account.id for account in listing.accounts] == ["123", "456"]
    assert bench.board.counts(bench.name)["reads"] == 3


def test_find_leaves_to_the_listing_what_only_that_can_tell(bench: Bench) -> None:
    by_email = Ask("a", None, {"email": "ann@example.com"})
    either = Ask("b", None, {"customer_id": "nobody", "email": "ann@example.com"})
    for ask in (by_email, either):
        assert bench.run(lambda http, ask=ask: bench.target.find(http, [ask], {})) is None  # type: ignore[misc]


def test_create_sends_what_is_wanted_and_learns_the_rest(bench: Bench) -> None:
    wanted = {"monthly_payment_amount": "12.5", "created_at": "1600000000", "custom_attributes.role": "manager"}
    (outcome,) = bench.write(create(**wanted))
    assert bench.held("E1") == {
        "customer_id": "E1",
        "name": "Ann Lee",
        "email": "ann@example.com",
        "plan": "Staff",
        "created_at": "1600000000",
        "monthly_payment_amount": 12.5,
        "location": None,
        "phone_number": None,
        "organisation_id": None,
        "custom_attributes": {"role": "manager"},
    }
    assert outcome == Done(account="E1", learnt={"custom_attributes": '{"role":"manager"}'})


def test_create_learns_when_the_customer_signed_up(bench: Bench) -> None:
    (outcome,) = bench.write(create())
    assert isinstance(outcome, Done)
    assert outcome.learnt == {"created_at": bench.held("E1")["created_at"]}


def test_repeating_a_create_makes_no_second_customer(bench: Bench) -> None:
    bench.board.fault(bench.name, match={"method": "POST"}, drop="after")
    (lost,) = bench.write(create())
    assert isinstance(lost, Unclear)
    outcome = bench.run(lambda http: bench.target.confirm(http, create()))
    assert isinstance(outcome, Done)
    assert not outcome.adopted, "it is ours, so its event is still to be sent"
    assert len(bench.board.accounts(bench.name)) == 1
    assert Kind.CREATE in Traitly.hurts_twice


def test_an_unclear_create_that_finds_another_customer_adopts_them(bench: Bench) -> None:
    bench.board.seed(bench.name, [{**SMITH, "customer_id": "E1"}])
    outcome = bench.run(lambda http: bench.target.confirm(http, create()))
    assert isinstance(outcome, Done)
    assert outcome.adopted
    assert outcome.learnt["plan"] == "Starter"
    assert bench.writes() == 0


def test_a_create_does_not_overwrite_who_is_there(bench: Bench) -> None:
    bench.board.seed(bench.name, [{**SMITH, "customer_id": "E1"}])
    before = bench.held("E1")
    (outcome,) = bench.write(create())
    assert isinstance(outcome, Done)
    assert outcome.adopted
    assert (bench.held("E1"), bench.writes()) == (before, 0)


@pytest.mark.parametrize("matched", [["name"], ["email"]])
def test_a_customer_who_is_matched_by_something_else_is_not_taken_over(
    sandbox: SandboxServer, matched: list[str]
) -> None:
    bench = Bench(sandbox, match=matched)
    bench.board.seed(bench.name, [{**SMITH, "customer_id": "E1"}])
    (outcome,) = bench.write(create())
    assert isinstance(outcome, Permanent)
    assert (outcome.code, bench.writes()) == ("taken", 0)


def test_update_changes_one_thing_and_keeps_all_others(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH])
    before = bench.held("123")
    (outcome,) = bench.write(update(bench.account("123"), plan="Leaver"))
    assert isinstance(outcome, Done)
    after = bench.held("123")
    assert after == {**before, "plan": "Leaver"}
    assert json.dumps(after["custom_attributes"]) == json.dumps(SMITH["custom_attributes"])


def test_custom_attributes_are_merged_and_equal_ones_keep_their_type(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH])
    account = bench.account("123")
    change = update(account, **{"custom_attributes.role": "director", "custom_attributes.dept": "Sales"})
    more = {"custom_attributes.seats": "4", "custom_attributes.beta": "true"}
    change = structs.replace(change, wanted={**change.wanted, **more})
    bench.write(change)
    assert bench.held("123")["custom_attributes"] == {
        **SMITH["custom_attributes"],
        "role": "director",
        "dept": "Sales",
    }


def test_clearing_sends_null_and_never_the_moment_of_sign_up(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH])
    account = bench.account("123")
    bench.write(update(account, location=None, created_at=None, **{"custom_attributes.role": None}))
    held = bench.held("123")
    assert held["location"] is None
    assert held["custom_attributes"]["role"] is None
    assert held["created_at"] != "1493933699"
    with pytest.raises(ConfigurationError, match=r"targets\.crm\.attributes\.created_at"):
        _checked(created_at={"from": "hired", "empty": "clear"})


def test_an_unknown_wish_does_not_erase_what_was_observed(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH])
    change = update(bench.account("123"), plan="Pro")
    bench.write(structs.replace(change, wanted={"plan": "Pro", "created_at": None, "location": None}))
    assert bench.held("123") == {**SMITH, "plan": "Pro"}


def test_a_customer_without_a_required_value_is_not_sent(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH])
    outcomes = bench.write(
        create(name=None, plan=None), update(bench.account("123"), email=None), operation(Kind.UPDATE, None, {})
    )
    assert outcomes == [
        Permanent("missing_required", "Traitly takes no customer without name and plan"),
        Permanent("missing_required", "Traitly takes no customer without email"),
        Permanent("missing_required", "Traitly takes no customer without customer_id and name and email and plan"),
    ]
    assert bench.writes() == 0


def test_what_the_answer_shows_otherwise_is_learnt(bench: Bench) -> None:
    shown = {**SMITH, "customer_id": "E1", "name": "Ann Lee", "email": "ANN@example.com", "plan": "Free"}
    body = {"data": [shown | {"custom_attributes": {}, "location": None}]}
    bench.board.fault(bench.name, match={"method": "POST"}, status=200, body=body)
    (outcome,) = bench.write(create(location="Perth"))
    assert isinstance(outcome, Done)
    assert outcome.learnt == {
        "plan": "Free",
        "location": None,
        "created_at": "1493933699",
        "monthly_payment_amount": "199",
        "phone_number": "0123456789",
    }


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ({"status": 400, "body": {"error": "no"}}, Permanent, "bad_request"),
        ({"status": 401}, Unauthorised, "unauthorised"),
        ({"status": 429, "headers": {"Retry-After": "7"}}, Temporary, "rate_limited"),
        ({"status": 503}, Temporary, "unavailable"),
        ({"status": 500}, Unclear, "server_error"),
        ({"status": 200, "body": "<html>", "content_type": "text/html"}, Unclear, "malformed_answer"),
        ({"drop": "after"}, Unclear, "connection_lost"),
    ],
)
def test_failures_come_back_as_outcomes_each_in_its_place(
    bench: Bench, fault: dict[str, Any], kind: type, code: str
) -> None:
    bench.board.fault(bench.name, match={"method": "POST", "contains": "E2"}, **fault)
    first, second, third = bench.write(create("E1"), create("E2"), create("E3"))
    assert isinstance(first, Done)
    assert isinstance(third, Done)
    assert isinstance(second, kind)
    assert getattr(second, "code", None) == code


def test_a_plan_writes_nothing(bench: Bench) -> None:
    for change in (create(), event()):
        with pytest.raises(ReadOnlyError):
            bench.run(lambda http, change=change: bench.target.write(http, [change]), read_only=True)  # type: ignore[misc]
    assert bench.board.counts(bench.name)["writes"] == 0


def test_an_event_is_sent_with_the_planned_moment(bench: Bench) -> None:
    bench.write(create())
    assert bench.write(event()) == [Done(account="E1")]
    assert bench.board.state(bench.name)["events"] == [
        {"customer_id": "E1", "name": "Onboarded", "created_at": "1700000000", "success": 1}
    ]
    assert bench.write(event(None)) == [Permanent("missing_required", "Traitly takes no event without customer_id")]


def test_an_event_that_did_not_succeed_is_refused(bench: Bench) -> None:
    body = {"data": [{"customer_id": "E1", "name": "Onboarded", "success": 0}]}
    bench.board.fault(bench.name, match={"path_prefix": EVENTS}, status=200, body=body)
    (outcome,) = bench.write(event())
    assert isinstance(outcome, Permanent)


@pytest.mark.parametrize(("drop", "arrived"), [("before", False), ("after", True)])
def test_an_unclear_event_is_looked_up_by_its_moment(bench: Bench, drop: str, arrived: bool) -> None:
    bench.write(create(), event(moment="1600000000", fact="role_changed"))
    bench.board.fault(bench.name, match={"method": "POST", "path_prefix": EVENTS}, drop=drop)
    (lost,) = bench.write(event(fact="role_changed"))
    assert isinstance(lost, Unclear)
    settled = bench.run(lambda http: bench.target.confirm(http, event(fact="role_changed")))
    assert isinstance(settled, Done) is arrived
    assert Kind.EVENT in Traitly.hurts_twice


def test_that_somebody_was_created_is_told_once_whenever_it_was_planned(bench: Bench) -> None:
    bench.write(create(), event(moment="1600000000"))
    planned_anew = bench.run(lambda http: bench.target.confirm(http, event()))
    assert planned_anew == Done(account="E1", note="found at Traitly, not sent again")


def test_settling_anything_else_asks_nothing(bench: Bench) -> None:
    bench.board.seed(bench.name, [SMITH])
    changed = update(bench.account("123"), plan="Leaver")
    bench.board.clear_log(bench.name)
    assert bench.run(lambda http: bench.target.confirm(http, changed)) is None
    assert bench.board.counts(bench.name)["reads"] == 0


def test_events_of_nobody_are_none(bench: Bench) -> None:
    bench.board.fault(bench.name, match={"path_prefix": EVENTS}, status=404)
    assert bench.run(lambda http: bench.target.confirm(http, event())) is None


def test_probe_proves_the_token_and_reads_nobody(bench: Bench, sandbox: SandboxServer) -> None:
    assert bench.run(bench.target.probe, read_only=True) == ("Traitly accepts the token and answers.",)
    assert bench.board.counts(bench.name)["reads"] == 1
    wrong = Bench(sandbox, token="wrong")
    with pytest.raises(UnauthorisedError, match="crm"):
        wrong.run(wrong.target.probe)


def test_probe_does_not_take_a_404_for_proof(bench: Bench) -> None:
    bench.board.fault(bench.name, status=404)
    assert len(bench.run(bench.target.probe)) == 1
    assert bench.board.counts(bench.name)["reads"] == 2


@pytest.mark.parametrize("singular", [False, True])
def test_next_actions_under_either_spelling(bench: Bench, singular: bool) -> None:
    actions = [{"event_name": "Minor", "importance": 0.1}, {"event_name": "Major", "importance": 0.9}]
    bench.write(create())
    bench.board.options(bench.name, singular_next_actions=singular, next_actions={"E1": actions})
    found = bench.run(lambda http: bench.target.next_actions(http, "E1", "Retention"))
    assert isinstance(found, NextActions)
    assert found.goal == "Retention"
    assert found.names == ("Major", "Minor")
    assert found.likelihood is not None
    assert 0 <= found.likelihood <= 1
    assert bench.run(lambda http: bench.target.next_actions(http, "nobody")) is None


def test_groups_and_batches() -> None:
    target = Traitly("crm", TraitlySettings(kind="traitly", enabled=False))
    leave = operation(Kind.LEAVE, "1", {"plan": "Leaver"})
    assert len({target.group(one) for one in (create(), leave, event())}) == 3
    assert target.group(create()) == target.group(operation(Kind.UPDATE, "1", {}))
    assert {target.batch_size(group) for group in ("leave", "save", "event")} == {1}


def test_attributes_of_the_open_family_and_event_names() -> None:
    target = _checked(**{"custom_attributes.role": "role"})
    assert target.attribute("custom_attributes.role").role is False
    assert target.facts == {"created": "Onboarded", "left": "Offboarded"}
    for wrong in ("custom_attributes.", "custom_attributes", "emial"):
        with pytest.raises(ConfigurationError, match="crm"):
            _checked(**{wrong: "x"})


def _checked(**attributes: Any) -> Traitly:
    target = Traitly(
        "crm",
        TraitlySettings.model_validate(
            {
                "kind": "traitly",
                "base_url": "http://127.0.0.1",
                "token": "t",
                "match": ["customer_id"],
                "attributes": {**MAPPING, **attributes},
                "events": {"created": "Onboarded", "left": "Offboarded"},
            }
        ),
    )
    target.check()
    return target


def _page(identifier: str, following: Any) -> dict[str, Any]:
    return {"data": [{**SMITH, "customer_id": identifier}], "metadata": {"next": following}}


def test_docs_name_every_attribute_and_endpoint() -> None:
    text = DOCS.read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \|", text.split("## Fields")[1].split("\n## ")[0], re.MULTILINE))
    assert documented == {*Traitly.catalogue, "custom_attributes.<name>"}
    endpoints = text.split("## Endpoints")[1].split("\n## ")[0]
    for path in (CUSTOMERS, EVENTS, *NEXT_ACTIONS):
        assert f"{path}`" in endpoints
