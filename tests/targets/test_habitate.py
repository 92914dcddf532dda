"""habitate's target against the stand-in, over real HTTP, and its pure parts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError, TargetError, UnauthorisedError
from provisioner.model.account import Account
from provisioner.model.attributes import DETAILS_READ_AT, InvalidValueError
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.sandbox import SandboxServer
from provisioner.sandbox.habitate import HABITATE_KEY
from provisioner.targets import http as transport
from provisioner.targets.base import Ask
from provisioner.targets.habitate import _role_literals, boards, listing, searching
from provisioner.targets.habitate.attributes import CATALOGUE, read, update_body
from provisioner.targets.http import Http
from tests.targets.bench import Bench, change, target_of
from tests.targets.documented import attributes_in

DOCS = Path(__file__).resolve().parents[2] / "docs" / "targets" / "habitate.md"
SETTINGS: dict[str, Any] = {
    "api_key": HABITATE_KEY,
    "match": ["username", "email"],
    "attributes": {name: name for name in ("email", "first_name", "last_name", "username", "role", "boards", "lang")},
    "leaver": {"role": "'Guest'", "boards": {"from": "NULL", "empty": "clear"}},
}
GUEST, MODERATOR = 5, 3
OURS = "the one that the key belongs to"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def bench(sandbox: SandboxServer) -> Bench:
    """A fresh community."""
    return Bench(sandbox, "habitate", **SETTINGS)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading gives up at the first failure, so that no test waits."""
    monkeypatch.setattr(transport, "READ_TRIES", 1)


def image(number: int, **more: str | None) -> dict[str, str | None]:
    """The wanted image of a person."""
    return {
        "email": f"p{number}@example.com",
        "first_name": f"Ann{number}",
        "last_name": "Lee",
        "username": f"e{number}",
        "role": "Member",
        "boards": None,
        "lang": "fr",
        **more,
    }


def create(number: int, **more: str | None) -> Operation:
    """The create of a person."""
    return change(Kind.CREATE, None, image(number, **more), person=f"E{number}")


def member(number: int, **more: Any) -> dict[str, Any]:
    """A member in the community's read form."""
    return {
        "user_id": number,
        "email": f"p{number}@example.com",
        "first_name": f"Ann{number}",
        "username": f"e{number}",
        **more,
    }


def state(bench: Bench) -> dict[str, dict[str, Any]]:
    """What the community holds, by email."""
    return {one["email"]: one for one in bench.board.accounts(bench.name)}


def on_board(bench: Bench, board: str) -> set[str]:
    """The emails of a board's members."""
    msids = set(bench.board.state(bench.name)["boards"][board])
    return {one["email"] for one in bench.board.accounts(bench.name) if one["msid"] in msids}


def only(outcomes: Any) -> Outcome:
    """The one outcome."""
    (outcome,) = outcomes
    assert isinstance(outcome, (Done, Permanent, Temporary, Unauthorised, Unclear))
    return outcome


def done(outcomes: Any) -> Done:
    """The one outcome, which must be a success."""
    outcome = only(outcomes)
    assert isinstance(outcome, Done), outcome
    return outcome


def people(bench: Bench, known: Mapping[str, Account] | None = None) -> dict[str, Account]:
    """The observed accounts that are people, by id."""
    return {one.id: one for one in bench.observe(known).accounts if one.untouchable != OURS}


# Observing


def test_every_status_but_the_deleted_is_listed(bench: Bench) -> None:
    statuses = {10: 10, 11: 6, 12: 5, 13: 4, 14: 0, 15: -3, 16: -100}
    bench.seed(*(member(number, user_status=status, is_bot=number == 11) for number, status in statuses.items()))
    seen = {one.values["username"]: one for one in people(bench).values()}
    assert {name: (one.values["user_status"], one.untouchable) for name, one in seen.items()} == {
        "e10": ("ACTIVE", None),
        "e11": ("UNVERIFIED", "a bot"),
        "e12": ("INVITED", None),
        "e13": ("WAITLIST", None),
        "e14": ("INACTIVE", None),
        "e15": ("BANNED", "banned"),
    }


def test_details_complete_what_the_listing_lacks(bench: Bench) -> None:
    bench.seed(member(7, last_name="Lee", role_id=MODERATOR))
    (account,) = people(bench).values()
    values = account.values
    assert account.id == values["msid"]
    assert account.id.startswith("7.")
    assert (values["email"], values["last_name"], values["role"]) == ("p7@example.com", "Lee", "Moderator")
    assert (values["user_id"], values["role_id"], values["is_bot"]) == ("7", "3", "false")


def test_we_ourselves_are_never_touched(bench: Bench) -> None:
    (account,) = bench.observe().accounts
    assert account.untouchable == OURS


@pytest.mark.parametrize("might", [False, True])
def test_short_pages_with_more_to_come_are_followed_to_the_end(bench: Bench, might: bool) -> None:
    bench.board.options(bench.name, short_every=2, short_by=3, has_more_might=might)
    bench.target = target_of("habitate", bench.target.origin, **{**SETTINGS, "page_size": 5})
    bench.seed(*(member(number) for number in range(2, 31)))
    assert len(people(bench)) == 29


def test_known_members_need_no_details(bench: Bench) -> None:
    bench.seed(*(member(number) for number in range(2, 8)))
    known = {one.id: one for one in bench.observe().accounts}
    bench.board.clear_log(bench.name)
    bench.seed(member(8))
    assert len(people(bench, known)) == 7
    details = [one for one in bench.sent("GET") if "/users/" in one and not one.endswith("/me")]
    assert len(details) == 1
    assert details[0].startswith("GET /api/v1/users/8.")


def test_details_are_read_again_where_the_listing_differs_or_they_are_old(bench: Bench) -> None:
    bench.seed(member(2), member(3), member(4))
    known = {one.id: one for one in bench.observe().accounts}
    second, third, fourth = (next(one for one in known.values() if one.id.startswith(f"{n}.")) for n in (2, 3, 4))
    known[third.id] = Account(third.id, {**third.values, DETAILS_READ_AT: "1000"})
    bench.seed(member(2, first_name="Bea", last_name="Ito"), member(4, last_name="Unseen"))
    seen = bench.observe(known)
    values = {one.id: one.values for one in seen.accounts}
    assert values[second.id]["last_name"] == "Ito"
    assert values[third.id][DETAILS_READ_AT] != "1000"
    assert values[fourth.id].get("last_name") is None


def test_a_known_member_in_no_listing_is_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.seed(member(2), member(3, user_status=4), member(4))
    known = {one.id: one for one in bench.observe().accounts}
    bench.board.remove(bench.name, next(msid for msid in known if msid.startswith("2.")))
    monkeypatch.setattr(listing, "STATUSES", (10,))
    assert sorted(one.values["username"] or "" for one in people(bench, known).values()) == ["e3", "e4"]


def test_members_beyond_those_asked_for_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MISSING_ASKED", 1)
    ghosts = {f"{number}.x": Account(f"{number}.x", {}) for number in (8, 9)}
    assert any("2 known members" in note for note in bench.observe(ghosts).notes)


def test_hidden_emails_are_told(bench: Bench) -> None:
    bench.seed(member(2))
    bench.board.options(bench.name, hide_email=True)
    assert any("email" in note for note in bench.observe().notes)


def test_a_listing_whose_end_never_comes_is_not_believed(bench: Bench) -> None:
    body = [{"user_id": 2, "msid": "2.x", "first_name": "Ann", "role_id": 4, "user_status": 10}]
    bench.probe()
    bench.fault(
        match={"method": "GET", "path_prefix": "/api/v1/users"}, times=None, status=200, body=body,
        headers={"has_more": "1"},
    )  # fmt: skip
    with pytest.raises(ListingError, match="repeated what was shown"):
        bench.observe()


def test_a_listing_that_does_not_say_whether_there_is_more_is_malformed(bench: Bench) -> None:
    bench.probe()
    bench.fault(match={"method": "GET", "path_prefix": "/api/v1/users"}, times=None, status=200, body=[])
    with pytest.raises(MalformedAnswerError, match="has_more"):
        bench.observe()


def test_a_forbidden_listing_is_not_a_refused_key(bench: Bench) -> None:
    bench.board.options(bench.name, can_list=False)
    with pytest.raises(TargetError, match="permission") as caught:
        bench.observe()
    assert not isinstance(caught.value, UnauthorisedError)


@given(
    st.dictionaries(
        st.sampled_from([*CATALOGUE, "meta", "sid", "role_id"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers(), max_size=2),
    )
)
def test_reading_gives_text_or_an_error_that_names_the_field(record: dict[str, Any]) -> None:
    faulty = ""
    values: dict[str, str | None] = {}
    try:
        values = read(record)
    except InvalidValueError as exc:
        faulty = str(exc).split()[0]
    assert faulty in (*record, "msid") if faulty else values["msid"]
    assert all(value is None or isinstance(value, str) for value in values.values())


@pytest.mark.parametrize(("shown", "status"), [(10, "ACTIVE"), ("10", "ACTIVE"), ("ACTIVE", "ACTIVE"), (-3, "BANNED")])
def test_a_status_is_a_name_however_it_is_printed(shown: object, status: str) -> None:
    assert read({"user_id": 1, "sid": "x", "user_status": shown}) == {
        "user_id": "1",
        "sid": "x",
        "msid": "1.x",
        "user_status": status,
    }


# Finding


def test_a_linked_member_is_found_by_msid(bench: Bench) -> None:
    bench.seed(member(2))
    (msid,) = people(bench)
    found = bench.find(Ask("E2", msid))
    assert found is not None
    assert [one.id for one in found.accounts] == [msid]
    assert not found.complete


def test_somebody_not_linked_is_found_among_the_known_or_by_a_listing_only(bench: Bench) -> None:
    bench.seed(member(2))
    known = people(bench)
    wanted = {"username": "E2", "email": "p2@example.com"}
    found = bench.find(Ask("E2", None, wanted), known=known)
    assert found is not None
    assert [one.id for one in found.accounts] == list(known)
    assert bench.find(Ask("E2", None, wanted)) is None
    assert bench.find(Ask("E2", "99.gone", {"email": "new@example.com"}), known=known) is None


# Creating


def test_a_member_with_the_default_role_takes_one_write(bench: Bench) -> None:
    outcome = done(bench.write(create(1)))
    assert bench.writes == 1
    assert outcome.account == state(bench)["p1@example.com"]["msid"]
    assert (outcome.learnt["role"], outcome.learnt["user_status"]) == ("Member", "ACTIVE")
    assert state(bench)["p1@example.com"]["lang"] == "fr"


def test_role_and_boards_are_part_of_a_create(bench: Bench) -> None:
    outcomes = bench.write(create(1, role="moderator", boards="Sales;people"), create(2, boards="sales"))
    assert all(isinstance(outcome, Done) and outcome.note is None for outcome in outcomes)
    assert state(bench)["p1@example.com"]["role_id"] == MODERATOR
    assert on_board(bench, "Sales") == {"p1@example.com", "p2@example.com"}
    assert on_board(bench, "People") == {"p1@example.com"}
    assert bench.writes == 2 + 1 + 2


@pytest.mark.parametrize(
    "wrong", [{"username": "e_1"}, {"username": "e 1"}, {"role": "Boss"}, {"role": "3"}, {"boards": "Nowhere"},
              {"boards": "General"}, {"email": None}],
)  # fmt: skip
def test_what_cannot_succeed_is_refused_before_anything_is_sent(bench: Bench, wrong: dict[str, str | None]) -> None:
    assert isinstance(only(bench.write(create(1, **wrong))), Permanent)
    assert bench.writes == 0


def test_an_unknown_role_is_told_with_those_that_there_are(bench: Bench) -> None:
    outcome = only(bench.write(create(1, role="Boss")))
    assert isinstance(outcome, Permanent)
    assert "Moderator" in outcome.message
    by_number = only(bench.write(create(1, role="3")))
    assert isinstance(by_number, Permanent)
    assert "'Moderator'" in by_number.message


def test_a_created_member_is_linked_even_if_the_role_fails(bench: Bench) -> None:
    bench.fault(match={"method": "PATCH"}, status=503)
    operation = create(1, role="Moderator", boards="Sales")
    outcome = only(bench.write(operation))
    assert isinstance(outcome, Unclear)
    assert "role" in outcome.message
    again = done([bench.confirm(operation)])
    assert again.account == state(bench)["p1@example.com"]["msid"]
    assert again.learnt["role"] == "Moderator"
    assert on_board(bench, "Sales") == {"p1@example.com"}


def test_a_created_member_is_linked_even_if_a_role_is_refused(bench: Bench) -> None:
    bench.fault(match={"method": "PATCH"}, status=400)
    outcome = done(bench.write(create(1, role="Moderator", boards="Sales")))
    assert outcome.learnt["role"] == "Member"
    assert "role" in (outcome.note or "")
    assert on_board(bench, "Sales") == {"p1@example.com"}


@pytest.mark.parametrize(("status", "times"), [(500, 2), (503, 1), (429, 1)])
def test_a_create_whose_boards_fail_is_brought_to_its_end_later(bench: Bench, status: int, times: int) -> None:
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/2/"}, status=status, times=times)
    operation = create(1, boards="Sales;People")
    assert isinstance(only(bench.write(operation)), Unclear)
    assert "boards" not in done([bench.confirm(operation)]).learnt
    assert on_board(bench, "Sales") == on_board(bench, "People") == {"p1@example.com"}


def test_boards_whose_answer_is_lost_once_are_changed_again_at_once(bench: Bench) -> None:
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/2/"}, drop="after", times=1)
    assert "boards" not in done(bench.write(create(1, boards="Sales;People"))).learnt
    assert on_board(bench, "Sales") == {"p1@example.com"}


def test_a_created_member_is_linked_even_if_a_board_is_refused(bench: Bench) -> None:
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/2/"}, status=400)
    outcome = done(bench.write(create(1, boards="Sales;People")))
    assert outcome.learnt["boards"] == "People"
    assert "boards" in (outcome.note or "")


def test_whoever_was_changed_before_the_limit_was_hit_is_not_done_without_their_boards(bench: Bench) -> None:
    bench.fault(match={"method": "POST"}, status=429, share=0.5, times=None, seed=1)
    outcomes = bench.write(*(create(number, boards="Sales") for number in range(1, 7)))
    made = {one["email"] for one in bench.board.accounts(bench.name)}
    assert 0 < len(made) < 6
    for number, outcome in enumerate(outcomes, 1):
        assert isinstance(outcome, Unclear if f"p{number}@example.com" in made else Temporary)


def test_what_no_create_takes_is_left_to_the_next_plan(bench: Bench) -> None:
    outcome = done(bench.write(create(1, user_description="<b>Hi</b>")))
    assert outcome.learnt["user_description"] is None


def test_a_conflict_adopts_the_member_with_our_email(bench: Bench) -> None:
    bench.seed(member(5, first_name="Ann1", email="P1@example.com", username="other", role_id=GUEST))
    outcome = done(bench.write(create(1, boards="Sales")))
    assert outcome.account == state(bench)["P1@example.com"]["msid"]
    assert outcome.adopted
    assert (outcome.learnt["username"], outcome.learnt["role"], outcome.learnt["lang"]) == ("other", "Guest", None)
    assert outcome.learnt["boards"] is None
    assert on_board(bench, "Sales") == set()


@pytest.mark.parametrize("status", [6, 5, 4, 0])
def test_a_conflict_with_an_email_that_nobody_verified_adopts_nobody(bench: Bench, status: int) -> None:
    bench.seed(member(5, first_name="Ann1", email="p1@example.com", username="other", user_status=status))
    outcome = only(bench.write(create(1, role="Moderator", boards="Sales")))
    assert isinstance(outcome, Permanent)
    assert "has not verified" in outcome.message
    assert on_board(bench, "Sales") == set()


def test_an_unclear_create_is_not_taken_for_a_stranger_who_joined_meanwhile(bench: Bench) -> None:
    bench.fault(match={"method": "POST"}, drop="before")
    operation = create(1, role="Moderator")
    assert isinstance(only(bench.write(operation)), Unclear)
    bench.board.act(bench.name, "join", email="p1@example.com", first_name="M", username="e1", status=6)
    outcome = bench.confirm(operation)
    assert isinstance(outcome, Permanent)
    assert "has not verified" in outcome.message
    assert state(bench)["p1@example.com"]["role_id"] != MODERATOR


def test_a_conflict_about_anything_else_is_told(bench: Bench) -> None:
    bench.seed(member(5, username="e1"))
    assert isinstance(only(bench.write(create(1))), Permanent)
    bench.seed(member(6, email="p2@example.com", first_name="Ann2", is_bot=True))
    assert "bot" in getattr(only(bench.write(create(2))), "message", "")


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_create_whose_fate_is_unclear_is_looked_up(bench: Bench, drop: str) -> None:
    bench.seed(member(5, first_name="Ann1"))
    bench.fault(match={"method": "POST"}, drop=drop)
    operation = create(1, role="Moderator", boards="Sales")
    assert isinstance(only(bench.write(operation)), Unclear)
    outcome = bench.confirm(operation)
    if drop == "before":
        assert outcome is None
    else:
        assert isinstance(outcome, Done)
        assert outcome.account == state(bench)["p1@example.com"]["msid"]
        assert (outcome.learnt["role"], outcome.adopted) == ("Moderator", False)
        assert state(bench)["p1@example.com"]["role_id"] == MODERATOR
        assert on_board(bench, "Sales") == {"p1@example.com"}


def test_unclear_creates_in_one_hand_share_one_reading_of_the_newest_members(bench: Bench) -> None:
    bench.seed(*(member(number, created_at="2020-01-01T00:00:00Z") for number in range(100, 350)))
    bench.fault(match={"method": "POST"}, drop="after", times=None)
    operations = [structs.replace(create(number), planned=time.time()) for number in range(1, 6)]
    bench.write(*operations)
    bench.board.clear_faults(bench.name)
    bench.board.clear_log(bench.name)

    async def settle(http: Http) -> list[Outcome | None]:
        return [await bench.target.confirm(http, operation) for operation in operations]

    assert all(isinstance(outcome, Done) for outcome in bench.run(settle))
    # Five new ones stand on the first page, and with the old ones on it nobody has to look further
    assert bench.sent("GET").count("GET /api/v1/users") == 1


def test_a_search_that_could_not_see_every_new_member_proves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.seed(*(member(number) for number in range(100, 350)))
    operation = structs.replace(create(1), planned=time.time())
    assert bench.confirm(operation) is None

    monkeypatch.setattr(searching.Search.find, "__kwdefaults__", {"most": 2})
    outcome = bench.confirm(operation)
    assert isinstance(outcome, Permanent)
    assert "more members are new than a search goes through" in outcome.message


def test_as_many_are_changed_together_as_are_over_soon() -> None:
    def at_once(rate: str, **more: Any) -> int:
        target = target_of("habitate", "http://127.0.0.1:1", **{**SETTINGS, "rate_limit": rate, **more})
        return int(target.batch_size("save"))

    assert at_once("1/minute") == 10
    assert at_once("120/minute") == 10
    assert at_once("300/minute") == 20
    assert at_once("6000/minute") == 50
    assert at_once("6000/minute", batch_size=20) == 20


def test_a_hidden_email_leaves_an_unclear_create_to_a_person(bench: Bench) -> None:
    bench.board.options(bench.name, hide_email=True)
    bench.fault(match={"method": "POST"}, drop="after")
    bench.write(create(1))
    assert isinstance(bench.confirm(create(1)), Permanent)
    assert bench.confirm(create(2)) is None


def test_an_answer_to_a_create_without_an_msid_is_unclear(bench: Bench) -> None:
    bench.fault(match={"method": "POST"}, status=200, body={"first_name": "Ann"})
    assert isinstance(only(bench.write(create(1))), Unclear)


# Changing


def made(bench: Bench, number: int = 1, **more: str | None) -> str:
    """Create a member and answer the msid."""
    return str(done(bench.write(create(number, **more))).account)


def test_an_update_keeps_what_it_is_not_about(bench: Bench) -> None:
    msid = made(bench)
    bench.seed({"user_id": int(msid.split(".")[0]), "user_avatar": "https://a.example/x.png", "user_description": "Hi"})
    after = {"last_name": "Ito"}
    done(bench.write(change(Kind.UPDATE, msid, after, wanted=image(1, **after))))
    held = state(bench)["p1@example.com"]
    assert (held["last_name"], held["user_avatar"], held["user_description"], held["lang"], held["username"]) == (
        "Ito",
        "https://a.example/x.png",
        "Hi",
        "fr",
        "e1",
    )
    assert bench.writes == 1


def test_an_update_whose_answer_shows_other_values_says_which(bench: Bench) -> None:
    msid = made(bench)
    shown = {"msid": msid, "first_name": "First1", "last_name": "Lee", "user_status": "10"}
    bench.fault(match={"method": "PUT"}, status=200, body=shown)
    after = {"last_name": "Ito", "lang": "de"}
    outcome = done(bench.write(change(Kind.UPDATE, msid, after, wanted=image(1, **after))))
    assert outcome.unkept == {"last_name": "Lee"}
    bench.fault(match={"method": "PUT"}, status=200, body={**shown, "msid": "77.other"})
    assert done(bench.write(change(Kind.UPDATE, msid, after, wanted=image(1, **after)))).unkept == {}


def test_what_is_to_be_emptied_is_sent_empty_and_what_is_unknown_is_not_sent() -> None:
    body = update_body(
        {"first_name": "Ann", "last_name": None, "lang": "fr"},
        {"last_name": None},
        {"last_name": "Lee", "user_avatar": "x", "username": "ann", "social_media_links": '{"Twitter": "t"}'},
    )
    assert body == {
        "first_name": "Ann",
        "last_name": "",
        "lang": "fr",
        "user_avatar": "x",
        "username": "ann",
        "social_media_links": {"Twitter": "t"},
    }


def test_a_username_may_hold_an_underscore_only_later(bench: Bench) -> None:
    msid = made(bench)
    done(bench.write(change(Kind.UPDATE, msid, {"username": "ann_lee"}, wanted=image(1, username="ann_lee"))))
    outcome = only(bench.write(change(Kind.UPDATE, msid, {"username": "ann-lee"}, wanted=image(1, username="ann-lee"))))
    assert isinstance(outcome, Permanent)
    assert bench.writes == 0


def test_a_role_alone_is_one_patch(bench: Bench) -> None:
    msid = made(bench)
    done(bench.write(change(Kind.ROLE, msid, {"role": "Moderator"}, wanted=image(1, role="Moderator"))))
    assert bench.writes == 1
    assert state(bench)["p1@example.com"]["role_id"] == MODERATOR


def leave(msid: str, before: str | None = "People;Sales") -> Operation:
    """A leave that takes role and boards."""
    after = {"role": "Guest", "boards": None}
    return change(Kind.LEAVE, msid, after, before={"role": "Member", "boards": before}, wanted=image(1, **after))


def test_a_leaver_loses_role_and_boards(bench: Bench) -> None:
    msid = made(bench, boards="Sales;People")
    done(bench.write(leave(msid)))
    assert state(bench)["p1@example.com"]["role_id"] == GUEST
    assert on_board(bench, "Sales") == on_board(bench, "People") == set()


def test_a_board_that_is_gone_keeps_nobody_from_leaving(bench: Bench) -> None:
    assert done(bench.write(leave(made(bench), "Nowhere"))).note is None


def test_a_refused_role_does_not_keep_a_leaver_in_their_boards(bench: Bench) -> None:
    msid = made(bench, boards="Sales")
    bench.board.options(bench.name, forbidden=[msid])
    outcome = only(bench.write(leave(msid, "Sales")))
    assert isinstance(outcome, Permanent)
    assert outcome.code == "forbidden"
    assert on_board(bench, "Sales") == set()


def test_many_changes_of_boards_alone_share_a_request(bench: Bench) -> None:
    msids = [made(bench, number) for number in range(1, 5)]
    operations = [
        change(Kind.UPDATE, msid, {"boards": "Sales"}, wanted=image(number, boards="Sales"))
        for number, msid in enumerate(msids, start=1)
    ]
    assert bench.target.batch_size(bench.target.group(operations[0])) == 50
    assert all(isinstance(outcome, Done) for outcome in bench.write(*operations))
    assert bench.writes == 1
    assert len(on_board(bench, "Sales")) == 4


def test_one_bad_member_does_not_spoil_a_boards_change(bench: Bench) -> None:
    msids = [made(bench, 1), "99.gone", made(bench, 2)]
    operations = [change(Kind.UPDATE, msid, {"boards": "Sales"}) for msid in msids]
    first, bad, last = bench.write(*operations)
    assert isinstance(first, Done)
    assert isinstance(bad, Permanent)
    assert isinstance(last, Done)
    gone = change(Kind.LEAVE, "99.gone", {"boards": None}, before={"boards": "Sales"})
    assert done(bench.write(gone)).note


def test_a_temporary_board_failure_is_tried_again_as_a_whole(bench: Bench) -> None:
    msid = made(bench)
    bench.fault(match={"method": "PUT", "path_prefix": "/api/v1/boards/"}, status=503)
    outcome = only(bench.write(change(Kind.UPDATE, msid, {"boards": "Nowhere;Sales"})))
    assert isinstance(outcome, Temporary)


def test_a_difference_of_boards_ignores_case() -> None:
    assert boards.change("m", "People;Sales", "finance;sales") == boards.Change("m", ("finance",), ("People",))


def test_a_forbidden_change_is_not_a_refused_key(bench: Bench) -> None:
    msid = made(bench)
    bench.board.options(bench.name, forbidden=[msid])
    outcome = only(bench.write(change(Kind.ROLE, msid, {"role": "Guest"})))
    assert isinstance(outcome, Permanent)
    bench.board.options(bench.name, api_key="changed")
    assert isinstance(only(bench.write(change(Kind.ROLE, msid, {"role": "Guest"}))), Unauthorised)


def test_somebody_who_is_gone_is_told_but_has_left(bench: Bench) -> None:
    assert done(bench.write(leave("99.gone", None))).note
    outcome = only(bench.write(change(Kind.ROLE, "99.gone", {"role": "Guest"})))
    assert isinstance(outcome, Permanent)
    assert outcome.code == "gone"


def test_nothing_more_is_sent_once_the_key_is_refused_or_we_are_too_fast(bench: Bench) -> None:
    bench.fault(match={"method": "POST"}, status=429, times=None)
    outcomes = bench.write(*(create(number) for number in range(10)))
    assert all(isinstance(outcome, Temporary) and outcome.limited for outcome in outcomes)
    assert bench.writes <= 4


@pytest.mark.parametrize("kind", [Kind.ENROL, Kind.EVENT])
def test_other_kinds_are_not_taken(bench: Bench, kind: Kind) -> None:
    assert isinstance(only(bench.write(change(kind, "1.x", {"a": "b"}))), Permanent)


def test_only_creates_are_looked_up(bench: Bench) -> None:
    assert bench.confirm(leave("1.x")) is None
    assert bench.requests == 0


# Settings


def test_the_probe_tells_of_roles_that_the_community_lacks(bench: Bench) -> None:
    role = "CASE WHEN job LIKE '%Manager%' THEN 'Moderator' ELSE 'Citizen' END"
    mapped = {**SETTINGS["attributes"], "role": role}
    bench.target = target_of("habitate", bench.target.origin, **{**SETTINGS, "attributes": mapped})
    (first,) = bench.probe()
    assert "5 roles" in first
    (second,) = bench.run(bench.target.unknown_names, read_only=True)
    assert "'Citizen'" in second
    assert "attributes.role" in second


@pytest.mark.parametrize(
    ("sql", "roles"),
    [
        ("'Guest'", ["Guest"]),
        ("CASE WHEN a = 'x' THEN 'M' ELSE 'N' END", ["M", "N"]),
        ("case when a then 'O''Neil' when b then 'P' end", ["O'Neil", "P"]),
        ("UPPER(role)", []),
        ("'a' || b", []),
    ],
)
def test_roles_that_an_expression_spells_out(sql: str, roles: list[str]) -> None:
    assert _role_literals(sql) == roles


@pytest.mark.parametrize(
    "part",
    [
        {"attributes": {**SETTINGS["attributes"], "shoe_size": "1"}},
        {"attributes": {**SETTINGS["attributes"], "user_status": "1"}},
        {"leaver": {"email": "'x'"}},
    ],
)
def test_settings_that_the_vendor_cannot_satisfy_are_refused(part: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        target_of("habitate", **{**SETTINGS, **part}).check()


def test_the_documentation_says_of_every_attribute_where_it_is_taken() -> None:
    assert attributes_in(DOCS) == {
        attribute.name: (attribute.on_create, attribute.on_update, attribute.observed)
        for attribute in CATALOGUE.values()
    }
