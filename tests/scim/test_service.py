"""What a client of SCIM meets: Users, filters, pages, versions, errors, discovery, the token."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.model.scim_names import SCIM_ENTERPRISE_USER as ENTERPRISE
from provisioner.model.scim_names import SCIM_USER as USER
from provisioner.web.scim.routes import LARGEST, MEDIA_TYPE
from tests.scim.conftest import ROSTER, TOKEN, WEB_TOKEN, Place, user


def _error(answer: Any) -> tuple[int, str | None]:
    body = answer.json()
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert body["status"] == str(answer.status_code)
    assert body["detail"].endswith(".")
    return answer.status_code, body.get("scimType")


def test_the_life_of_a_user(place: Place) -> None:
    answer = place.ask("POST", "/Users", user(1))
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.headers["location"] == made["meta"]["location"] == f"http://testserver/scim/v2/Users/{made['id']}"
    assert answer.headers["etag"] == made["meta"]["version"] == 'W/"1"'
    assert {name: made[name] for name in user(1)} == user(1)

    here = f"/Users/{made['id']}"
    assert place.ask("GET", here).json() == made
    changed = place.patch(made["id"], "Replace", "active", "False").json()
    assert (changed["active"], changed["meta"]["version"]) == (False, 'W/"2"')
    whole = place.ask("PUT", here, user(1, title="Lead", nonsense=1)).json()
    assert (whole["title"], whole["active"], whole["meta"]["version"]) == ("Lead", True, 'W/"3"')
    assert whole["meta"]["created"] == made["meta"]["created"]
    assert "nonsense" not in whole
    # What changes nothing is no new version, and asks for no run
    assert place.ask("PUT", here, user(1, title="Lead")).json()["meta"] == whole["meta"]
    gone = place.ask("DELETE", here)
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("GET", "PUT", "DELETE"):
        assert _error(place.ask(method, here, user(1) if method == "PUT" else None)) == (404, None)
    assert place.ask("GET", "/Users").json()["totalResults"] == 0


def test_a_password_is_kept_nowhere(place: Place) -> None:
    made = place.ask("POST", "/Users", user(1, password="a-secret-word")).json()
    place.patch(made["id"], "replace", None, {"password": "a-secret-word", "title": "x"})
    assert "password" not in place.ask("GET", f"/Users/{made['id']}").json()
    assert not any(b"a-secret-word" in content for content in place.contents.dumps().values())


def test_who_is_the_same(place: Place) -> None:
    id_ = place.push(1)
    assert _error(place.ask("POST", "/Users", user(2, userName="U1@EXAMPLE.com"))) == (409, "uniqueness")
    same_key = place.ask("POST", "/Users", user(2, externalId=" e1 "))
    assert _error(same_key) == (409, "uniqueness")
    assert "roster.key (employee_id)" in same_key.json()["detail"]
    other = place.push(2)
    assert _error(place.patch(other, "replace", "userName", "u1@example.com")) == (409, "uniqueness")
    assert _error(place.patch(other, "replace", "externalId", "E1")) == (409, "uniqueness")
    # Whoever was deleted is in nobody's way, and comes back as who they were
    place.ask("DELETE", f"/Users/{id_}")
    assert place.push(1) != id_
    assert place.ask("GET", "/Users").json()["totalResults"] == 2


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"userName": "x"}, (400, "invalidValue")),
        (user(1, userName=None), (400, "invalidValue")),
        (user(1, schemas=["urn:nothing"]), (400, "invalidSyntax")),
        (user(1, emails=[{"value": "no address", "type": "work"}]), (400, "invalidValue")),
        (user(1, emails=[{"value": "a@example.com", "primary": True}] * 2), None),
        (user(1, active="perhaps"), (400, "invalidValue")),
        (user(1, name="Ada"), (400, "invalidValue")),
        (user(1, externalId="x" * 300), (400, "invalidValue")),
        ([], (400, "invalidSyntax")),
        ("x", (400, "invalidSyntax")),
    ],
)
def test_what_no_run_would_believe_is_refused(place: Place, body: Any, refused: tuple[int, str] | None) -> None:
    answer = place.ask("POST", "/Users", body)
    if refused is None:
        assert answer.status_code == 201
    else:
        assert _error(answer) == refused
        assert place.contents.names() == set()


def test_a_refusal_names_the_column(place: Place) -> None:
    bad = place.ask("POST", "/Users", user(1, emails=[{"value": "no address", "type": "work"}]))
    assert bad.json()["detail"] == "The row of this person is not believed: work_email: it is no email address."
    assert "employee_id" in place.ask("POST", "/Users", {"userName": "x"}).json()["detail"]
    # Whoever leaves needs no more than their key
    assert (
        place.ask("POST", "/Users", user(1, active=False, emails=[{"value": "?", "type": "work"}])).status_code == 201
    )


def test_a_refused_change_changes_nothing(place: Place) -> None:
    id_ = place.push(1)
    before = place.contents.dumps()
    assert _error(place.patch(id_, "replace", 'emails[type eq "work"].value', "?")) == (400, "invalidValue")
    assert _error(place.patch(id_, "remove", "externalId")) == (400, "invalidValue")
    assert place.contents.dumps() == before


def test_settings_that_do_not_fit_lose_nothing(make_place: Callable[..., Place]) -> None:
    """A name wrong in the mapping is the operator's to correct; the client would not push again."""
    place = make_place(reading={"employed": "no_such_column = 'x'"})
    place.push(1)
    assert place.ask("GET", "/Users").json()["totalResults"] == 1
    place = make_place(reading={"key": "no_such_column"})
    assert _error(place.ask("POST", "/Users", user(2))) == (500, None)


def test_pages_and_filters(place: Place) -> None:
    ids = [place.push(number) for number in range(5)]
    whole = place.ask("GET", "/Users").json()
    assert [one["id"] for one in whole["Resources"]] == ids
    page = place.ask("GET", "/Users?startIndex=2&count=2").json()
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 2)
    assert [one["id"] for one in page["Resources"]] == ids[1:3]
    assert place.ask("GET", "/Users?startIndex=0&count=0").json()["Resources"] == []
    assert place.ask("GET", "/Users?startIndex=9").json()["Resources"] == []

    def found(text: str, **more: str) -> list[str]:
        answer = place.client.get(
            "/scim/v2/Users", params={"filter": text, **more}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["Resources"]]

    assert found('userName eq "U3@example.com"') == [ids[3]]
    assert found('externalId eq "E3"') == [ids[3]]
    assert found('externalId eq "e3"') == []
    assert found('externalId eq "E3" and active eq false') == []
    assert found(f'id eq "{ids[2]}"') == [ids[2]]
    assert found('id eq "nobody"') == found('userName eq "nobody"') == []
    assert found('userName sw "u" and not (externalId eq "E0")', startIndex="2", count="2") == ids[2:4]
    assert found('emails[type eq "work"].value eq "u4@example.com"') == [ids[4]]
    assert found("title pr") == ids
    assert _error(place.ask("GET", "/Users?filter=shoe%20pr")) == (400, "invalidFilter")
    assert _error(place.ask("GET", "/Users?count=many")) == (400, "invalidValue")
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 'externalId eq "E1"',
              "attributes": ["userName"]}  # fmt: skip
    for path in ("/Users/.search", "/.search"):
        one = place.ask("POST", path, search).json()["Resources"]
        assert one == [{"schemas": [USER, ENTERPRISE], "id": ids[1], "userName": "u1@example.com"}]
    assert place.ask("GET", "?filter=title%20pr&count=1").json()["totalResults"] == 5


def test_what_is_wanted_of_each(place: Place) -> None:
    id_ = place.push(1)
    some = place.ask("GET", f"/Users/{id_}?attributes=name.givenName").json()
    assert some == {"schemas": [USER, ENTERPRISE], "id": id_, "name": {"givenName": "Ada"}}
    assert "emails" not in place.ask("GET", "/Users?excludedAttributes=emails,groups").json()["Resources"][0]
    assert _error(place.ask("GET", f"/Users/{id_}?attributes=id&excludedAttributes=name")) == (400, "invalidValue")


def test_versions(place: Place) -> None:
    id_ = place.push(1)
    here = f"/Users/{id_}"
    assert place.ask("GET", here, If_None_Match='W/"1"').status_code == 304
    assert place.ask("PUT", here, user(1, title="x"), If_Match='W/"1"').status_code == 200
    assert _error(place.ask("PUT", here, user(1, title="y"), If_Match='W/"1"')) == (412, None)
    assert _error(place.ask("DELETE", here, If_Match='W/"1", W/"7"')) == (412, None)
    assert place.ask("GET", here, If_None_Match='W/"1"').json()["title"] == "x"
    assert place.ask("PUT", here, user(1, title="z"), If_Match="*").status_code == 200
    assert place.ask("DELETE", here, If_Match='W/"1", W/"3"').status_code == 204


def test_discovery(place: Place) -> None:
    provider = place.ask("GET", "/ServiceProviderConfig").json()
    assert [provider[name]["supported"] for name in ("patch", "bulk", "filter", "sort", "etag")] == [
        True, False, True, False, True,
    ]  # fmt: skip
    kinds = place.ask("GET", "/ResourceTypes").json()
    assert [one["id"] for one in kinds["Resources"]] == ["User"]
    assert place.ask("GET", "/ResourceTypes/User").json() == kinds["Resources"][0]
    schemas = place.ask("GET", "/Schemas").json()
    assert {one["id"] for one in schemas["Resources"]} == {USER, ENTERPRISE}
    assert place.ask("GET", f"/Schemas/{USER}").json()["name"] == "User"
    assert _error(place.ask("GET", "/Schemas/nothing")) == (404, None)
    assert _error(place.ask("GET", "/Schemas?filter=id%20pr")) == (403, None)
    names = {one["name"] for one in schemas["Resources"][0]["attributes"]}
    assert {"userName", "emails", "active"} <= names
    assert not {"password", "groups", "id", "meta"} & names


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", "/Groups", 404), ("POST", "/Groups", 404), ("GET", "/nothing/at/all", 404)),
        *(("GET", "/Me", 501), ("POST", "/Bulk", 501)),
        *(("DELETE", "/Users", 405), ("POST", "/Schemas", 405), ("PATCH", "/ServiceProviderConfig", 405)),
        *(("POST", "/Users/some-id", 405), ("PUT", "", 404)),
    ],
)
def test_what_is_not_offered(place: Place, method: str, path: str, status: int) -> None:
    assert _error(place.ask(method, path)) == (status, None)


@pytest.mark.parametrize("token", [None, "wrong", f"{TOKEN}x", TOKEN[:-1], WEB_TOKEN, "é"])
def test_only_the_token_opens_it(place: Place, token: str | None) -> None:
    for method, path in (("GET", "/Users"), ("POST", "/Users"), ("GET", "/nothing"), ("GET", "/Schemas")):
        headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
        answer = place.client.request(
            method, f"/scim/v2{path}", json=user(1) if method == "POST" else None, headers=headers
        )
        assert _error(answer) == (401, None)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert place.contents.names() == set()
    # And it opens nothing else
    assert place.client.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401


def test_a_body_may_not_be_of_any_size_or_sort(place: Place) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": MEDIA_TYPE}
    large = json.dumps(user(1, title="x" * LARGEST)).encode()
    assert _error(place.client.post("/scim/v2/Users", content=large, headers=headers)) == (413, None)
    pieces = (large[at : at + 65536] for at in range(0, len(large), 65536))
    assert _error(place.client.post("/scim/v2/Users", content=pieces, headers=headers)) == (413, None)
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        assert _error(place.client.post("/scim/v2/Users", content=content, headers=headers)) == (400, "invalidSyntax")
    headers["Content-Type"] = "text/xml"
    assert _error(place.client.post("/scim/v2/Users", content=b"<a/>", headers=headers)) == (415, None)
    assert place.contents.names() == set()


def test_where_a_file_is_read_there_is_no_such_service(make_place: Callable[..., Place]) -> None:
    place = make_place(reading={**ROSTER, "url": "roster.csv", "rename": {}})
    for path in ("/Users", "", "/ServiceProviderConfig"):
        answer = place.ask("GET", path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_file_cannot_be_pushed_besides(place: Place) -> None:
    headers = {"Authorization": f"Bearer {WEB_TOKEN}"}
    answer = place.client.put("/api/roster", content=b"a,b\n1,2\n", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "one_by_one")


def test_without_redis_nothing_is_taken(place: Place, make_place: Callable[..., Place]) -> None:
    lost = make_place(redis="redis://127.0.0.1:9/0")
    answer = lost.ask("POST", "/Users", user(1))
    assert _error(answer) == (503, None)
    assert answer.headers["retry-after"] == "5"
    assert place.contents.names() == set()
