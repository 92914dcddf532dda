"""Tribal Habits' target against the stand-in, over real HTTP, and its pure parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError
from provisioner.model.account import Account
from provisioner.model.attributes import InvalidValueError
from provisioner.model.operation import AccountChange, Kind, Operation
from provisioner.model.outcome import Done, Permanent, Temporary, Unclear
from provisioner.sandbox import SandboxServer
from provisioner.sandbox.tribal_habits import TRIBAL_HABITS_KEY
from provisioner.targets import http as transport
from provisioner.targets.base import Ask
from provisioner.targets.responses import Answer
from provisioner.targets.tribal_habits import batch, events
from provisioner.targets.tribal_habits.attributes import CATALOGUE, read, spell
from tests.targets.bench import Bench, change, target_of
from tests.targets.documented import attributes_in

DOCS = Path(__file__).resolve().parents[2] / "docs" / "targets" / "tribal_habits.md"
SETTINGS: dict[str, Any] = {
    "api_key": TRIBAL_HABITS_KEY,
    "match": ["user_name", "email"],
    "attributes": {name: name for name in ("user_name", "first_name", "last_name", "email", "active")},
    "leaver": {"active": "FALSE"},
    "page_size": 2,
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def bench(sandbox: SandboxServer) -> Bench:
    """A fresh portal, read in pages of two."""
    return Bench(sandbox, "tribal_habits", **SETTINGS)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading gives up at the first failure, so that no test waits."""
    monkeypatch.setattr(transport, "READ_TRIES", 1)


def image(name: str, **more: str | None) -> dict[str, str | None]:
    """The wanted image of a person."""
    return {
        "user_name": name,
        "first_name": "Ann",
        "last_name": "Lee",
        "email": f"{name.lower()}@example.com",
        "active": "true",
        **more,
    }


def create(name: str, **more: str | None) -> Operation:
    """The create of a person."""
    return change(Kind.CREATE, None, image(name, **more), person=name)


def person(name: str, **more: Any) -> dict[str, Any]:
    """A user in the portal's read form."""
    return {"user_name": name, "first_name": "Ann", "last_name": "Lee", "email": f"{name.lower()}@example.com", **more}


def held(bench: Bench, name: str) -> dict[str, Any]:
    """A user as the portal holds it."""
    return next(one for one in bench.board.accounts(bench.name) if one["user_name"] == name)


def test_a_user_is_read_under_the_vendors_names_as_canonical_text(bench: Bench) -> None:
    bench.seed(
        person(
            "E1",
            active=False,
            groups="Sales; Brisbane;sales",
            role_1="Instructor",
            admin_type=3,
            current_sign_in_at="2022-06-15T09:25:25.756+10:00",
            deactivate_scheduled_date="2030-06-15T09:25:25.756+10:00",
            **{"X-Age": 27, "X-Cars": "Toyota;Honda", "X-Country": None},
        )
    )
    (account,) = bench.observe().accounts
    assert account.id == "E1"
    assert account.untouchable is None
    wanted = {
        "active": "false",
        "groups": "Brisbane;Sales",
        "role_1": "Instructor",
        "role_2": None,
        "admin_type": "3",
        "org_admin": "false",
        "current_sign_in_at": "2022-06-15T09:25:25.756+10:00",
        "X-Age": "27",
        "X-Cars": "Toyota;Honda",
        "X-Country": None,
    }
    assert {name: account.values[name] for name in wanted} == wanted


def test_a_scheduled_day_is_the_utc_day_of_the_moment_shown() -> None:
    shown = {"deactivate_scheduled_date": "2022-06-15T09:25:25.756+10:00"}
    assert read(shown) == {"deactivate_scheduled_date": "2022-06-14"}
    assert read({"deactivate_scheduled_date": "2022-06-15"}) == {"deactivate_scheduled_date": "2022-06-15"}
    with pytest.raises(InvalidValueError, match="deactivate_scheduled_date"):
        read({"deactivate_scheduled_date": "Today"})


@given(
    st.dictionaries(
        st.sampled_from([*CATALOGUE, "X-Any"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_reading_gives_text_or_an_error_that_names_the_field(record: dict[str, Any]) -> None:
    faulty = None
    values: dict[str, str | None] = {}
    try:
        values = read(record)
    except InvalidValueError as exc:
        faulty = str(exc).split()[0]
    assert faulty is None or faulty in record
    assert all(value is None or isinstance(value, str) for value in values.values())


@pytest.mark.parametrize(
    ("name", "value", "spelt"),
    [
        ("active", "false", False),
        ("groups", None, ""),
        ("role_3", None, ""),
        ("mentor_email", None, None),
        ("X-Age", "27", "27"),
        ("X-Country", None, None),
        ("groups", "Brisbane;Sales", "Brisbane;Sales"),
    ],
)
def test_values_are_spelt_as_the_page_prints_them(name: str, value: str | None, spelt: object) -> None:
    assert spell(name, value) == spelt


def test_every_page_is_read_whatever_size_is_granted(bench: Bench) -> None:
    bench.seed(*(person(f"E{number}") for number in range(7)))
    bench.board.options(bench.name, page_cap=3)
    bench.target = target_of("tribal_habits", bench.target.origin, **{**SETTINGS, "page_size": 1000})
    assert {account.id for account in bench.observe().accounts} == {f"E{number}" for number in range(7)}
    assert bench.requests == 3


def test_an_empty_portal_is_a_complete_listing(bench: Bench) -> None:
    listing = bench.observe()
    assert listing.complete
    assert not listing.accounts


@pytest.mark.parametrize(
    "lie",
    [
        {"total_records": 6, "max_per_page": 2, "current_page": 1, "total_pages": 3},
        {"total_records": 5, "max_per_page": 2, "current_page": 1, "total_pages": 2},
        {"total_records": 5, "max_per_page": 2, "current_page": 2, "total_pages": 3},
        {"total_records": 5, "max_per_page": 3, "current_page": 1, "total_pages": 2},
    ],
)
def test_a_listing_that_contradicts_itself_is_read_again_and_then_not_believed(
    bench: Bench, lie: dict[str, int]
) -> None:
    bench.seed(*(person(f"E{number}") for number in range(5)))
    body = {**lie, "records": [person("E0"), person("E1")]}
    bench.fault(match={"method": "GET"}, status=200, body=body, times=1)
    assert len(bench.observe().accounts) == 5
    bench.fault(match={"method": "GET"}, status=200, body=body, times=None)
    with pytest.raises(ListingError, match="3 readings"):
        bench.observe()


def test_somebody_seen_twice_means_that_somebody_was_missed(bench: Bench) -> None:
    body = {"total_records": 2, "max_per_page": 2, "current_page": 1, "total_pages": 1}
    bench.fault(match={"method": "GET"}, status=200, body={**body, "records": [person("E1")] * 2}, times=None)
    with pytest.raises(ListingError, match="user_name"):
        bench.observe()


@pytest.mark.parametrize("record", [{"user_name": None}, {"user_name": "E1", "active": "perhaps"}, {}])
def test_a_record_that_is_no_user_is_malformed(bench: Bench, record: dict[str, Any]) -> None:
    body = {"total_records": 1, "max_per_page": 2, "current_page": 1, "total_pages": 1, "records": [record]}
    bench.fault(match={"method": "GET"}, status=200, body=body)
    with pytest.raises(MalformedAnswerError):
        bench.observe()


def test_many_people_share_one_request(bench: Bench) -> None:
    bench.seed(person("E2"), person("E3"))
    outcomes = bench.write(
        create("E1", groups="Brisbane;Sales"),
        change(Kind.UPDATE, "E2", {"last_name": "Ito"}),
        change(Kind.ROLE, "E3", {"role_1": "Manager", "org_admin": "true"}),
    )
    assert [outcome.account for outcome in outcomes if isinstance(outcome, Done)] == ["E1", "E2", "E3"]
    assert bench.requests == 1
    assert held(bench, "E1")["groups"] == "Brisbane;Sales"
    assert held(bench, "E2")["last_name"] == "Ito"
    assert held(bench, "E3")["org_admin"] is True


def test_an_update_sends_what_changes_and_nothing_else(bench: Bench) -> None:
    bench.seed(person("E1", mentor_email="m@example.com", groups="Sales", **{"X-Country": "Chad"}))
    cleared = {"mentor_email": None, "groups": None, "X-Country": None}
    (outcome,) = bench.write(change(Kind.UPDATE, "E1", cleared, wanted={**image("E1", last_name="Other"), **cleared}))
    assert isinstance(outcome, Done)
    assert held(bench, "E1")["last_name"] == "Lee"
    assert (held(bench, "E1")["mentor_email"], held(bench, "E1")["groups"], held(bench, "E1")["X-Country"]) == (
        None,
        "",
        None,
    )


def test_what_only_an_update_takes_is_left_to_the_next_plan(bench: Bench) -> None:
    operation = create("E1", learner_report_frequency="every_day", user_notifications_enabled="false")
    (outcome,) = bench.write(operation)
    assert outcome == Done(account="E1", learnt={"learner_report_frequency": None, "user_notifications_enabled": None})
    later = {"learner_report_frequency": "every_day", "user_notifications_enabled": "false"}
    assert bench.write(change(Kind.UPDATE, "E1", later)) == [Done(account="E1")]
    assert held(bench, "E1")["learner_report_frequency"] == "every_day"


def test_what_cannot_succeed_is_not_sent(bench: Bench) -> None:
    outcomes = bench.write(
        create("E1", email=None),
        change(Kind.UPDATE, None, {"last_name": "Ito"}),
        change(Kind.UPDATE, "E1", {"active": None}),
    )
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Permanent)] == [
        "incomplete",
        "no_account",
        "cannot_be_empty",
    ]
    assert bench.requests == 0


def test_a_user_name_is_matched_to_its_row_in_any_case(bench: Bench) -> None:
    # The second time it is sent with its required fields only
    for created in (1, 0):
        bench.fault(
            match={"method": "POST"},
            status=200,
            body={
                "created": created,
                "updated": 0,
                "unchanged": 0,
                "errors": 1,
                "error_list": [{"user_name": "e2", "error_reason": "Email is invalid"}],
            },
        )
    first, second = bench.write(create("E1"), create("E2"))
    assert isinstance(first, Done)
    assert second == Permanent("row_refused", "Tribal Habits refused the row: Email is invalid")


def answered(body: object) -> list[str]:
    """The codes of two rows' outcomes after an answer."""
    operations = [one for one in (create("E1"), create("E2")) if isinstance(one, AccountChange)]
    rows = [{"user_name": "E1"}, {"user_name": "E2"}]
    outcomes = batch.outcomes(operations, rows, Answer(200, {}, body))
    return [outcome.code if isinstance(outcome, (Permanent, Unclear)) else "done" for outcome in outcomes]


def counts(created: int, *errors: object, **more: object) -> dict[str, object]:
    """An answer of batch_save."""
    body = {"created": created, "updated": 0, "unchanged": 0, "errors": len(errors), "error_list": list(errors)}
    return {**body, **more}


def test_an_answer_that_does_not_account_for_every_row_is_unclear() -> None:
    assert answered(counts(2)) == ["done", "done"]
    assert answered(counts(1, unchanged=1)) == ["done", "done"]
    assert answered(counts(1)) == ["rows_unaccounted"] * 2
    assert answered(counts(3)) == ["rows_unaccounted"] * 2
    assert answered(counts(2, {"user_name": "E2", "error_reason": "?"})) == ["rows_unaccounted", "row_refused"]
    assert answered(counts(1, {"user_name": "X", "error_reason": "?"})) == ["unknown_row"] * 2
    assert answered(counts(1, {"error_reason": "?"})) == ["unknown_row"] * 2
    assert answered(counts(2, errors=1)) == ["rows_unaccounted"] * 2
    assert answered(counts(True)) == ["rows_unaccounted"] * 2
    assert answered([]) == ["malformed_answer"] * 2
    assert answered(counts(1, {"user_name": "E1"})) == ["row_refused", "done"]


def test_a_request_refused_as_a_whole_says_so_of_every_row(bench: Bench) -> None:
    bench.board.options(bench.name, batch_cap=1)
    first, second = bench.write(create("E1"), create("E2"))
    assert first == second
    assert isinstance(first, Permanent)
    assert first.code == "invalid"


def test_rows_refused_here_do_not_hide_that_the_rest_was_refused_as_a_whole(bench: Bench) -> None:
    bench.board.options(bench.name, batch_cap=1)
    bad, first, second = bench.write(create("E1", email=None), create("E2"), create("E3"))
    assert isinstance(bad, Permanent)
    assert isinstance(first, Temporary)
    assert first == second


@pytest.mark.parametrize(("setting", "invited"), [("none", []), ("new", ["E1"]), ("all", ["E1", "E2"])])
def test_invitations_go_to_whom_the_settings_say_and_never_to_leavers(
    bench: Bench, setting: str, invited: list[str]
) -> None:
    bench.target = target_of("tribal_habits", bench.target.origin, **{**SETTINGS, "invitations": setting})
    bench.seed(person("E2"), person("E3"))
    bench.write(create("E1"), change(Kind.UPDATE, "E2", {"last_name": "Ito"}))
    bench.write(change(Kind.LEAVE, "E3", {"active": "false"}))
    assert [one["user_name"] for one in bench.board.state(bench.name)["invitations"]] == invited


def test_a_refused_leaver_who_still_exists_stays_refused(bench: Bench) -> None:
    bench.seed(person("E1"))
    gone, refused = bench.write(
        change(Kind.LEAVE, "E9", {"active": "false"}),
        change(Kind.LEAVE, "E1", {"active": "false", "type": "Nobody"}),
    )
    assert gone == Done(account="E9", note="the account no longer existed")
    assert isinstance(refused, Permanent)


def test_an_unclear_row_is_looked_up_only_where_it_mails_again(bench: Bench) -> None:
    bench.write(create("E1"))
    assert bench.confirm(create("E1")) is None
    assert bench.requests == 0
    bench.target = target_of("tribal_habits", bench.target.origin, **{**SETTINGS, "invitations": "all"})
    assert isinstance(bench.confirm(create("E1")), Done)
    assert bench.confirm(create("E2")) is None
    assert bench.confirm(change(Kind.UPDATE, "E1", {"last_name": "Ito"})) is None
    assert isinstance(bench.confirm(change(Kind.UPDATE, "E1", {"last_name": "Lee"})), Done)


def enrol(code: str, due: str | None = None, name: str = "E1") -> Operation:
    """One enrolment."""
    return change(Kind.ENROL, name, {"enrolment_code": code, "due_date": due}, slot=f"enrol:{code}")


def test_one_persons_enrolments_share_a_request(bench: Bench) -> None:
    bench.seed(person("E1"))
    operations = [enrol("TH-4-77-NEW", "2030-02-03"), enrol("THP-4-22-NEW")]
    assert bench.target.group(operations[0]) == bench.target.group(operations[1])
    assert bench.target.group(operations[0]) != bench.target.group(enrol("TH-4-77-NEW", name="E2"))
    assert bench.target.batch_size(bench.target.group(operations[0])) == 5
    assert bench.write(*operations) == [Done(account="E1")] * 2
    assert bench.requests == 1
    assert bench.board.state(bench.name)["enrolments"] == [
        {"user_name": "E1", "code": "TH-4-77-NEW", "due_date": "2030-02-03"},
        {"user_name": "E1", "code": "THP-4-22-NEW", "due_date": None},
    ]


def test_a_refused_code_stands_for_all_of_its_request(bench: Bench) -> None:
    bench.seed(person("E1"))
    together = bench.write(enrol("TH-4-77-NEW"), enrol("TH-4-999-NEW"))
    assert all(isinstance(outcome, Permanent) and outcome.code == "invalid" for outcome in together)
    assert isinstance(bench.write(enrol("TH-4-77-NEW"))[0], Done)
    assert isinstance(bench.write(enrol("TH-4-999-NEW"))[0], Permanent)


@pytest.mark.parametrize("code", ["TH-4-77-NEW", "THP-4-22-NEW"])
def test_an_unclear_enrolment_is_looked_up(bench: Bench, code: str) -> None:
    bench.seed(person("E1"))
    assert bench.confirm(enrol(code)) is None
    bench.fault(match={"method": "POST"}, drop="after")
    assert isinstance(bench.write(enrol(code))[0], Unclear)
    assert isinstance(bench.confirm(enrol(code)), Done)
    assert bench.confirm(enrol("TH-4-16-NEW")) is None
    assert bench.confirm(enrol("TH-4-999-NEW")) is None
    assert bench.confirm(enrol(code, name="E9")) is None


def test_people_are_found_by_their_account_or_user_name(bench: Bench) -> None:
    bench.seed(person("E1"), person("a/b?ü .x"), person("..", email="dots@example.com"))
    for name in ("E1", "a/b?ü .x", ".."):
        found = bench.find(Ask("p", None, {"user_name": name, "email": None}))
        assert found is not None
        assert [account.id for account in found.accounts] == [name]
        assert not found.complete
    linked = bench.find(Ask("p", "E1", {"user_name": "E7", "email": "x@example.com"}))
    assert linked is not None
    assert [account.id for account in linked.accounts] == ["E1"]
    nobody = bench.find(Ask("p", "E8", {"user_name": "E8"}))
    assert nobody is not None
    assert not nobody.accounts


def test_only_a_listing_finds_somebody_by_email(bench: Bench) -> None:
    bench.seed(person("E1"))
    assert bench.find(Ask("p", None, {"user_name": "E9", "email": "e1@example.com"})) is None
    assert bench.find(Ask("p", None, {"email": "e1@example.com", "user_name": "E1"})) is None


def test_the_probe_tells_of_custom_fields_that_the_portal_lacks(bench: Bench) -> None:
    bench.seed(person("E1"))
    mapped = {**SETTINGS["attributes"], "X-Country": "country", "X-Planet": "planet"}
    bench.target = target_of("tribal_habits", bench.target.origin, **{**SETTINGS, "attributes": mapped})
    assert bench.probe() == ("1 users can be read.",)
    (sentence,) = bench.run(bench.target.unknown_names, read_only=True)
    assert "X-Planet" in sentence


@pytest.mark.parametrize(
    "part",
    [
        {"attributes": {**SETTINGS["attributes"], "shoe_size": "1"}},
        {"attributes": {**SETTINGS["attributes"], "X-": "1"}},
        {"attributes": {**SETTINGS["attributes"], "active": {"from": "a", "empty": "clear"}}},
        {"attributes": {**SETTINGS["attributes"], "created_at": "now"}},
        {"leaver": {"user_name": "'x'"}},
        {"leaver": {"team_leader": "FALSE"}},
    ],
)
def test_settings_that_the_vendor_cannot_satisfy_are_refused(part: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        target_of("tribal_habits", **{**SETTINGS, **part}).check()


def test_events_are_not_taken(bench: Bench) -> None:
    assert isinstance(bench.write(change(Kind.EVENT, "E1", {"name": "x"}))[0], Permanent)


def test_known_accounts_change_nothing_about_a_listing(bench: Bench) -> None:
    bench.seed(person("E1"))
    assert bench.observe({"E9": Account("E9", {})}).accounts == bench.observe().accounts


def test_the_documentation_says_of_every_attribute_where_it_is_taken() -> None:
    expected = {
        attribute.name: (attribute.on_create, attribute.on_update, attribute.observed)
        for attribute in CATALOGUE.values()
    }
    assert attributes_in(DOCS) == {**expected, "X-…": (True, True, True)}


def test_a_user_name_with_a_dot_is_not_gone_because_its_path_finds_nobody(bench: Bench) -> None:
    done = bench.write(create("j.doe"))
    assert [type(one) for one in done] == [Done]
    bench.board.options(bench.name, dots_cut=True)
    found = bench.find(Ask("E1", "j.doe"), Ask("E2", "k.doe"))
    assert found is not None
    assert [account.id for account in found.accounts] == ["j.doe"]
    refused = {"errors": 1, "error_list": [{"user_name": "j.doe", "error_reason": "odd"}]}
    bench.fault(match={"method": "POST"}, status=200, body={"created": 0, "updated": 0, "unchanged": 0, **refused})
    (outcome,) = bench.write(change(Kind.LEAVE, "j.doe", {"active": "false"}))
    assert outcome == Permanent("row_refused", "Tribal Habits refused the row: odd")


@pytest.mark.parametrize(("by", "own"), [("PAPI", True), ("papi ", True), ("Ann Papineau", False), ("", False)])
def test_only_an_enrolment_by_the_api_is_our_own(by: str, own: bool) -> None:
    data = {"user_name": "E1", "email": "e1@example.com", "enrolled_by": by, "knowledge_type": "Topic"}
    body = {"event": "enrolment_created", "enrolment_id": 7, "enrolment_data": {**data, "knowledge_id": 1}}
    assert events.event("t", body).own is own
