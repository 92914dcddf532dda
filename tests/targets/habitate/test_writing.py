"""habitate: creating and changing members."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec import structs

from provisioner.model.operation import Kind
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.targets.habitate import searching
from provisioner.targets.habitate.attributes import update_body
from provisioner.targets.http import Http
from tests.targets.bench import Bench, change, target_of
from tests.targets.habitate.support import (
    GUEST,
    MODERATOR,
    SETTINGS,
    create,
    done,
    image,
    leave,
    made,
    member,
    on_board,
    only,
    state,
)


def test_a_member_with_the_default_role_takes_one_write(bench: Bench) -> None:
    outcome = done(bench.write(create(1)))
    assert bench.writes == 1
    assert outcome.account == state(bench)["p1@example.com"]["msid"]
    assert (outcome.learnt["role"], outcome.learnt["user_status"]) == ("Member", "ACTIVE")
    assert state(bench)["p1@example.com"]["lang"] == "fr"


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


def test_a_forbidden_change_is_not_a_refused_key(bench: Bench) -> None:
    msid = made(bench)
    bench.board.options(bench.name, forbidden=[msid])
    outcome = only(bench.write(change(Kind.ROLE, msid, {"role": "Guest"})))
    assert isinstance(outcome, Permanent)
    bench.board.options(bench.name, api_key="changed")
    assert isinstance(only(bench.write(change(Kind.ROLE, msid, {"role": "Guest"}))), Unauthorised)


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
