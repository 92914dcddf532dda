"""The stand-in of Traitly is as strict as its API page."""

import time
from typing import Any

import pytest

from provisioner.sandbox import TRAITLY_TOKEN
from tests.sandbox.vendor import Vendor

CUSTOMER = "/api/v1/customer"
EVENT = "/api/v1/event"
NEXT = "/api/v1/recommended-next-actions"


def customer(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"customer_id": f"c{number}", "name": f"N{number}", "email": f"p{number}@example.com", "plan": "P", **more}


def test_the_token_and_the_content_type_are_required(traitly: Vendor) -> None:
    for wrong in (f"Bearer {TRAITLY_TOKEN}", "Token other", TRAITLY_TOKEN):
        assert traitly.client.get(CUSTOMER, headers={"Authorization": wrong}).status_code == 401
    assert traitly.client.get(CUSTOMER, headers={"Content-Type": "text/plain"}).status_code == 415
    assert traitly.client.post(CUSTOMER, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_customer_is_saved_and_read_with_times_as_strings(traitly: Vendor) -> None:
    answer = traitly.post(CUSTOMER, customer(created_at=1493933699, custom_attributes={"role": "manager"})).json()
    assert answer["object"] == "customer"
    assert answer["created"].isdigit()
    assert answer["data"][0]["created_at"] == "1493933699"
    listed = traitly.get(CUSTOMER).json()
    assert listed["data"] == answer["data"]
    assert listed["retrieved"].isdigit()
    assert listed["metadata"] == {}


def test_an_update_loses_what_it_leaves_out(traitly: Vendor) -> None:
    first = customer(created_at=1493933699, custom_attributes={"role": "manager", "x": 1}, location="Berlin")
    traitly.post(CUSTOMER, first)
    before = int(time.time())
    second = traitly.post(CUSTOMER, customer(plan="Q")).json()["data"][0]
    assert int(second["created_at"]) >= before
    assert (second["plan"], second["location"]) == ("Q", None)
    assert second["custom_attributes"] == {"role": "manager", "x": 1}
    third = traitly.post(CUSTOMER, customer(custom_attributes={"role": "clerk"})).json()["data"][0]
    assert third["custom_attributes"] == {"role": "clerk"}
    assert len(traitly.state()["accounts"]) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"name": ""}, {"email": None}, {"plan": "  "}, {"customer_id": 15}, {"created_at": "1493933699"},
        {"created_at": 1493933699000}, {"created_at": True}, {"custom_attributes": "x"}, {"location": 5},
        {"monthly_payment_amount": "99"}, {"department": "Sales"},
    ],
)  # fmt: skip
def test_a_customer_is_refused(traitly: Vendor, more: dict[str, Any]) -> None:
    assert traitly.post(CUSTOMER, customer(**more)).status_code == 400
    assert traitly.state()["accounts"] == []


def test_customers_are_filtered_and_not_paged(traitly: Vendor) -> None:
    traitly.seed(*(customer(number, plan="A" if number % 2 else "B") for number in range(300)))
    assert len(traitly.get(CUSTOMER).json()["data"]) == 300
    assert len(traitly.get(CUSTOMER, plan="A").json()["data"]) == 150
    assert [one["name"] for one in traitly.get(CUSTOMER, customer_id="c7").json()["data"]] == ["N7"]
    assert traitly.get(CUSTOMER, customer_id="c7", plan="B").json()["data"] == []
    assert traitly.status(CUSTOMER, page=2) == 400


@pytest.mark.parametrize("relative", [False, True])
def test_a_next_address_leads_through_pages(traitly: Vendor, *, relative: bool) -> None:
    traitly.options(page_size=4, relative_next=relative)
    traitly.seed(*(customer(number) for number in range(10)))
    seen: list[str] = []
    address = CUSTOMER
    while address:
        answer = traitly.client.get(address).json()
        seen += [one["customer_id"] for one in answer["data"]]
        address = answer["metadata"].get("next", "")
    assert seen == [f"c{number}" for number in range(10)]


def test_events_need_a_known_customer_and_come_back_by_name(traitly: Vendor) -> None:
    traitly.seed(customer())
    event = {"customer_id": "c1", "name": "Onboarded", "created_at": 1493933699}
    answer = traitly.post(EVENT, event).json()
    assert answer["data"] == [{**event, "created_at": "1493933699", "success": 1}]
    assert answer["object"] == "event"
    traitly.post(EVENT, event)
    assert len(traitly.get(EVENT, customer_id="c1", name="Onboarded").json()["data"]) == 2
    assert traitly.get(EVENT, customer_id="c1", name="Other").json()["data"] == []
    assert traitly.status(EVENT, customer_id="c1") == 400
    assert traitly.post(EVENT, event | {"customer_id": "c2"}).status_code == 404
    assert traitly.post(EVENT, event | {"name": ""}).status_code == 400
    assert traitly.post(EVENT, event | {"created_at": 1.5}).status_code == 400
    assert traitly.post("/api/event", event).status_code == 404
    assert len(traitly.state()["events"]) == 2


def test_next_actions_are_plural(traitly: Vendor) -> None:
    traitly.seed(customer())
    answer = traitly.get(NEXT, customer_id="c1").json()
    assert answer["meta"] == {"customer_id": "c1", "goal_name": "30-day Conversion"}
    assert 0 <= answer["likelihood"] <= 1
    assert traitly.get(NEXT, customer_id="c1", goal_name="G").json()["meta"]["goal_name"] == "G"
    assert traitly.status(NEXT) == 400
    assert traitly.status(NEXT, customer_id="c2") == 404
    assert traitly.status(NEXT[:-1], customer_id="c1") == 404
    traitly.options(singular_next_actions=True)
    assert traitly.status(NEXT, customer_id="c1") == 404
    assert traitly.status(NEXT[:-1], customer_id="c1") == 200
