"""Pushed people as rows: which columns there are, and what is in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.pushed_person import PushedPerson
from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.model.scim_names import SCIM_USER as USER
from provisioner.roster import Source, read
from provisioner.roster.pushed_rows import columns, rows
from provisioner.settings import RosterSettings
from provisioner.web.scim.errors import ScimError
from provisioner.web.scim.resource import projected, read_resource, represented
from provisioner.web.scim.schema import UserSchema

EXTENSIONS = {"urn:acme:User": ["badge", "title"]}
SETTINGS = RosterSettings.model_validate(
    {"url": "scim:", "scim": {"token": "scim-token-0123456789", "extensions": EXTENSIONS}}
)
SCHEMA = UserSchema(SETTINGS.scim.extensions)


def _person(place: int, more: dict[str, Any] | None = None, **changes: Any) -> PushedPerson:
    resource = read_resource(
        {"schemas": [USER], "userName": f"u{place}", "externalId": f"E{place}", **(more or {})}, SCHEMA
    )
    return PushedPerson(**{"id": f"id{place}", "key": f"E{place}", "fold": f"e{place}", "resource": resource,
                           "version": 1, "created": 0.0, "modified": 0.0, **changes})  # fmt: skip


def _rows(*people: PushedPerson) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in json.loads(rows(people, SETTINGS, created={one.id: "2026-01-02" for one in people}))
    ]


def test_what_a_person_comes_to() -> None:
    more = {
        "name": {"givenName": "Ada", "familyName": "Ng"},
        "emails": [{"value": "h@x.com", "type": "home"}, {"value": "w@x.com", "type": "Work"}],
        "phoneNumbers": [{"value": "1", "type": "desk"}, {"value": "2", "type": "mobile", "primary": "True"}],
        "addresses": [{"type": "work", "locality": "Sydney", "country": "AU"}],
        "roles": ["Manager", {"value": "Learner"}],
        ENTERPRISE: {"department": "Sales", "manager": {"value": "id1", "displayName": "Bo"}, "employeeNumber": 7},
        "urn:acme:User": {"badge": "B7", "title": "own"},
        "title": "Lead",
        "password": "secret",
    }
    _, ada = _rows(_person(1), _person(2, more))
    assert ada == {
        "id": "id2", "externalId": "E2", "userName": "u2", "active": "true", "deleted": "false", "title": "Lead",
        "name.givenName": "Ada", "name.familyName": "Ng", "emails.home": "h@x.com", "emails.work": "w@x.com",
        "email": "w@x.com", "phoneNumbers.other": "1", "phoneNumbers.mobile": "2", "phoneNumbers.primary": "2",
        "phone": "2", "addresses.work.locality": "Sydney", "addresses.work.country": "AU", "roles": "Manager;Learner",
        "department": "Sales", "employeeNumber": "7", "manager": "E1", "manager.value": "id1",
        "manager.displayName": "Bo", "badge": "B7", "extension.title": "own", "meta.created": "2026-01-02",
    }  # fmt: skip


def test_who_is_active() -> None:
    found = _rows(
        _person(1),
        _person(2, {"active": True}),
        _person(3, {"active": "False"}),
        _person(4, deleted=True, previous="E0"),
    )
    assert [(one["active"], one["deleted"]) for one in found] == [
        ("true", "false"),
        ("true", "false"),
        ("false", "false"),
        ("false", "true"),
    ]
    assert found[3]["previousKey"] == "E0"


def test_each_column_is_there_whoever_was_pushed() -> None:
    content = rows([_person(1)], SETTINGS, created={"id1": "2026-01-02"})
    found = read(
        Source("it", content, "w", None, "d"), SETTINGS, needs=frozenset({"department", "emails.work", "badge"})
    )
    assert set(found.columns) == set(columns(SETTINGS))
    assert found.frame["_key"].to_list() == ["E1"]
    assert len(columns(SETTINGS)) == len(set(columns(SETTINGS)))


def test_the_same_people_give_the_same_bytes() -> None:
    people = [_person(place) for place in range(5)]
    created = {one.id: "2026-01-02" for one in people}
    assert rows(people, SETTINGS, created=created) == rows(reversed(people), SETTINGS, created=created)


_TEXT = st.text(max_size=20)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "title": _TEXT,
                "emails": st.lists(
                    st.fixed_dictionaries({"value": _TEXT}, optional={"type": _TEXT, "primary": st.booleans()}),
                    max_size=3,
                ),
                "addresses": st.lists(st.fixed_dictionaries({"locality": _TEXT}, optional={"type": _TEXT}), max_size=3),
                "roles": st.lists(_TEXT, max_size=3),
                ENTERPRISE: st.fixed_dictionaries({}, optional={"manager": _TEXT, "department": _TEXT}),
            },
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_pushed_is_read_as_one_row_each(bodies: list[dict[str, Any]]) -> None:
    try:
        people = [_person(place, body) for place, body in enumerate(bodies)]
    except ScimError:
        # What is refused is not kept
        return
    content = rows(people, SETTINGS, created={one.id: "2026-01-02" for one in people})
    found = read(Source("it", content, "w", None, "d"), SETTINGS, needs=frozenset())
    assert found.rows == len(people)
    assert set(found.columns) == set(columns(SETTINGS))


def test_what_is_wanted_is_shown() -> None:
    resource = read_resource(
        {"userName": "u", "name": {"givenName": "A", "familyName": "B"}, "emails": [{"value": "x", "type": "work"}],
         ENTERPRISE: {"department": "Sales", "division": "N"}},
        SCHEMA,
    )  # fmt: skip
    shown = represented(
        resource, id_="1", version=3, created=0.0, modified=1.5, base="https://x/scim/v2", schema=SCHEMA
    )
    assert shown["schemas"] == [USER, ENTERPRISE]
    assert shown["meta"] == {
        "resourceType": "User", "created": "1970-01-01T00:00:00.000Z", "lastModified": "1970-01-01T00:00:01.500Z",
        "location": "https://x/scim/v2/Users/1", "version": 'W/"3"',
    }  # fmt: skip
    some = projected(shown, SCHEMA, ["USERNAME", "name.givenName", "emails.value", f"{ENTERPRISE}:division", "nothing"])
    assert some == {
        "schemas": shown["schemas"], "id": "1", "userName": "u", "name": {"givenName": "A"},
        "emails": [{"value": "x"}], ENTERPRISE: {"division": "N"},
    }  # fmt: skip
    less = projected(shown, SCHEMA, (), ["emails.type", "name", f"{ENTERPRISE}:department", "id", "meta"])
    assert less == {
        "schemas": shown["schemas"], "id": "1", "userName": "u", "emails": [{"value": "x"}],
        ENTERPRISE: {"division": "N"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scim": {}}, "scim.token is needed"),
        ({"scim": {"token": "short"}}, "fewer than 16"),
        ({"records": "data"}, "no file to which records"),
        ({"rename": {"active": "aktiv"}}, "leave the column active"),
        ({"nulls": ["False"]}, "leave the column active"),
        ({"scim": {"token": "x" * 16, "extensions": {"nonsense": ["a"]}}}, "no URN"),
        ({"scim": {"token": "x" * 16, "extensions": {"urn:acme:User": ["a b"]}}}, "no name of an attribute"),
        ({"scim": {"token": "x" * 16, "extensions": {"urn:acme:1": ["a"], "urn:acme:2": ["A"]}}}, "of two extensions"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RosterSettings.model_validate({"url": "scim:", "scim": {"token": "scim-token-0123456789"}, **changes})


def test_defaults_of_pushed_people() -> None:
    assert (SETTINGS.key, SETTINGS.previous_key, SETTINGS.pushed_people) == ("externalId", "previousKey", True)
    own = RosterSettings.model_validate({"url": " SCIM: ", "key": "userName", "scim": {"token": "x" * 16}})
    assert (own.key, own.pushed_people) == ("userName", True)
    assert not RosterSettings(url="scim.csv").pushed_people
