"""Tribal Habits: enrolments in a row, external knowledge, the catalogue, and what changed since a moment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError
from provisioner.model.operation import AccountChange, Enrolment, Kind, Operation, PlannedState
from provisioner.model.outcome import Done, Permanent, Unclear
from provisioner.planning.bundling import riding, without
from provisioner.planning.spec import TargetSpec
from provisioner.sandbox import SandboxServer
from provisioner.targets import http as transport
from provisioner.targets.responses import Answer
from provisioner.targets.tribal_habits import batch, knowledge, pages
from provisioner.targets.tribal_habits.catalogue import own_code, what_is, word
from tests.targets.bench import Bench, change, target_of
from tests.targets.test_tribal_habits import DOCS, SETTINGS, create, enrol, held, person

NEW: dict[str, str | None] = {"enrolment_code": "TH-4-77-NEW", "due_date": "2030-02-03"}
PATHWAY: dict[str, str | None] = {"enrolment_code": "THP-4-22-NEW", "due_date": None}
LICENCE: dict[str, str | None] = {
    "knowledge_type": "4",
    "title": "Forklift",
    "provider": "WorkSafe",
    "date_obtained": "2024-06-01",
}
HTTP = "/papi/external_knowledges"


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


def carrying(operation: Operation, *enrolments: dict[str, str | None]) -> AccountChange:
    """An operation in whose row enrolments travel."""
    assert isinstance(operation, AccountChange)
    return structs.replace(operation, carries=enrolments)


def codes(bench: Bench) -> list[tuple[str, str]]:
    """Every enrolment that was asked for."""
    return [(one["user_name"], one["code"]) for one in bench.board.state(bench.name)["enrolments"]]


def test_enrolments_travel_in_the_row() -> None:
    row = batch.row(carrying(change(Kind.UPDATE, "E1", {"last_name": "Ito"}), NEW, PATHWAY))
    assert row == {
        "user_name": "E1",
        "last_name": "Ito",
        "enrolment_code_1": "TH-4-77-NEW",
        "enrolment_code_1_due_date": "03/02/2030",
        "enrolment_code_2": "THP-4-22-NEW",
    }


def test_a_row_refused_for_a_code_is_saved_without_it(bench: Bench) -> None:
    unknown: dict[str, str | None] = {"enrolment_code": "TH-4-999-NEW", "due_date": None}
    first, second = bench.write(carrying(create("E1"), NEW, unknown), carrying(create("E2"), NEW))
    assert first == Done(account="E1", carried=False)
    assert second == Done(account="E2")
    assert bench.requests == 2
    assert codes(bench) == [("E2", "TH-4-77-NEW")]
    assert held(bench, "E1")["last_name"] == "Lee"


def test_a_row_refused_for_itself_stays_refused(bench: Bench) -> None:
    (outcome,) = bench.write(carrying(create("E1", type="Nobody"), NEW))
    assert isinstance(outcome, Permanent)
    assert codes(bench) == []


def test_a_single_row_refused_as_a_whole_is_tried_without_enrolments(bench: Bench) -> None:
    bench.fault(match={"method": "POST"}, status=422, body={"error": "no"}, times=1)
    assert bench.write(carrying(create("E1"), NEW)) == [Done(account="E1", carried=False)]


@pytest.mark.parametrize(("count", "carried"), [(1, True), (0, False), (None, False), ("1", False), (True, False)])
def test_a_count_of_none_means_that_rows_carry_no_enrolments(count: object, carried: bool) -> None:
    body = {"created": 1, "updated": 0, "unchanged": 0, "enrolled": count, "errors": 0, "error_list": []}
    with_it, bare = carrying(create("E1"), NEW), carrying(create("E1"))
    assert batch.outcomes([with_it], [{"user_name": "E1"}], Answer(200, {}, body)) == [Done("E1", carried=carried)]
    assert batch.outcomes([bare], [{"user_name": "E1"}], Answer(200, {}, body)) == [Done("E1")]


def test_an_unclear_row_with_enrolments_is_looked_up(bench: Bench) -> None:
    operation = carrying(create("E1"), NEW, PATHWAY)
    assert bench.confirm(operation) is None
    bench.write(create("E1"))
    assert bench.confirm(operation) is None
    bench.write(enrol("TH-4-77-NEW"))
    assert isinstance(bench.confirm(operation), Done)
    assert codes(bench) == [("E1", "TH-4-77-NEW"), ("E1", "THP-4-22-NEW")]
    assert isinstance(bench.confirm(operation), Done)
    assert bench.writes == 0


def test_a_row_that_cannot_be_compared_is_sent_again_without_its_enrolments(bench: Bench) -> None:
    operation = carrying(create("E1"), NEW)
    bench.write(operation)
    # Somebody changed the name meanwhile, so nothing but the enrolment tells that the row was taken
    bench.write(change(Kind.UPDATE, "E1", {"last_name": "Ito"}))
    assert isinstance(bench.confirm(operation), Done)
    assert held(bench, "E1")["last_name"] == "Lee"
    assert codes(bench) == [("E1", "TH-4-77-NEW")]


def test_what_the_portal_shows_is_there_already(bench: Bench) -> None:
    bench.seed(person("E1"), person("E2"))
    bench.write(enrol("TH-4-77-NEW"))
    asked = [
        structs.replace(enrol("TH-4-77-NEW"), id="there"),
        structs.replace(enrol("TH-4-77-DROP"), id="another word"),
        structs.replace(enrol("TH-4-16-NEW"), id="another item"),
        structs.replace(enrol("TH-4-999-NEW"), id="no item"),
        structs.replace(enrol("TH-4-77-NEW", name="E2"), id="another person"),
        structs.replace(enrol("TH-4-77-NEW", name="E9"), id="nobody"),
    ]
    assert bench.run(lambda http: bench.target.existing_enrolments(http, asked), read_only=True) == {"there"}


def test_what_was_found_in_the_catalogue_is_not_read_again(bench: Bench) -> None:
    bench.seed(person("E1"))
    for _ in range(2):
        bench.run(lambda http: bench.target.existing_enrolments(http, [enrol("TH-4-77-NEW")]))
    assert [path for path in bench.sent() if path.endswith("/topics")] == ["GET /papi/topics"]


@pytest.mark.parametrize(
    ("code", "own", "said", "what"),
    [("TH-4-77-NEW", "TH-4-77", "NEW", "topic"), ("thp-4-22-new", "thp-4-22", "NEW", "pathway")],
)
def test_a_code_is_the_items_own_and_a_word(code: str, own: str, said: str, what: str) -> None:
    assert (own_code(code), word(code), what_is(code)) == (own, said, what)


def test_the_probe_names_codes_that_mean_nothing(bench: Bench) -> None:
    rules = [{"code": code} for code in ("TH-4-77-NEW", "TH-4-79-NEW", "THP-4-23-NEW")]
    bench.target = target_of("tribal_habits", bench.target.origin, **{**SETTINGS, "enrolments": rules})
    topic, pathway = bench.run(bench.target.unknown_names, read_only=True)
    assert topic == "The portal has no topic for the enrolment code TH-4-79-NEW (did you mean 'TH-4-78-NEW'?)."
    assert pathway == "The portal has no pathway for the enrolment code THP-4-23-NEW (did you mean 'THP-4-22-NEW'?)."


def record(after: dict[str, str | None], **more: Any) -> Operation:
    """One record of external knowledge."""
    return change(Kind.ENROL, "E1", after, slot="knowledge:1", **more)


def test_knowledge_is_spelt_as_the_page_prints_it(bench: Bench) -> None:
    more = {"expires": "2029-05-31", "total_time": "90", "assessment_score": "1.2", "category_1_points": "3"}
    assert knowledge.body("E1", {**LICENCE, **more, "notes": None}) == {
        "user_name": "E1",
        **LICENCE,
        "date_obtained": "01/06/2024",
        "expires": "31/05/2029",
        "total_time": 90,
        "assessment_score": 1.2,
        "category_1_points": 3,
    }
    bench.seed(person("E1"))
    assert bench.write(record({**LICENCE, **more})) == [Done(account="E1")]


@pytest.mark.parametrize("after", [{**LICENCE, "knowledge_type": "6"}, {**LICENCE, "country_obtained": "Australia"}])
def test_knowledge_that_is_wrong_is_refused(bench: Bench, after: dict[str, str | None]) -> None:
    bench.seed(person("E1"))
    (outcome,) = bench.write(record(after))
    assert isinstance(outcome, Permanent)


def test_each_record_goes_by_itself(bench: Bench) -> None:
    first, second = record(LICENCE), structs.replace(record(LICENCE), slot="knowledge:2")
    assert len({bench.target.group(one) for one in (first, second, enrol("TH-4-77-NEW"))}) == 3


def test_unclear_knowledge_is_sent_again_only_if_nothing_like_it_appeared(bench: Bench) -> None:
    bench.seed(person("E1"))
    operation = record(LICENCE)
    assert bench.confirm(operation) is None
    bench.fault(match={"path_prefix": HTTP, "method": "POST"}, drop="after")
    assert isinstance(bench.write(operation)[0], Unclear)
    outcome = bench.confirm(operation)
    assert isinstance(outcome, Permanent)
    assert outcome.perhaps
    assert bench.confirm(record({**LICENCE, "certificate_number": "2"})) is None


def test_an_answer_that_names_the_owner_settles_it(bench: Bench) -> None:
    envelope = {"total_records": 1, "max_per_page": 2, "current_page": 1, "total_pages": 1}
    for owner, done in (("E1", True), ("E2", False)):
        bench.fault(
            match={"path_prefix": HTTP}, status=200, body={**envelope, "records": [{**LICENCE, "user_name": owner}]}
        )
        assert isinstance(bench.confirm(record(LICENCE)), Done) is done


def test_only_what_changed_is_read_and_counted(bench: Bench) -> None:
    bench.seed(*(person(f"E{number}", updated_at="2024-01-01T00:00:00.000+00:00") for number in range(7)))
    bench.seed(person("E3", last_name="Ito"))
    recent = bench.run(lambda http: bench.target.observe_recent(http, 1_750_000_000.5), read_only=True)
    assert [(account.id, account.values["last_name"]) for account in recent.accounts] == [("E3", "Ito")]
    assert recent.total == 7
    assert recent.as_of is not None
    assert bench.requests == 2
    assert "updated_at=2025-06-15T15%3A06%3A40" in bench.board.log(bench.name)[0]["query"]


@pytest.mark.parametrize("error", [ListingError, MalformedAnswerError])
def test_changes_are_doubted_as_a_listing_is(bench: Bench, error: type[Exception]) -> None:
    body: dict[str, Any] = {"total_records": 2, "max_per_page": 2, "current_page": 1, "total_pages": 1}
    body["records"] = [person("E1")] * 2 if error is ListingError else [{}, {"user_name": "E1"}]
    bench.fault(match={"method": "GET"}, status=200, body=body, times=None)
    with pytest.raises(error):
        bench.run(lambda http: bench.target.observe_recent(http, 0.0))


def test_a_moment_is_spelt_in_utc() -> None:
    assert pages.moment(0.9) == "1970-01-01T00:00:00"


SPEC = TargetSpec("t", target_of("tribal_habits", **SETTINGS).settings, {}, bundled_enrolments=5)
KINDS = st.sampled_from([Kind.CREATE, Kind.UPDATE, Kind.ROLE, Kind.REJOIN, Kind.LEAVE, None])


@given(KINDS, st.integers(0, 9), st.booleans(), st.none() | st.just("waits"))
def test_riders_share_their_leaders_fate(kind: Kind | None, count: int, refused: bool, hold: str | None) -> None:
    riders = [structs.replace(enrol(f"TH-4-{number}-NEW"), id=f"r{number}") for number in range(count)]
    leader = (
        []
        if kind is None
        else [structs.replace(change(kind, "E1", {}), id="leader", state=PlannedState(hold, refused))]
    )
    seated = riding(SPEC, [*leader, *riders])
    aboard = [one for one in seated if isinstance(one, Enrolment) and one.bundled]
    leads = kind not in (None, Kind.LEAVE) and not refused
    assert len(seated) == len(leader) + count
    assert len(aboard) == (min(count, 5) if leads else 0)
    assert all(one.follows == "leader" and one.hold == hold for one in aboard)
    assert [one.carries for one in seated if one.carries] == ([tuple(one.after for one in aboard)] if aboard else [])
    left = without(seated, {"r0"})
    assert all(one.id != "r0" and {"enrolment_code": "TH-4-0-NEW", "due_date": None} not in one.carries for one in left)


def test_nothing_rides_where_the_vendor_takes_nothing_along() -> None:
    operations = [structs.replace(change(Kind.CREATE, None, {}, person="E1"), id="leader"), enrol("TH-4-77-NEW")]
    assert riding(replace(SPEC, bundled_enrolments=0), operations) == operations
    knowing = [operations[0], record(LICENCE)]
    assert riding(SPEC, knowing) == knowing


def test_the_documentation_names_every_field_of_a_record() -> None:
    part = DOCS.read_text(encoding="utf-8").partition("## External knowledge")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(knowledge.FIELDS)


@pytest.mark.parametrize("entry", [{**LICENCE, "tilte": "'x'"}, {"title": "'x'"}])
def test_entries_that_the_vendor_does_not_take_are_refused(entry: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"external_knowledge\[0\]"):
        target_of("tribal_habits", **{**SETTINGS, "external_knowledge": [entry]}).check()
