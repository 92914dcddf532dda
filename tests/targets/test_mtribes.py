"""mtribes' target against the stand-in, over real HTTP. The stand-in holds to a contract that is partly assumed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import (
    ConfigurationError,
    ListingError,
    MalformedAnswerError,
    ReadOnlyError,
    TargetError,
    UnauthorisedError,
)
from provisioner.model.account import Account
from provisioner.model.attributes import InvalidValueError, Type, canonical
from provisioner.model.operation import Kind, Operation
from provisioner.model.operation_record import OperationRecord
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.sandbox import MTRIBES_ORG_ID, MTRIBES_SPACE_ID, MTRIBES_TOKEN, SandboxServer
from provisioner.targets.base import Listing
from provisioner.targets.capabilities import Confirms, LooksUp
from provisioner.targets.http import Http, new_client
from provisioner.targets.mtribes import Mtribes
from provisioner.targets.mtribes.attributes import TAG_LEVELS
from provisioner.targets.mtribes.settings import MtribesDialect, MtribesPaths, MtribesSettings
from provisioner.targets.mtribes.writing import tags as tags_to_send

R = TypeVar("R")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "targets" / "mtribes.md"
MAPPING = {"id": "id", "name": "name", "email": "mail", "tags": "tags"}
USERS = f"/v1.0/spaces/{MTRIBES_SPACE_ID}/users"
V2 = "/{api_version}/spaces/{space_id}/environments/{environment}/users"
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


def configured(base_url: str = "http://127.0.0.1", **settings: Any) -> Mtribes:
    return Mtribes(
        "tribes",
        MtribesSettings.model_validate(
            {
                "kind": "mtribes",
                "base_url": base_url,
                "access_token": MTRIBES_TOKEN,
                "space_id": MTRIBES_SPACE_ID,
                "match": ["id"],
                "attributes": MAPPING,
                **settings,
            }
        ),
    )


class Bench:
    """One instance of the stand-in and the target that is configured for it."""

    def __init__(self, sandbox: SandboxServer, **settings: Any) -> None:
        self.name = f"mtribes-bench{next(_numbers)}"
        self.board = sandbox.switchboard
        self.board.options(self.name, rate_limit=100_000)
        self.target = configured(sandbox.url_of(self.name), **settings)

    def run(self, use: Callable[[Http], Awaitable[R]], *, read_only: bool = False, first: bool = False) -> R:
        """Use the target's transport once."""

        async def main() -> R:
            async with new_client() as client:
                target = self.target
                headers, pace = target.headers(), FreePace()
                http = Http(target.name, client, target.origin, headers, pace, read_only=read_only, first_contact=first)
                return await use(http)

        return asyncio.run(main())

    def observe(self, *, first: bool = False) -> Listing:
        """List everything; `first`: nothing was listed before."""
        return self.run(lambda http: self.target.observe(http, {}), first=first)

    def write(self, *operations: Operation) -> list[Outcome]:
        """Send."""
        return list(self.run(lambda http: self.target.write(http, operations)))

    def held(self) -> dict[str, Mapping[str, Any]]:
        """What the stand-in holds, in its own form, by id."""
        return {row["id"]: row for row in self.board.accounts(self.name)}

    def seed(self, *rows: Mapping[str, Any]) -> None:
        """Put users in place."""
        self.board.seed(self.name, rows)

    def count(self, what: str) -> int:
        """Reads or writes that arrived."""
        return int(self.board.counts(self.name)[what])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def bench(sandbox: SandboxServer) -> Bench:
    """A fresh instance with small pages."""
    return Bench(sandbox, page_size=3)


def operation(kind: Kind, account: str | None, after: Mapping[str, str | None], **more: Any) -> Operation:
    return OperationRecord("op", "tribes", "E1", kind, account, {}, after, **more).operation()


def create(identifier: str = "E1", **more: str | None) -> Operation:
    wanted = {"id": identifier, "name": "Ann Lee", "email": "ann@example.com", **more}
    return operation(Kind.CREATE, None, wanted, wanted=wanted)


def update(identifier: str, observed: str | None = None, **after: str | None) -> Operation:
    wanted = {"id": identifier, "name": "Ann Lee", "email": "ann@example.com", **after}
    return operation(Kind.UPDATE, identifier, after, wanted=wanted, observed={"tags": observed})


def test_listing_shows_every_field_as_canonical_text(bench: Bench) -> None:
    bench.seed(
        {"id": "E1", "name": "Ann", "email": "A@example.com", "tags": ["Vip", "department/sales", "vip"], "age": 3.0},
        {"id": "E2", "name": " ", "tags": [], "beta": True, "traits": {"b": 1, "a": "é"}, "tribes": ["Sales"]},
    )
    listing = bench.observe()
    assert listing == Listing(
        (
            Account(
                "E1",
                {
                    "id": "E1",
                    "tags": "department/sales;Vip",
                    "name": "Ann",
                    "email": "A@example.com",
                    "age": "3",
                },
            ),
            Account(
                "E2",
                {"id": "E2", "tags": None, "name": None, "beta": "true", "traits": '{"a":"é","b":1}'},
            ),
        )
    )


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("users", [0, 1, 3, 7])
def test_listing_reads_every_page_of_either_form(bench: Bench, users: int, bare: bool) -> None:
    bench.board.options(bench.name, bare_lists=bare)
    bench.seed(*({"id": str(number)} for number in range(users)))
    assert [account.id for account in bench.observe().accounts] == [str(number) for number in range(users)]
    assert bench.count("reads") == -(-users // 3) + 1


def test_a_smaller_page_than_asked_for_is_not_the_last(bench: Bench) -> None:
    bench.board.options(bench.name, page_cap=2)
    bench.seed(*({"id": str(number)} for number in range(5)))
    assert len(bench.observe().accounts) == 5


def test_who_ignores_the_page_gives_everything_at_once(bench: Bench) -> None:
    bench.board.fault(bench.name, times=None, status=200, body=[{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}])
    assert [account.id for account in bench.observe().accounts] == ["1", "2", "3", "4"]
    assert bench.count("reads") == 2


def test_the_same_full_page_again_is_not_believed(bench: Bench) -> None:
    bench.board.fault(bench.name, times=None, status=200, body=[{"id": 1}, {"id": 2}, {"id": 3}])
    with pytest.raises(ListingError, match=r"tribes: .*out of reach.*page_param"):
        bench.observe()


def test_without_a_page_parameter_there_is_one_read(sandbox: SandboxServer) -> None:
    bench = Bench(sandbox, page_param="", page_size_param="")
    bench.seed({"id": "E1"})
    assert len(bench.observe().accounts) == 1
    assert bench.count("reads") == 1
    assert not bench.board.log(bench.name)[0]["query"]


@pytest.mark.parametrize("status", [404, 405])
def test_where_users_cannot_be_listed_the_ledger_stands_in(bench: Bench, status: int) -> None:
    bench.board.options(bench.name, users_listing=status)
    listing = bench.observe()
    assert listing.accounts == ()
    assert not listing.complete
    assert listing.unlistable is not None
    assert listing.unlistable.startswith(f"mtribes cannot list users ({status}); going on from the ledger")


def test_a_listing_that_breaks_off_is_no_listing(bench: Bench) -> None:
    bench.seed(*({"id": str(number)} for number in range(5)))
    bench.board.fault(bench.name, status=200, body=[{"id": 1}, {"id": 2}, {"id": 3}])
    bench.board.fault(bench.name, status=404)
    with pytest.raises(TargetError, match="tribes: GET"):
        bench.observe()


@pytest.mark.parametrize(
    "body", ['"text"', {}, {"users": [], "other": []}, {"users": {}}, [1], [{}], [{"id": ""}], [{"id": True}]]
)
def test_an_answer_without_one_list_of_users_is_malformed(bench: Bench, body: Any) -> None:
    bench.board.fault(bench.name, status=200, body=body)
    with pytest.raises(MalformedAnswerError, match="tribes: GET"):
        bench.observe()


def test_a_tag_that_could_not_be_sent_back_leaves_the_user_alone(bench: Bench) -> None:
    bench.seed({"id": "E1", "tags": ["a;b"]}, {"id": "E2", "tags": ["a"]})
    first, second = bench.observe().accounts
    assert first.untouchable is not None
    assert second.untouchable is None


def test_one_user_cannot_be_looked_up(bench: Bench) -> None:
    assert not isinstance(bench.target, LooksUp)


def test_one_ingest_creates_and_updates(bench: Bench) -> None:
    bench.seed({"id": "E2", "name": "Bo", "tags": ["by/hand"], "plan": "kept"})
    outcomes = bench.write(create("E1", tags="department/Sales;vip", level="7"), update("E2", name="Bob"))
    assert outcomes == [Done(account="E1"), Done(account="E2")]
    assert bench.count("writes") == 1
    assert bench.held() == {
        "E1": {
            "id": "E1",
            "name": "Ann Lee",
            "email": "ann@example.com",
            "tags": ["department/sales", "vip"],
            "level": "7",
        },
        "E2": {"id": "E2", "name": "Bob", "email": "ann@example.com", "tags": ["by/hand"], "plan": "kept"},
    }


def test_cleared_values_go_as_null_and_an_empty_list(bench: Bench) -> None:
    bench.seed({"id": "E1", "email": "x@example.com", "tags": ["a"]})
    bench.write(update("E1", "a", email=None, tags=None))
    assert bench.held()["E1"]["email"] is None
    assert bench.held()["E1"]["tags"] == []


def test_a_create_says_nothing_of_what_is_empty(bench: Bench) -> None:
    bench.write(create(email=None, tags=None, tribes="Sales"))
    assert bench.held()["E1"] == {"id": "E1", "name": "Ann Lee", "tags": []}


def test_tags_of_others_go_back_as_they_stand(bench: Bench) -> None:
    bench.board.fault(bench.name, match={"method": "POST", "contains": '"tags":["By/Hand/of/UI","new"]'}, status=202)
    assert bench.write(update("E1", "By/Hand/of/UI", tags="by/hand/of/ui;By/Hand/of/UI;New")) == [Done(account="E1")]


@pytest.mark.parametrize(
    ("tag", "why"),
    [("a/b/c/d", "has 4 levels"), ("a//b", "empty level"), ("/a", "empty level"), ("a/ b", "blanks next to a slash")],
)
def test_a_tag_that_mtribes_would_refuse_costs_only_its_user(bench: Bench, tag: str, why: str) -> None:
    bad, good = bench.write(create("E1", tags=f"{tag};vip"), create("E2"))
    assert isinstance(bad, Permanent)
    assert bad.code == "invalid_tag"
    assert repr(tag) in bad.message
    assert why in bad.message
    assert good == Done(account="E2")
    assert set(bench.held()) == {"E2"}


@given(st.lists(st.text("abAB/ é", min_size=1, max_size=9), max_size=4))
def test_what_is_sent_for_new_tags_is_what_mtribes_takes(tags: list[str]) -> None:
    try:
        sent = tags_to_send(canonical(tags, Type.SET), None)
    except InvalidValueError:
        return
    assert len(set(sent)) == len(sent)
    for tag in sent:
        levels = tag.split("/")
        assert tag == tag.lower()
        assert len(levels) <= TAG_LEVELS
        assert all(level and level == level.strip() for level in levels)


def test_without_an_id_nothing_is_sent(bench: Bench) -> None:
    assert bench.write(operation(Kind.CREATE, None, {})) == [
        Permanent("missing_required", "mtribes takes no user without id")
    ]
    assert bench.count("writes") == 0


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ({"status": 400, "body": {"message": "no"}}, Permanent, "bad_request"),
        ({"status": 413}, Permanent, "too_large"),
        ({"status": 422}, Permanent, "invalid"),
        ({"status": 401}, Unauthorised, "unauthorised"),
        ({"status": 429}, Temporary, "rate_limited"),
        ({"status": 500}, Unclear, "server_error"),
    ],
)
def test_what_a_batch_fails_by_is_said_of_each(bench: Bench, fault: dict[str, Any], kind: type, code: str) -> None:
    bench.board.fault(bench.name, **fault)
    outcomes = bench.write(create("E1"), create("E2", tags="/"), create("E3"))
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [code, "invalid_tag", code]
    assert isinstance(outcomes[0], kind)
    assert outcomes[0] == outcomes[2]
    assert bench.held() == {}


@pytest.mark.parametrize(
    ("body", "note"), [("", None), ({"errors": ["E1 odd"]}, 'mtribes accepted it and said: ["E1 odd"]')]
)
def test_any_success_counts_and_what_it_says_is_noted(bench: Bench, body: Any, note: str | None) -> None:
    bench.board.fault(bench.name, match={"method": "POST"}, status=204 if body == "" else 202, body=body)
    assert bench.write(create()) == [Done(account="E1", note=note)]


def test_repeating_an_ingest_changes_nothing(bench: Bench) -> None:
    bench.board.fault(bench.name, match={"method": "POST"}, drop="after")
    (lost,) = bench.write(create(tags="a"))
    assert isinstance(lost, Unclear)
    before = bench.held()
    assert bench.write(create(tags="a")) == [Done(account="E1")]
    assert bench.held() == before
    assert Confirms not in Mtribes.__mro__


def test_bare_objects_go_one_by_one(sandbox: SandboxServer) -> None:
    bench = Bench(sandbox, envelope=None)
    bench.board.options(bench.name, bare_object=True)
    bench.board.fault(bench.name, match={"contains": "E1"}, status=422)
    refused, done = bench.write(create("E1"), create("E2"))
    assert isinstance(refused, Permanent)
    assert done == Done(account="E2")
    assert bench.count("writes") == 2
    assert bench.target.batch_size("save") == 1


def test_the_other_form_of_the_paths(sandbox: SandboxServer) -> None:
    bench = Bench(sandbox, api_version="v2", environment="production", paths={"users": V2, "ingest": V2})
    bench.board.options(bench.name, version="v2")
    bench.target.check()
    assert bench.write(create()) == [Done(account="E1")]
    assert [account.id for account in bench.observe().accounts] == ["E1"]


def test_a_plan_writes_nothing(bench: Bench) -> None:
    with pytest.raises(ReadOnlyError):
        bench.run(lambda http: bench.target.write(http, [create()]), read_only=True)
    assert bench.count("writes") == 0


def test_probe_lists_the_spaces_to_choose_from(sandbox: SandboxServer) -> None:
    listed = f"Space 'Sandbox space' {MTRIBES_SPACE_ID} (organisation 'Sandbox')"
    right = Bench(sandbox, space_id=MTRIBES_SPACE_ID.upper())
    assert right.run(right.target.probe, read_only=True) == (
        "mtribes accepts the access token.",
        listed,
        f"targets.tribes.space_id {MTRIBES_SPACE_ID.upper()} is Space 'Sandbox space'.",
    )
    wrong = Bench(sandbox, space_id="other")
    assert wrong.run(wrong.target.probe)[1:] == (listed,)
    (sentence,) = wrong.run(wrong.target.unknown_names, read_only=True)
    assert sentence == f"targets.tribes.space_id: the token's owner sees no Space other: {listed}."
    assert right.run(right.target.unknown_names, read_only=True) == ()
    refused = Bench(sandbox, access_token="wrong")
    with pytest.raises(UnauthorisedError, match="tribes"):
        refused.run(refused.target.probe)


def test_probe_says_which_organisation_it_may_not_look_into(bench: Bench) -> None:
    bench.board.fault(bench.name, match={"path_prefix": f"/v1.0/orgs/{MTRIBES_ORG_ID}"}, status=403)
    lines = bench.run(bench.target.probe)
    assert f"The Spaces of organisation 'Sandbox' {MTRIBES_ORG_ID} cannot be listed (403)." in lines
    assert bench.run(bench.target.unknown_names) == (), "ours may be among those"


def test_probe_falls_back_to_users(bench: Bench) -> None:
    bench.board.fault(bench.name, match={"path_prefix": "/v1.0/orgs"}, times=None, status=404)
    assert "the users of space_id" in bench.run(bench.target.probe)[1]
    bench.board.options(bench.name, users_listing=404)
    with pytest.raises(TargetError, match=r"neither organisations nor users \(404\)"):
        bench.run(bench.target.probe)


def test_memberships_by_user(bench: Bench) -> None:
    bench.seed(
        {"id": "E1", "tags": ["department/sales/apac", "employment/left"]},
        {"id": "E2", "tags": ["department/sales"]},
        {"id": "E3", "tags": ["department/it"]},
    )
    assert bench.run(bench.target.lists.memberships) == {"E1": ("Former staff", "Sales"), "E2": ("Sales",)}


@pytest.mark.parametrize(("scheme", "header"), [("Bearer", f"Bearer {MTRIBES_TOKEN}"), ("", MTRIBES_TOKEN)])
def test_the_word_before_the_token_is_a_setting(scheme: str, header: str) -> None:
    assert configured(auth_scheme=scheme).headers() == {"Authorization": header}


def test_groups_and_batches() -> None:
    target = configured(batch_size=7)
    leave = operation(Kind.LEAVE, "E1", {"tags": "employment/left"})
    assert target.group(leave) != target.group(create()) == target.group(update("E1"))
    assert target.batch_size("leave") == target.batch_size("save") == 7


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"paths": {"users": "users"}}, r"targets\.tribes\.paths\.users: .*slash"),
        ({"paths": {"users": "/{space}/users"}}, r"\{space\} is unknown\. Known here: .*\{space_id\}"),
        ({"paths": {"users": "/users?x={space_id}"}}, "no query"),
        ({"paths": {"ingest": V2}}, r"\{environment\} has no value\. Set targets\.tribes\.environment"),
        ({"environment": "production"}, r"targets\.tribes\.environment is set, but"),
        ({"attributes": {**MAPPING, "tribes": "x"}}, "lets nobody write"),
        ({"attributes": {**MAPPING, "no field": "x"}}, "no such attribute"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        configured(**settings).check()


def test_any_field_may_be_mapped_and_others_tags_are_kept() -> None:
    target = configured(attributes={**MAPPING, "favourite_colour": "x"})
    target.check()
    assert target.attribute("favourite_colour").name == "favourite_colour"
    assert target.attribute("tags").merge


def test_docs_name_every_attribute_path_and_setting() -> None:
    text = DOCS.read_text(encoding="utf-8")

    def first_column(title: str) -> set[str]:
        section = text.split(f"## {title}")[1].split("\n## ")[0]
        return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))

    assert first_column("Fields") == {*Mtribes.catalogue, "<any other field>"}
    assert first_column("Endpoints") == {f"paths.{name}" for name in MtribesPaths.model_fields}
    for field in MtribesPaths.model_fields.values():
        assert f"`{field.default}`" in text
    own = set(MtribesSettings.model_fields) - {"access_token", "space_id", "kind"}
    assert {name for name in own if name in MtribesSettings.__annotations__} <= first_column("What is assumed") | {
        "dialect"
    }
    parts = {name: getattr(one.annotation, "model_fields", {}) for name, one in MtribesDialect.model_fields.items()}
    dialect = {f"{part}.{name}" for part, names in parts.items() for name in names}
    assert first_column("Another dialect") == dialect
