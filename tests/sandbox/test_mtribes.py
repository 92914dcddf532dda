"""The stand-in of mtribes keeps to what is known and to the assumed contract."""

from typing import Any

import pytest

from provisioner.sandbox import MTRIBES_ORG_ID, MTRIBES_SPACE_ID, MTRIBES_TOKEN
from tests.sandbox.vendor import Vendor

SPACE = f"/v1.0/spaces/{MTRIBES_SPACE_ID}"
USERS = f"{SPACE}/users"


def ingest(vendor: Vendor, *users: Any) -> int:
    return vendor.post(USERS, {"users": list(users)}).status_code


def test_the_token_is_a_bearer_token(mtribes: Vendor) -> None:
    for wrong in (f"Token {MTRIBES_TOKEN}", MTRIBES_TOKEN, "Bearer other"):
        assert mtribes.client.get("/v1.0/orgs", headers={"Authorization": wrong}).status_code == 401


def test_organisations_lead_to_the_space(mtribes: Vendor) -> None:
    assert mtribes.get("/v1.0/orgs").json()["orgs"][0]["id"] == MTRIBES_ORG_ID
    assert mtribes.get(f"/v1.0/orgs/{MTRIBES_ORG_ID}/spaces").json()["spaces"][0]["id"] == MTRIBES_SPACE_ID
    assert mtribes.status("/v1.0/orgs/other/spaces") == 404
    assert mtribes.status("/v1.0/spaces/other/users") == 404


def test_unknown_users_are_added_and_known_ones_updated_field_by_field(mtribes: Vendor) -> None:
    assert ingest(mtribes, {"id": "1", "name": "A", "tags": ["department/sales", "vip"]}, {"id": "2"}) == 202
    assert ingest(mtribes, {"id": "1", "email": "a@example.com", "tags": ["employment/left"]}) == 202
    users = mtribes.get(USERS).json()["users"]
    assert users == [
        {"id": "1", "tags": ["employment/left"], "name": "A", "email": "a@example.com"},
        {"id": "2", "tags": []},
    ]
    mtribes.options(tags_merge=True)
    assert ingest(mtribes, {"id": "1", "tags": ["vip"]}) == 202
    assert mtribes.state()["accounts"][0]["tags"] == ["employment/left", "vip"]


@pytest.mark.parametrize(
    "row",
    [
        {"name": "A"}, {"id": ""}, {"id": 5}, {"id": "good"}, "text", {"id": "x", "tags": "a;b"},
        {"id": "x", "tags": ["Department/sales"]}, {"id": "x", "tags": ["a/b/c/d"]}, {"id": "x", "tags": ["a//b"]},
        {"id": "x", "tags": [""]}, {"id": "x", "tags": ["a/"]}, {"id": "x", "name": {"first": "A"}},
    ],
)  # fmt: skip
def test_one_bad_row_refuses_the_batch_and_is_named(mtribes: Vendor, row: Any) -> None:
    response = mtribes.post(USERS, {"users": [{"id": "good"}, row]})
    assert response.status_code == 400
    assert "users[1]" in response.json()["message"]
    assert mtribes.state()["accounts"] == []


def test_an_ingest_is_bounded_and_enveloped(mtribes: Vendor) -> None:
    assert ingest(mtribes, *({"id": str(number)} for number in range(101))) == 400
    assert ingest(mtribes) == 400
    assert mtribes.post(USERS, {"id": "1"}).status_code == 400
    assert ingest(mtribes, *({"id": str(number)} for number in range(100))) == 202
    mtribes.options(bare_object=True)
    assert mtribes.post(USERS, {"id": "one"}).status_code == 202
    assert ingest(mtribes, {"id": "1"}) == 400


def test_lists_are_paged_and_may_be_bare(mtribes: Vendor) -> None:
    mtribes.seed(*({"id": str(number)} for number in range(250)))
    mtribes.options(bare_lists=True)
    pages = [mtribes.get(USERS, page=page, page_size=1000).json() for page in range(1, 5)]
    assert [len(page) for page in pages] == [100, 100, 50, 0]
    assert len(mtribes.get(USERS).json()) == 50
    assert mtribes.status(USERS, limit=5) == 400


def test_tribes_export_their_users(mtribes: Vendor) -> None:
    ingest(mtribes, {"id": "1", "tags": ["department/sales/apac"]}, {"id": "2", "tags": ["department/salesforce"]})
    tribes = mtribes.get(f"{SPACE}/tribes").json()["tribes"]
    sales = next(tribe["id"] for tribe in tribes if tribe["name"] == "Sales")
    assert [user["id"] for user in mtribes.get(f"{SPACE}/tribes/{sales}/users").json()["users"]] == ["1"]
    ingest(mtribes, {"id": "1", "tags": []})
    assert mtribes.get(f"{SPACE}/tribes/{sales}/users").json()["users"] == []
    assert mtribes.status(f"{SPACE}/tribes/other/users") == 404


@pytest.mark.parametrize("status", [404, 405])
def test_listing_users_may_be_impossible(mtribes: Vendor, status: int) -> None:
    mtribes.options(users_listing=status)
    assert mtribes.status(USERS) == status
    assert ingest(mtribes, {"id": "1"}) == 202


def test_version_2_has_environments(mtribes: Vendor) -> None:
    v2 = f"/v2/spaces/{MTRIBES_SPACE_ID}/environments/production/users"
    assert mtribes.status(v2) == 404
    mtribes.options(version="v2")
    assert mtribes.post(v2, {"users": [{"id": "1"}]}).status_code == 202
    assert mtribes.get(v2).json()["users"] == [{"id": "1", "tags": []}]
    assert mtribes.status(v2.replace("production", "other")) == 404
    assert mtribes.status(USERS) == 404
