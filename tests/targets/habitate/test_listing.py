"""habitate: what is listed and found, and what settings may ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError, ListingError, MalformedAnswerError, TargetError, UnauthorisedError
from provisioner.model.account import Account
from provisioner.model.attributes import DETAILS_READ_AT, InvalidValueError
from provisioner.targets.base import Ask
from provisioner.targets.habitate import listing
from provisioner.targets.habitate.attributes import CATALOGUE, read
from provisioner.targets.literals import literals
from tests.targets.bench import Bench, target_of
from tests.targets.documented import attributes_in
from tests.targets.habitate.support import (
    DOCS,
    MODERATOR,
    OURS,
    SETTINGS,
    member,
    people,
)


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
    assert literals(sql) == roles


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
