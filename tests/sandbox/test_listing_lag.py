"""`listing_lag_seconds` of each vendor: a new account is in no listing for so long, and found by itself at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from provisioner.sandbox import MTRIBES_SPACE_ID
from tests.sandbox.vendor import Vendor

HOUR = 3600.0
USERS, CUSTOMERS, SPACE = "/api/v1/users", "/api/v1/customer", f"/v1.0/spaces/{MTRIBES_SPACE_ID}/users"


@dataclass(frozen=True)
class Api:
    """How a vendor makes an account, and what its listing is, as text."""

    make: str
    body: Callable[[str], Mapping[str, Any]]
    listing: str
    #: The way to one account by itself, where the vendor has one.
    alone: str = ""


APIS = {
    "tribal_habits": Api(
        "/papi/users",
        lambda name: {"user_name": name, "first_name": name, "last_name": name, "email": f"{name}@example.com"},
        "/papi/users",
        "/papi/users/{}",
    ),
    "habitate": Api(
        USERS,
        lambda name: {"first_name": name, "last_name": name, "email": f"{name}@example.com", "username": name},
        USERS,
    ),
    "traitly": Api(
        CUSTOMERS,
        lambda name: {"customer_id": name, "name": name, "email": f"{name}@example.com", "plan": "Employee"},
        CUSTOMERS,
        f"{CUSTOMERS}?customer_id={{}}",
    ),
    "mtribes": Api(SPACE, lambda name: {"users": [{"id": name}]}, SPACE),
}


@pytest.mark.parametrize("kind", list(APIS))
def test_a_new_account_is_listed_later(new_vendor: Callable[[str], Vendor], kind: str) -> None:
    vendor, api = new_vendor(kind), APIS[kind]

    def make(name: str) -> None:
        assert vendor.post(api.make, api.body(name)).is_success

    def listed(name: str) -> bool:
        answer = vendor.get(api.listing)
        assert answer.is_success
        return name in answer.text

    make("before")
    vendor.options(listing_lag_seconds=HOUR)
    make("since")
    assert (listed("before"), listed("since")) == (True, False)
    assert "since" in str(vendor.state()["accounts"])
    if api.alone:
        assert "since" in vendor.client.get(api.alone.format("since")).text
    vendor.options(listing_lag_seconds=0.0)
    assert (listed("before"), listed("since")) == (True, True)
