"""Filters: what clients send is read, what is none is refused by name, and what they mean holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.web.scim.errors import ScimError
from provisioner.web.scim.filters import matches, read_filter
from provisioner.web.scim.schema import UserSchema

SCHEMA = UserSchema({"urn:acme:User": ("badge",)})
ADA: dict[str, Any] = {
    "id": "1",
    "externalId": "E-1",
    "userName": "Ada@Example.com",
    "active": True,
    "name": {"familyName": "Ng"},
    "emails": [{"value": "ada@work.com", "type": "work", "primary": True}, {"value": "ada@home.com", "type": "home"}],
    ENTERPRISE: {"department": "Sales", "manager": {"value": "9"}},
    "urn:acme:User": {"badge": "77"},
    "meta": {"resourceType": "User", "lastModified": "2026-03-04T05:06:07.000Z"},
}


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "ada@example.com"',
        'USERNAME EQ "ADA@EXAMPLE.COM"',
        'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada@example.com"',
        'externalId eq "E-1"',
        "active eq true",
        'active eq "True"',
        "active pr",
        "not (active eq false)",
        'name.familyName sw "n" and userName co "EXAMPLE"',
        'emails.value eq "ada@home.com"',
        'emails eq "ada@home.com"',
        'emails[type eq "work" and value co "@work"]',
        'emails[type eq "work"].value eq "ada@work.com"',
        'emails[type eq "work" and primary eq true].value eq "ada@work.com"',
        f'{ENTERPRISE}:department eq "sales"',
        f'{ENTERPRISE}:manager.value eq "9"',
        f'{ENTERPRISE}:manager eq "9"',
        'urn:acme:User:badge eq "77"',
        'title eq "x" or externalId eq "E-1" and active eq true',
        '(title pr or externalId eq "E-1") and active eq true',
        'meta.lastModified gt "2026-03-04T05:06:06Z"',
        'meta.lastModified le "2026-03-04T15:06:07+10:00"',
        'meta.resourceType eq "User"',
        'userName ew "com" and userName ge "a" and userName lt "b"',
        'title ne "x"',
        "title eq null",
        'userName ne "bob"',
        'name.familyName eq "N\\u0067"',
    ],
)
def test_it_holds(text: str) -> None:
    assert matches(read_filter(text, SCHEMA), ADA)


@pytest.mark.parametrize(
    "text",
    [
        'externalId eq "e-1"',
        'userName eq "bob"',
        "active eq false",
        'active eq "no"',
        "title pr",
        'title eq "x"',
        'emails[type eq "home" and value co "@work"]',
        'emails[type eq "home"].value eq "ada@work.com"',
        'title eq "x" and externalId eq "E-1" or active eq false',
        'meta.lastModified gt "2026-03-04T05:06:07Z"',
        "userName ne null and active eq false",
        "not (userName pr)",
        'userName gt "zzz"',
    ],
)
def test_it_does_not(text: str) -> None:
    assert not matches(read_filter(text, SCHEMA), ADA)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "userName",
        "userName eq",
        'eq "x"',
        'userName is "x"',
        "userName eq x",
        'userName eq "x',
        'userName eq "x" and',
        'userName eq "x" title pr',
        '(userName eq "x"',
        'userName eq "x")',
        "shoeSize pr",
        "name.shoeSize pr",
        "emails[type",
        'emails[shoe eq "x"]',
        'emails[type eq "x"].shoe eq "y"',
        'emails[emails[type eq "x"]]',
        'userName[type eq "x"]',
        "userName eq {}",
        "userName eq [1]",
        f"{'(' * 60}userName pr{')' * 60}",
        f'userName eq "{"x" * 5000}"',
        '"userName" eq "x"',
        "[userName pr]",
        ENTERPRISE + " pr",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ScimError) as caught:
        read_filter(text, SCHEMA)
    assert (caught.value.status, caught.value.scim_type) == (400, "invalidFilter")


def _tried(text: str) -> str | None:
    """How a filter is refused, or None; what is read can be tried on somebody."""
    try:
        matches(read_filter(text, SCHEMA), ADA)
    except ScimError as exc:
        return exc.scim_type
    return None


@given(st.text(max_size=80))
def test_whatever_comes_is_a_filter_or_refused(text: str) -> None:
    assert _tried(text) in (None, "invalidFilter")


_WORDS = st.sampled_from(
    [
        *("userName", "emails", "emails.type", "active", "name", "and", "or", "not", "(", ")", "[", "]", ".value"),
        *("eq", "pr", "ne", "true", "null", "7", "type", "value", '"ada"'),
    ]
)


@given(st.lists(_WORDS, max_size=12).map(" ".join))
def test_words_of_filters_in_any_order_are_a_filter_or_refused(text: str) -> None:
    assert _tried(text) in (None, "invalidFilter")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_value_is_found_whatever_signs_it_holds(value: str) -> None:
    quoted = '"' + "".join(f"\\u{ord(s):04x}" if ord(s) < 32 or s in '"\\' else s for s in value) + '"'
    found = read_filter(f"externalId eq {quoted}", SCHEMA)
    assert matches(found, {"externalId": value})
    assert not matches(found, {"externalId": f"{value}x"})
