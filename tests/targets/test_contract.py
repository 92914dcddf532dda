"""What every kind of target promises, checked alike against each stand-in.

A new kind takes part by one more `Case` in `CASES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from provisioner.errors import TargetError, UnauthorisedError, UnreachableError
from provisioner.model.attributes import fold
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.runtime.context import spec_of
from provisioner.sandbox import MTRIBES_SPACE_ID, MTRIBES_TOKEN, TRAITLY_TOKEN, SandboxServer
from provisioner.sandbox.habitate import HABITATE_KEY
from provisioner.sandbox.tribal_habits import TRIBAL_HABITS_KEY
from provisioner.settings import known_kinds
from provisioner.targets import http as transport
from provisioner.targets.base import Ask
from tests.targets.bench import Bench, change, target_of


@dataclass(frozen=True)
class Case:
    """How one kind is tried.

    `wanted` is the image of the n-th person (`{n}`), `moved`, `left` and `back` what a change, a leave and a rejoin
    bring; `bad` makes a create impossible; `wrong_key` are settings that the vendor refuses; `known_gone` says that
    the vendor tells of an account that is no longer there.
    """

    kind: str
    settings: Mapping[str, Any]
    wanted: Mapping[str, str]
    moved: Mapping[str, str]
    left: Mapping[str, str | None]
    back: Mapping[str, str | None]
    bad: Mapping[str, str | None]
    wrong_key: Mapping[str, Any]
    known_gone: bool = True

    def image(self, number: int) -> dict[str, str | None]:
        """The wanted image of a person."""
        return {name: text.replace("{n}", str(number)) for name, text in self.wanted.items()}

    def create(self, number: int, **more: str | None) -> Operation:
        """The create of a person."""
        image = {**self.image(number), **more}
        return change(Kind.CREATE, None, image, person=f"E{number}")


CASES = {
    case.kind: case
    for case in (
        Case(
            "tribal_habits",
            {
                "api_key": TRIBAL_HABITS_KEY,
                "match": ["user_name", "email"],
                "attributes": {
                    name: name
                    for name in ("user_name", "first_name", "last_name", "email", "active", "role_1", "groups")
                },
                "leaver": {"active": "FALSE"},
                "page_size": 3,
            },
            wanted={
                "user_name": "E{n}",
                "first_name": "Zoë",
                "last_name": "O'Hara-{n}",
                "email": "p{n}@example.com",
                "active": "true",
                "role_1": "Learner",
                "groups": "Brisbane;Sales",
            },
            moved={"last_name": "Ito", "groups": "Perth"},
            left={"active": "false"},
            back={"active": "true"},
            bad={"email": "nothing"},
            wrong_key={"api_key": "wrong"},
        ),
        Case(
            "habitate",
            {
                "api_key": HABITATE_KEY,
                "match": ["username", "email"],
                "attributes": {
                    name: name for name in ("email", "first_name", "last_name", "username", "role", "boards")
                },
                "leaver": {"role": "'Guest'", "boards": {"from": "NULL", "empty": "clear"}},
            },
            wanted={
                "email": "p{n}@example.com",
                "first_name": "Zoë",
                "last_name": "O'Hara-{n}",
                "username": "e{n}",
                "role": "Member",
                "boards": "Sales",
            },
            moved={"last_name": "Ito"},
            left={"role": "Guest", "boards": None},
            back={"role": "Member", "boards": "Sales"},
            bad={"username": "no good"},
            wrong_key={"api_key": "wrong"},
        ),
        Case(
            "traitly",
            {
                "token": TRAITLY_TOKEN,
                "match": ["customer_id"],
                "attributes": {name: name for name in ("customer_id", "name", "email", "plan")},
                "leaver": {"plan": "'Leaver'"},
            },
            wanted={"customer_id": "E{n}", "name": "Zoë {n}", "email": "p{n}@example.com", "plan": "Employee"},
            moved={"name": "Zoë Ito"},
            left={"plan": "Leaver"},
            back={"plan": "Employee"},
            bad={"plan": None},
            wrong_key={"token": "wrong"},
            known_gone=False,
        ),
        Case(
            "mtribes",
            {
                "access_token": MTRIBES_TOKEN,
                "space_id": MTRIBES_SPACE_ID,
                "match": ["id"],
                "attributes": {name: name for name in ("id", "name", "email", "tags")},
                "leaver": {"tags": "'employment/left'"},
            },
            wanted={"id": "E{n}", "name": "Zoë {n}", "email": "p{n}@example.com", "tags": "department/sales"},
            moved={"name": "Zoë Ito"},
            left={"tags": "employment/left"},
            back={"tags": "department/sales"},
            bad={"id": None},
            wrong_key={"access_token": "wrong"},
            known_gone=False,
        ),
    )
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Each kind in turn."""
    return CASES[request.param]


@pytest.fixture
def bench(sandbox: SandboxServer, case: Case) -> Bench:
    """A fresh instance of the kind."""
    return Bench(sandbox, case.kind, **case.settings)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading gives up at the first failure, so that no test waits."""
    monkeypatch.setattr(transport, "READ_TRIES", 1)


def shown(bench: Bench, account: str, image: Mapping[str, str | None]) -> dict[str, str | None]:
    """What an account shows of an image, folded."""
    held = bench.accounts()[account].values
    return {name: fold(held.get(name), bench.target.attribute(name).type) for name in image if observable(bench, name)}


def expected(bench: Bench, image: Mapping[str, str | None]) -> dict[str, str | None]:
    """What should be shown of an image, folded."""
    return {
        name: fold(value, bench.target.attribute(name).type) for name, value in image.items() if observable(bench, name)
    }


def observable(bench: Bench, name: str) -> bool:
    """Whether the vendor shows an attribute at all."""
    return bool(bench.target.attribute(name).observed)


def created(bench: Bench, case: Case, *numbers: int) -> list[str]:
    """Create people and answer their accounts."""
    outcomes = sent(bench, [case.create(number) for number in numbers])
    assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
    return [outcome.account for outcome in outcomes if isinstance(outcome, Done) and outcome.account]


def sent(bench: Bench, operations: Sequence[Operation]) -> list[Outcome]:
    """Apply operations in calls of the size that the target takes."""
    size = bench.target.batch_size(bench.target.group(operations[0]))
    calls = [operations[start : start + size] for start in range(0, len(operations), size)]
    return [outcome for call in calls for outcome in bench.write(*call)]


def carried(bench: Bench, account: str) -> dict[str, str | None]:
    """What a plan would carry along of an account."""
    values = bench.accounts()[account].values
    return {name: values[name] for name in spec_of(bench.target).carried if values.get(name)}


def touched(
    bench: Bench, case: Case, kind: Kind, number: int, account: str, after: Mapping[str, str | None]
) -> Outcome:
    """Apply one change as a plan would hand it over."""
    wanted = {**case.image(number), **after}
    operation = change(kind, account, after, wanted=wanted, before=case.image(number), observed=carried(bench, account))
    (outcome,) = bench.write(operation)
    return outcome


def test_every_kind_takes_part() -> None:
    assert set(CASES) == set(known_kinds())


def test_settings_pass_the_check(bench: Bench) -> None:
    bench.target.check()


def test_probe_answers_in_sentences(bench: Bench) -> None:
    assert all(sentence.strip() for sentence in bench.probe())
    assert bench.writes == 0


def test_create_is_observed_and_a_whole_listing_is_shown(bench: Bench, case: Case) -> None:
    accounts = created(bench, case, 1, 2, 3, 4, 5)
    assert len(set(accounts)) == 5
    listing = bench.observe()
    assert listing.complete
    assert set(accounts) <= {account.id for account in listing.accounts}
    for number, account in enumerate(accounts, start=1):
        assert shown(bench, account, case.image(number)) == expected(bench, case.image(number))


def test_the_same_change_again_alters_nothing(bench: Bench, case: Case) -> None:
    (account,) = created(bench, case, 1)
    assert isinstance(touched(bench, case, Kind.UPDATE, 1, account, case.moved), Done)
    before = _state(bench)
    assert isinstance(touched(bench, case, Kind.UPDATE, 1, account, case.moved), Done)
    assert _state(bench) == before
    assert shown(bench, account, case.moved) == expected(bench, case.moved)


def _state(bench: Bench) -> list[dict[str, Any]]:
    volatile = {"updated_at", "last_modified_at"}
    return [
        {name: value for name, value in account.items() if name not in volatile}
        for account in bench.board.accounts(bench.name)
    ]


def test_leave_and_rejoin(bench: Bench, case: Case) -> None:
    (account,) = created(bench, case, 1)
    for kind, after in ((Kind.LEAVE, case.left), (Kind.REJOIN, case.back)):
        assert isinstance(touched(bench, case, kind, 1, account, after), Done)
        assert shown(bench, account, after) == expected(bench, after)


def test_leavers_have_a_group_of_their_own(bench: Bench, case: Case) -> None:
    leave = change(Kind.LEAVE, "E1", case.left)
    others = [case.create(1), change(Kind.UPDATE, "E1", case.moved), change(Kind.REJOIN, "E1", case.back)]
    assert bench.target.group(leave) not in {bench.target.group(other) for other in others}
    assert bench.target.batch_size(bench.target.group(leave)) >= 1


def test_one_bad_row_stands_alone(bench: Bench, case: Case) -> None:
    good, bad, other = sent(bench, [case.create(1), case.create(2, **case.bad), case.create(3)])
    assert isinstance(good, Done)
    assert isinstance(other, Done)
    assert isinstance(bad, Permanent)
    assert bad.message


@pytest.mark.parametrize("case", sorted(kind for kind, case in CASES.items() if case.known_gone), indirect=True)
def test_someone_already_gone_has_left(bench: Bench, case: Case) -> None:
    (account,) = created(bench, case, 1)
    leave = change(Kind.LEAVE, account, case.left, wanted={**case.image(1), **case.left}, before=case.image(1))
    bench.board.remove(bench.name, account)
    (outcome,) = bench.write(leave)
    assert isinstance(outcome, Done)
    assert outcome.note


def test_finding_a_linked_account_shows_it_as_a_listing_does(bench: Bench, case: Case) -> None:
    first, _ = created(bench, case, 1, 2)
    found = bench.find(Ask("E1", first))
    assert found is None or ([one.id for one in found.accounts] == [first] and not found.complete)


def test_wrong_credentials_are_told_as_such(sandbox: SandboxServer, case: Case) -> None:
    bench = Bench(sandbox, case.kind, **{**case.settings, **case.wrong_key})
    with pytest.raises(UnauthorisedError):
        bench.observe()
    with pytest.raises(UnauthorisedError):
        bench.probe()
    assert all(isinstance(outcome, Unauthorised) for outcome in bench.write(case.create(1)))


def test_nobody_there_is_unreachable(case: Case, sandbox: SandboxServer) -> None:
    bench = Bench(sandbox, case.kind, **case.settings)
    bench.target = target_of(case.kind, **case.settings)
    with pytest.raises(UnreachableError):
        bench.observe()
    (outcome,) = bench.write(case.create(1))
    assert isinstance(outcome, Temporary)
    assert outcome.unreached


_LIES = [
    pytest.param({"status": 200, "body": ""}, id="empty"),
    pytest.param({"status": 200, "body": "<html>Maintenance</html>", "content_type": "text/html"}, id="html"),
    pytest.param({"status": 200, "body": '{"records": [{"user_na'}, id="truncated"),
    pytest.param({"status": 200, "body": "[[1, 2], null]"}, id="wrong_types"),
    pytest.param({"status": 200, "body": "17"}, id="number"),
    pytest.param({"status": 200, "body": '{"data": 1, "users": "x", "records": 3}'}, id="wrong_shapes"),
    pytest.param({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, id="redirect"),
    pytest.param({"status": 500, "body": "{}"}, id="broken"),
    pytest.param({"drop": "after"}, id="dropped"),
]


@pytest.mark.parametrize("lie", _LIES)
def test_a_listing_that_is_none_is_an_error(bench: Bench, case: Case, lie: dict[str, Any]) -> None:
    created(bench, case, 1)
    bench.fault(match={"method": "GET"}, times=None, **lie)
    with pytest.raises(TargetError) as caught:
        bench.observe()
    assert caught.value.target == "t"


@pytest.mark.parametrize("lie", _LIES)
@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE, Kind.LEAVE])
def test_an_answer_to_a_write_that_is_none_is_classified(
    bench: Bench, case: Case, lie: dict[str, Any], kind: Kind
) -> None:
    (account,) = created(bench, case, 1)
    operation = case.create(2)
    if kind is not Kind.CREATE:
        after = case.moved if kind is Kind.UPDATE else case.left
        operation = change(kind, account, after, wanted={**case.image(1), **after}, before=case.image(1))
    for method in ("POST", "PUT", "PATCH"):
        bench.fault(match={"method": method}, times=None, **lie)
    (outcome,) = bench.write(operation)
    assert isinstance(outcome, (Done, Permanent, Temporary, Unclear))
    if lie.get("status") != 200:
        assert not isinstance(outcome, Done)


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_what_was_not_carried_out_is_temporary(bench: Bench, case: Case, status: int) -> None:
    bench.fault(match={"method": "POST"}, status=status, headers={"Retry-After": "7"}, body="{}")
    (outcome,) = bench.write(case.create(1))
    assert isinstance(outcome, Temporary)
    assert outcome.limited == (status == 429)
    assert outcome.delay in (7.0, None)
