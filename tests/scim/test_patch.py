"""PATCH: the forms that Microsoft Entra, Okta and the RFC have, and that what cannot be done changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.model.scim_names import SCIM_PATCH_OP as PATCH_OP
from provisioner.model.scim_names import SCIM_USER as USER
from provisioner.web.scim.errors import ScimError
from provisioner.web.scim.patch import patched
from provisioner.web.scim.resource import read_resource
from provisioner.web.scim.schema import UserSchema

SCHEMA = UserSchema({"urn:acme:User": ("badge",)})
ADA: dict[str, Any] = {
    "userName": "ada",
    "active": True,
    "name": {"familyName": "Ng", "givenName": "Ada"},
    "emails": [{"value": "ada@work.com", "type": "work", "primary": True}, {"value": "ada@home.com", "type": "home"}],
    ENTERPRISE: {"department": "Sales"},
}


def _patched(*operations: Any, of: dict[str, Any] = ADA) -> dict[str, Any]:
    before = copy.deepcopy(of)
    found = patched(of, {"schemas": [PATCH_OP], "Operations": list(operations)}, SCHEMA)
    assert of == before
    return found


def _op(op: str, path: str | None = None, value: Any = None) -> dict[str, Any]:
    return {"op": op, **({"path": path} if path is not None else {}), **({"value": value} if value is not None else {})}


@pytest.mark.parametrize("value", [False, "False", "false", " FALSE "])
@pytest.mark.parametrize("op", ["replace", "Replace", "add", "Add"])
def test_somebody_is_deactivated(op: str, value: Any) -> None:
    assert _patched(_op(op, "active", value))["active"] is False
    assert _patched(_op(op, None, {"active": value}))["active"] is False
    assert _patched(_op(op, f"{USER}:active", value))["active"] is False
    assert _patched(_op(op, None, {"ACTIVE": value, "id": "1", "schemas": [USER]}))["active"] is False


def test_microsoft_entra() -> None:
    found = _patched(
        _op("Replace", "displayName", "Ada N."),
        _op("Add", "title", "Lead"),
        _op("Replace", 'emails[type eq "work"].value', "ada.ng@work.com"),
        _op("Add", 'phoneNumbers[type eq "mobile"].value', "+61 4"),
        _op("Add", 'addresses[type eq "work"].locality', "Sydney"),
        _op("Add", 'roles[primary eq "True"].value', "Learner"),
        _op("Replace", f"{ENTERPRISE}:department", "Finance"),
        _op("Add", f"{ENTERPRISE}:manager", "m1"),
        _op("Replace", "name.familyName", "Ng-Ito"),
        _op("Add", "urn:acme:User:badge", 7),
    )
    assert found["emails"][0] == {"value": "ada.ng@work.com", "type": "work", "primary": True}
    assert found["phoneNumbers"] == [{"type": "mobile", "value": "+61 4"}]
    assert found["addresses"] == [{"type": "work", "locality": "Sydney"}]
    assert found["roles"] == [{"primary": True, "value": "Learner"}]
    assert found[ENTERPRISE] == {"department": "Finance", "manager": {"value": "m1"}}
    assert found["name"] == {"familyName": "Ng-Ito", "givenName": "Ada"}
    assert found["urn:acme:User"] == {"badge": "7"}
    # Without a path the keys are paths
    flat = _patched(
        _op(
            "Add",
            None,
            {"name.givenName": "Adele", f"{ENTERPRISE}:department": "IT", 'emails[type eq "work"].value': "x"},
        )
    )
    assert (flat["name"]["givenName"], flat[ENTERPRISE]["department"], flat["emails"][0]["value"]) == (
        "Adele",
        "IT",
        "x",
    )
    assert _patched(_op("Add", f"{ENTERPRISE}:manager", [{"value": "m2", "$ref": "../Users/m2"}]))[ENTERPRISE][
        "manager"
    ] == {"value": "m2", "$ref": "../Users/m2"}


def test_okta() -> None:
    assert _patched({"op": "replace", "value": {"active": False}})["active"] is False
    whole = _patched(_op("replace", None, {"name": {"givenName": "A"}, ENTERPRISE: {"division": "North"}}))
    assert whole["name"] == {"familyName": "Ng", "givenName": "A"}
    assert whole[ENTERPRISE] == {"department": "Sales", "division": "North"}


def test_values_of_several() -> None:
    more = _patched(_op("add", "emails", [{"value": "new@x.com", "type": "other", "primary": True}]))
    assert [one.get("primary") for one in more["emails"]] == [False, None, True]
    assert _patched(_op("add", "emails", ADA["emails"][1]))["emails"] == ADA["emails"]
    assert _patched(_op("replace", "emails", [{"value": "only@x.com"}]))["emails"] == [{"value": "only@x.com"}]
    assert _patched(_op("remove", 'emails[type eq "home"]'))["emails"] == ADA["emails"][:1]
    assert _patched(_op("remove", 'emails[type eq "fax"]'))["emails"] == ADA["emails"]
    assert "emails" not in _patched(_op("remove", "emails[value pr]"))
    assert _patched(_op("remove", 'emails[type eq "work"].primary'))["emails"][0] == {
        "value": "ada@work.com",
        "type": "work",
    }
    moved = _patched(_op("replace", 'emails[type eq "home"].primary', True))
    assert [one["primary"] for one in moved["emails"]] == [False, True]
    both = _patched(_op("replace", "emails.type", "other"))
    assert {one["type"] for one in both["emails"]} == {"other"}


def test_what_is_taken_away_is_gone() -> None:
    assert "active" not in _patched(_op("remove", "active"))
    assert "name" not in _patched(_op("remove", "name.familyName"), _op("remove", "name.givenName"))
    assert ENTERPRISE not in _patched(_op("remove", f"{ENTERPRISE}:department"))
    assert ENTERPRISE not in _patched(_op("remove", ENTERPRISE))
    assert "name" not in _patched({"op": "replace", "path": "name", "value": None})
    assert "emails" not in _patched({"op": "replace", "path": "emails", "value": []})
    assert _patched({"op": "add", "path": "emails", "value": []}) == ADA
    assert _patched(_op("replace", "title", "")) == ADA


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        (_op("replace", "shoeSize", 7), "invalidPath"),
        (_op("replace", "urn:other:User:badge", 7), "invalidPath"),
        (_op("replace", "name.shoe", "x"), "invalidPath"),
        (_op("replace", "userName[type eq 1]", "x"), "invalidPath"),
        (_op("replace", 'emails[type eq "work"].shoe', "x"), "invalidPath"),
        (_op("replace", "emails[type", "x"), "invalidPath"),
        (_op("replace", "emails[type eq]", "x"), "invalidFilter"),
        (_op("replace", 'emails[value sw "zz"].type', "work"), "noTarget"),
        (_op("replace", "id", "x"), "mutability"),
        (_op("replace", "meta.created", "x"), "mutability"),
        (_op("remove"), "noTarget"),
        (_op("move", "title", "x"), "invalidSyntax"),
        (_op("replace", None, "x"), "invalidSyntax"),
        (_op("replace"), "invalidSyntax"),
        (_op("replace", "active", "perhaps"), "invalidValue"),
        (_op("replace", "title", {"x": 1}), "invalidValue"),
        (_op("replace", "title", True), "invalidValue"),
        (_op("replace", "title", "x" * 5000), "invalidValue"),
        (_op("replace", "title", "\x00"), "invalidValue"),
        (_op("replace", "title", "\ud800"), "invalidValue"),
        (_op("replace", "emails", [{"value": str(n)} for n in range(300)]), "tooMany"),
        (_op("add", "emails", [{"value": "a", "primary": True}, {"value": "b", "primary": True}]), "invalidValue"),
        (_op("remove", "userName"), "invalidValue"),
        (_op("replace", "userName", ""), "invalidValue"),
        (_op("replace", ENTERPRISE, "x"), "invalidValue"),
        ({"op": "replace", "path": 7, "value": "x"}, "invalidPath"),
        ("replace", "invalidSyntax"),
    ],
)
def test_what_cannot_be_done_is_refused_whole(operation: Any, scim_type: str) -> None:
    with pytest.raises(ScimError) as caught:
        _patched(_op("replace", "displayName", "changed"), operation)
    assert (caught.value.status, caught.value.scim_type) == (400, scim_type)


@pytest.mark.parametrize("body", [{}, {"Operations": []}, {"Operations": {}}, {"Operations": [1]}])
def test_what_is_no_patch_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ScimError):
        patched(ADA, body, SCHEMA)


_PATHS = st.sampled_from(
    [
        *("active", "title", "name", "name.givenName", "emails", "emails.value", 'emails[type eq "work"]', "roles"),
        *('emails[type eq "fax"].value', f"{ENTERPRISE}:manager", f"{ENTERPRISE}:department", ENTERPRISE, None, "meta"),
        *("emails[primary eq true].type", "userName", "externalId", "addresses"),
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "x", "true", "work"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["value", "type", "primary", "givenName", "active", "manager"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
_OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove"]), "path": _PATHS, "value": _VALUES}
)


@given(st.lists(_OPERATIONS, min_size=1, max_size=6))
def test_whatever_is_patched_is_a_whole_user_or_refused(operations: list[dict[str, Any]]) -> None:
    refused: tuple[int, bool] | None = None
    found: dict[str, Any] = {}
    try:
        found = _patched(*operations)
    except ScimError as exc:
        refused = (exc.status, bool(exc.scim_type))
    if refused:
        assert refused == (400, True)
        return
    # What came out is what would come in: nothing is there that the schema does not have
    assert read_resource(found, SCHEMA) == found


@given(st.lists(_OPERATIONS, min_size=1, max_size=4))
def test_the_same_replacements_twice_are_as_once(operations: list[dict[str, Any]]) -> None:
    replacing = [{**one, "op": "replace" if one["op"] == "add" else one["op"]} for one in operations]
    try:
        once = _patched(*replacing)
        twice = _patched(*replacing, of=once)
    except ScimError:
        return
    assert twice == once
