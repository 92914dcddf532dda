"""The stand-in of habitate is as strict as its API page."""

from typing import Any

import httpx
import pytest

from provisioner.sandbox import HABITATE_KEY
from tests.sandbox.vendor import Vendor

USERS = "/api/v1/users"


def create(vendor: Vendor, number: int = 1, **more: Any) -> dict[str, Any]:
    body = {"first_name": f"First{number}", "email": f"p{number}@example.com", **more}
    response = vendor.post(USERS, body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def listing(vendor: Vendor, **query: str | int) -> list[list[int]]:
    pages: list[list[int]] = []
    while True:
        response = vendor.get(USERS, page=len(pages) + 1, **query)
        assert response.status_code == 200
        pages.append([item["user_id"] for item in response.json()])
        if response.headers["has_more"] == "0":
            return pages


def test_a_wrong_key_is_forbidden_in_the_error_form(habitate: Vendor) -> None:
    for auth in (("provisioner", "wrong"), ("", HABITATE_KEY)):
        response = habitate.client.get(USERS, auth=auth)
        assert response.status_code == 403
        assert set(response.json()) == {"id", "status", "time", "message"}
        assert response.json()["status"] == "FORBIDDEN"
        assert response.json()["message"].startswith("ERR_V1█")
    bearer = httpx.get(f"{habitate.client.base_url}{USERS[1:]}", headers={"Authorization": "Basic !"}, trust_env=False)
    assert bearer.status_code == 403
    assert habitate.client.get(USERS, auth=("anyone", HABITATE_KEY)).status_code == 200


def test_headers_are_required(habitate: Vendor) -> None:
    assert habitate.client.get(USERS, headers={"User-Agent": ""}).status_code == 400
    assert habitate.client.post(USERS, content=b"{}").status_code == 400


def test_pages_may_be_short_and_everyone_is_listed_once(habitate: Vendor) -> None:
    habitate.seed(*({"user_id": number, "email": f"p{number}@example.com"} for number in range(2, 301)))
    pages = listing(habitate, page_size=50, order="asc")
    assert [len(page) for page in pages] == [50, 50, 43, 50, 50, 43, 14]
    assert [user_id for page in pages for user_id in page] == list(range(1, 301))
    newest_first = listing(habitate, page_size=13)
    assert [user_id for page in newest_first for user_id in page] == list(range(300, 0, -1))
    by_name = listing(habitate, page_size=50, sort_by="name", order="asc")
    assert sorted(user_id for page in by_name for user_id in page) == list(range(1, 301))
    assert len(habitate.get(USERS).json()) == 10


def test_a_full_last_page_may_say_that_there_might_be_more(habitate: Vendor) -> None:
    habitate.options(has_more_might=True, short_every=0)
    habitate.seed(*({"user_id": number, "email": f"p{number}@example.com"} for number in range(2, 21)))
    assert [len(page) for page in listing(habitate, page_size=10)] == [10, 10, 0]


@pytest.mark.parametrize(
    "query",
    [
        {"page_size": 51}, {"page_size": 0}, {"page": 0}, {"sort_by": "email"}, {"order": "up"}, {"status": "1"},
        {"status": "10,6"}, {"limit": 5},
    ],
)  # fmt: skip
def test_a_wrong_query_is_refused(habitate: Vendor, query: dict[str, Any]) -> None:
    assert habitate.client.get(USERS, params=query).status_code == 400


def test_forms_hide_what_the_page_hides(habitate: Vendor) -> None:
    made = create(habitate, last_name="Last", username="First1", lang="fr", timezone="Australia/Sydney")
    assert made["msid"] == f"{made['user_id']}.{made['sid']}"
    assert (made["role_id"], made["user_status"], made["email"]) == (4, "10", "p1@example.com")
    item = habitate.get(USERS).json()[0]
    assert set(item) == {"user_id", "sid", "msid", "username", "first_name", "role_id", "user_status", "created_at"}
    assert item["user_status"] == 10
    details = habitate.get(f"{USERS}/{made['msid']}").json()
    assert (details["email"], details["last_name"], details["is_bot"]) == ("p1@example.com", "Last", False)
    assert {"lang", "timezone", "middle_name"}.isdisjoint(details)
    habitate.options(hide_email=True)
    assert "email" not in habitate.get(f"{USERS}/{made['msid']}").json()


def test_a_user_id_alone_needs_the_list_permission(habitate: Vendor) -> None:
    made = create(habitate)
    assert habitate.status(f"{USERS}/{made['user_id']}") == 200
    assert habitate.status(f"{USERS}/{made['user_id']}.wrong") == 404
    assert habitate.put(f"{USERS}/{made['user_id']}", {"first_name": "x"}).status_code == 404
    habitate.options(can_list=False)
    assert habitate.status(f"{USERS}/{made['user_id']}") == 404
    assert habitate.status(f"{USERS}/{made['msid']}") == 200
    assert habitate.status(USERS) == 403


@pytest.mark.parametrize(
    "body",
    [
        {"email": "a@example.com"},
        {"first_name": "", "email": "a@example.com"},
        {"first_name": "A"},
        {"first_name": "A", "email": "nowhere"},
        {"first_name": "A", "email": "a@example.com", "username": "a_b"},
        {"first_name": "A", "email": "a@example.com", "username": "a b"},
        {"first_name": "A", "email": "a@example.com", "timezone": "Mars/Base"},
        {"first_name": "A", "email": "a@example.com", "lang": "English"},
        {"first_name": "A", "email": "a@example.com", "role_id": 3},
    ],
)
def test_a_create_is_refused(habitate: Vendor, body: dict[str, Any]) -> None:
    assert habitate.post(USERS, body).status_code == 400
    assert len(habitate.state()["accounts"]) == 1


def test_duplicates_conflict_in_any_spelling(habitate: Vendor) -> None:
    create(habitate, username="Bilbo")
    for more in ({"email": "P1@Example.com"}, {"email": "x@example.com", "username": "bILBO"}):
        response = habitate.post(USERS, {"first_name": "A", **more})
        assert (response.status_code, response.json()["status"]) == (409, "CONFLICT")
    habitate.options(allow_duplicates=True)
    assert create(habitate)["user_id"] == 3


def test_an_update_clears_what_it_leaves_out(habitate: Vendor) -> None:
    made = create(habitate, last_name="Last", username="First1", lang="fr", timezone="Australia/Sydney")
    path = f"{USERS}/{made['msid']}"
    answer = habitate.put(path, {"first_name": "New", "username": "new_name"})
    assert answer.status_code == 200
    assert {"email", "lang", "timezone", "last_name"}.isdisjoint(answer.json())
    account = habitate.state()["accounts"][1]
    assert (account["username"], account["lang"], account["timezone"]) == ("new_name", "en", "UTC")
    assert "last_name" not in account
    for wrong in (
        {"last_name": "x"},
        {"first_name": "A", "email": "b@example.com"},
        {"first_name": "A", "username": "a-b"},
    ):
        assert habitate.put(path, wrong).status_code == 400
    taken = create(habitate, 2, username="other")
    assert habitate.put(path, {"first_name": "A", "username": "OTHER"}).status_code == 409
    assert habitate.put(f"{USERS}/{taken['msid']}", {"first_name": "A", "username": "First1"}).status_code == 200


def test_a_role_changes_by_action_101_only(habitate: Vendor) -> None:
    path = f"{USERS}/{create(habitate)['msid']}"
    assert habitate.patch(path, {"action": 101, "data": {"role_id": 3}, "details": "moved"}).status_code == 200
    assert habitate.get(path).json()["role_id"] == 3
    for wrong in (
        {"action": 102, "data": {"role_id": 3}},
        {"action": 101, "data": {"role_id": 99}},
        {"action": 101, "data": {"role_id": "4"}},
        {"action": 101, "data": {}},
        {"action": 101, "data": {"role_id": 4}, "status": 0},
        {"data": {"role_id": 4}},
    ):
        assert habitate.patch(path, wrong).status_code == 400
    roles = habitate.get("/api/v1/roles").json()
    assert {role["role_name"] for role in roles if role["is_default"]} == {"Moderator", "Member"}


def test_board_members_change_all_or_nothing(habitate: Vendor) -> None:
    one, two = create(habitate, 1)["msid"], create(habitate, 2)["msid"]
    boards = {board["board_name"]: board for board in habitate.get("/api/v1/boards").json()}
    sales = f"/api/v1/boards/{boards['Sales']['board_id']}/members"
    assert habitate.put(sales, {"member_changes": {one: True, two: True}}).status_code == 200
    assert habitate.put(sales, {"member_changes": {two: False}}).status_code == 200
    assert habitate.state()["boards"]["Sales"] == [one]
    for wrong in ({two: True, "99.x": True}, {two: "true"}, {}):
        assert habitate.put(sales, {"member_changes": wrong}).status_code == 400
    public = next(board for board in boards.values() if not board["is_private"])
    path = f"/api/v1/boards/{public['board_id']}/members"
    assert habitate.put(path, {"member_changes": {one: True}}).status_code == 400
    assert habitate.put("/api/v1/boards/77/members", {"member_changes": {one: True}}).status_code == 404
    assert habitate.status(sales) == 405
    assert habitate.state()["boards"]["Sales"] == [one]


def test_the_caller_is_a_bot_in_the_list(habitate: Vendor) -> None:
    myself = habitate.get(f"{USERS}/me").json()
    assert myself["is_bot"] is True
    assert [item["msid"] for item in habitate.get(USERS).json()] == [myself["msid"]]
    assert habitate.get(f"{USERS}/{myself['msid']}").json()["is_bot"] is True
    assert habitate.client.delete(f"{USERS}/{myself['msid']}").status_code == 405
    assert habitate.status("/api/v1/nothing") == 404


def test_statuses_are_listed_apart(habitate: Vendor) -> None:
    habitate.options(created_status=6, status_names=True)
    made = create(habitate)
    assert made["user_status"] == "UNVERIFIED"
    assert [item["user_id"] for item in habitate.get(USERS, status=6).json()] == [made["user_id"]]
    assert [item["user_id"] for item in habitate.get(USERS).json()] == [1]
    habitate.seed({"user_id": made["user_id"], "user_status": -3})
    assert listing(habitate, status=6) == [[]]
    assert listing(habitate, status=-3) == [[made["user_id"]]]
    habitate.switchboard.remove(habitate.name, made["msid"])
    assert create(habitate)["user_id"] == 3


def test_one_member_may_be_forbidden(habitate: Vendor) -> None:
    made = create(habitate)
    habitate.options(forbidden=[made["msid"]])
    assert habitate.put(f"{USERS}/{made['msid']}", {"first_name": "A"}).status_code == 403
    assert habitate.status(f"{USERS}/me") == 200
