"""SCIM's attribute paths, filters and patches: pure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.model.scim_names import SCIM_USER as USER
from provisioner.sandbox.scim.filters import matches
from provisioner.sandbox.scim.patches import patched
from provisioner.sdk import Attribute, InvalidValueError, Type
from provisioner.targets.scim.attributes import CATALOGUE, family, is_custom, shown
from provisioner.targets.scim.paths import InvalidPathError, Path, equals, parse
from provisioner.targets.scim.resources import Form, applied, changes, patch, replacement, schemas_of

WORK = 'emails[type eq "work"].value'
CITY = 'addresses[type eq "work"].locality'
DEPARTMENT = f"{ENTERPRISE}:department"
OWN = "urn:example:params:2.0:User:clearance"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("userName", Path(None, "userName")),
        (" name.givenName ", Path(None, "name", (), "givenName")),
        (WORK, Path(None, "emails", (("type", "work"),), "value")),
        (
            'emails[type eq "a]b" and primary eq TRUE].value',
            Path(None, "emails", (("type", "a]b"), ("primary", True)), "value"),
        ),
        (DEPARTMENT, Path(ENTERPRISE, "department")),
        (f"{ENTERPRISE}:manager.value", Path(ENTERPRISE, "manager", (), "value")),
        (f"{USER}:name.familyName", Path(None, "name", (), "familyName")),
        ('urn:x:2.0:User:ids[kind eq "a:b"].value', Path("urn:x:2.0:User", "ids", (("kind", "a:b"),), "value")),
    ],
)
def test_a_path_is_read_and_written(text: str, path: Path) -> None:
    assert parse(text) == path
    assert parse(str(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "emails[type eq work].value",
        'emails[type co "w"].value',
        'emails[type eq "work"]',
        "urn:a",
        "1a",
        "a.b.c",
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidPathError):
        parse(text)


@pytest.mark.parametrize(
    "name",
    ["username", "emails", "name", "name.nick", "emails.colour", "password", f"{ENTERPRISE}:password", "meta", "x"],
)
def test_what_no_user_has_is_refused(name: str) -> None:
    with pytest.raises(InvalidPathError):
        family(name)


def test_every_attribute_of_the_catalogue_is_a_path_of_its_own() -> None:
    for name, attribute in CATALOGUE.items():
        path, found = family(name)
        assert (str(path), found) == (name, attribute)
    assert [is_custom(name) for name in (OWN, DEPARTMENT, "userName", "no path")] == [True, False, False, False]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_value_ends_nothing_in_a_filter(value: str) -> None:
    """The stand-in reads filters by a reader of its own."""
    user = {"userName": value, "emails": [{"type": "work", "value": value}]}
    other = {"userName": value + "x", "emails": [{"type": "home", "value": value}]}
    for text in (equals(parse("userName"), value), equals(parse(WORK), value)):
        assert matches(user, text)
        assert not matches(other, text)


USER_HELD: dict[str, Any] = {
    "id": "7",
    "meta": {"version": "1"},
    "schemas": [USER],
    "userName": "ana",
    "name": {"givenName": "Ana", "familyName": "Silva"},
    "active": True,
    "emails": [{"type": "home", "value": "h@example.com", "primary": True}, {"type": "work", "value": "a@example.com"}],
    "addresses": [{"type": "work", "locality": "Perth"}],
    "roles": [{"value": "clerk", "display": "A clerk"}, {"value": "driver"}],
    ENTERPRISE: {"department": "Sales", "manager": {"value": "9"}},
}
NAMES = ("userName", "name.givenName", "name.familyName", "active", WORK, CITY, "roles", DEPARTMENT, "title", OWN)
ATTRIBUTES = {name: family(name)[1] for name in NAMES}
AFTERS: tuple[dict[str, str | None], ...] = (
    {},
    {"active": "false"},
    {"name.familyName": "Ito", "name.givenName": None},
    {WORK: "b@example.com", "title": "Boss"},
    {WORK: None},
    {CITY: None, DEPARTMENT: None},
    {CITY: "Hobart", OWN: "high"},
    {"roles": "clerk;pilot"},
    {"roles": None, "userName": "ana2"},
)


@pytest.mark.parametrize("form", ["paths", "lists", "attributes", "value", "keyed"])
@pytest.mark.parametrize("after", AFTERS, ids=lambda after: ",".join(after) or "nothing")
@pytest.mark.parametrize("bare", [False, True])
def test_each_form_of_a_patch_brings_the_same(form: Form, after: dict[str, str | None], bare: bool) -> None:
    """The stand-in carries out patches by an engine of its own."""
    held = {"userName": "ana"} if bare else {k: v for k, v in USER_HELD.items() if k not in ("id", "meta", "schemas")}
    wanted = changes(after, ATTRIBUTES, text=False)
    body = patch(held, wanted, form)
    expected = applied(held, wanted)
    if body is None:
        assert expected == held
        return
    taken = {"value": "whole", "keyed": "keyed"}.get(form, "any")
    result = patched(held, json.loads(json.dumps(body)), taken)
    for name in after:
        path, attribute = family(name)
        assert shown(result, path, attribute.type) == shown(expected, path, attribute.type) == after[name]
    untouched = set(NAMES) - after.keys()
    for name in untouched:
        path, attribute = family(name)
        assert shown(result, path, attribute.type) == shown(held, path, attribute.type)
    assert patch(result, wanted, form) is None


def test_the_least_is_sent() -> None:
    wanted = changes({"name.givenName": "Ana", "name.familyName": "Ito", "active": "true"}, ATTRIBUTES, text=False)
    body = patch(USER_HELD, wanted, "paths")
    assert body is not None
    assert body["Operations"] == [{"op": "replace", "path": "name.familyName", "value": "Ito"}]


def test_an_element_that_is_not_there_is_added_whole() -> None:
    wanted = changes({WORK: "a@example.com", CITY: "Perth"}, ATTRIBUTES, text=False)
    body = patch({"userName": "ana"}, wanted, "paths")
    assert body is not None
    assert body["Operations"] == [
        {"op": "add", "path": "emails", "value": [{"type": "work", "primary": True, "value": "a@example.com"}]},
        {"op": "add", "path": "addresses", "value": [{"type": "work", "locality": "Perth"}]},
    ]


def test_access_comes_first() -> None:
    wanted = changes({"title": "x", "active": "false"}, ATTRIBUTES, text=False)
    assert [str(change.path) for change in wanted] == ["active", "title"]


def test_booleans_as_text_are_so_everywhere() -> None:
    names = ("active", WORK)
    wanted = changes(dict(zip(names, ("true", "a@example.com"), strict=True)), ATTRIBUTES, text=True)
    assert applied({}, wanted) == {
        "active": "True",
        "emails": [{"type": "work", "primary": "True", "value": "a@example.com"}],
    }


def test_a_replacement_keeps_what_nobody_manages() -> None:
    body = replacement(applied(USER_HELD, changes({"title": "Boss"}, ATTRIBUTES, text=False)))
    assert body == {
        **{name: value for name, value in USER_HELD.items() if name != "meta"},
        "title": "Boss",
        "schemas": [USER, ENTERPRISE],
    }
    assert schemas_of({"schemas": [USER.upper()]}) == [USER.upper()]


def test_the_element_without_a_choice_is_the_primary_one() -> None:
    path, attribute = family("emails.value")
    assert shown(USER_HELD, path, attribute.type) == "h@example.com"
    wanted = changes({"emails.value": "new@example.com"}, {"emails.value": attribute}, text=False)
    result = applied(USER_HELD, wanted)
    assert result["emails"][0] == {"type": "home", "value": "new@example.com", "primary": True}
    assert result["emails"][1] == USER_HELD["emails"][1]
    body = patch(USER_HELD, wanted, "paths")
    assert body is not None
    assert body["Operations"] == [{"op": "replace", "path": "emails", "value": result["emails"]}]


def test_names_ignore_case() -> None:
    held = {"USERNAME": "ana", "Emails": [{"Type": "WORK", "Value": "a@example.com"}]}
    assert shown(held, parse(WORK), Type.EMAIL) == "a@example.com"
    after = applied(held, changes({"userName": "ann", WORK: "b@example.com"}, ATTRIBUTES, text=False))
    assert after == {"USERNAME": "ann", "Emails": [{"Type": "WORK", "Value": "b@example.com"}]}


def test_a_value_of_another_type_is_named_by_its_path() -> None:
    with pytest.raises(InvalidValueError, match="active"):
        shown({"active": "perhaps"}, parse("active"), Type.BOOLEAN)
    assert Attribute("x").type is Type.TEXT
