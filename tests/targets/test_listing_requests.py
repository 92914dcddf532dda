"""What a target says of the requests of a listing, compared with the requests that one takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from provisioner.runs.estimate import usual_durations
from provisioner.sandbox import (
    HABITATE_KEY,
    MTRIBES_SPACE_ID,
    MTRIBES_TOKEN,
    TRAITLY_TOKEN,
    TRIBAL_HABITS_KEY,
    SandboxServer,
)
from provisioner.settings.values import Rate
from tests.targets.bench import Bench, target_of

#: More than fit on two pages of any kind.
ACCOUNTS = 130
EMAIL = {"email": "email"}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "habitate": {"username": "provisioner", "api_key": HABITATE_KEY, "match": ["email"], "attributes": EMAIL},
    "mtribes": {
        "access_token": MTRIBES_TOKEN,
        "space_id": MTRIBES_SPACE_ID,
        "match": ["id"],
        "attributes": {"id": "id"},
        "leaver": {"tags": "'left'"},
    },
    "traitly": {"token": TRAITLY_TOKEN, "match": ["customer_id"], "attributes": {"customer_id": "id"}},
    "tribal_habits": {"api_key": TRIBAL_HABITS_KEY, "match": ["email"], "attributes": EMAIL, "page_size": 50},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The stand-ins of all kinds."""
    with SandboxServer() as server:
        yield server


def account(kind: str, number: int) -> Mapping[str, Any]:
    """An account in the vendor's read form."""
    email = f"p{number}@example.com"
    return {
        "habitate": {"email": email, "username": f"p{number}", "first_name": "A", "last_name": "B"},
        "mtribes": {"id": f"p{number}", "email": email, "name": "A B"},
        "traitly": {"customer_id": f"p{number}", "email": email, "name": "A B"},
        "tribal_habits": {"user_name": f"p{number}", "email": email, "first_name": "A", "last_name": "B"},
    }[kind]


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_listing_takes_as_many_requests_as_the_target_says(kind: str, sandbox: SandboxServer) -> None:
    bench = Bench(sandbox, kind, **SETTINGS[kind])
    bench.seed(*(account(kind, number) for number in range(ACCOUNTS)))
    first = bench.observe()
    seen = len(first.accounts)
    said = bench.target.listing_requests(seen, seen)
    assert bench.requests == said
    bench.observe({one.id: one for one in first.accounts})
    # What changes seldom, such as the roles, need not be read again
    assert bench.requests in (bench.target.listing_requests(seen, 0), bench.target.listing_requests(seen, 0) - 1)


def test_a_run_takes_the_windows_that_its_requests_need() -> None:
    target = target_of("habitate", **SETTINGS["habitate"])
    usual = usual_durations(target, [Rate(120, 60.0)], 9000)
    assert usual is not None
    assert usual.unchanged == 60.0 * (math.ceil((9000 / 50 + 8) / 120) - 1)
    assert usual.first_load == 60.0 * (math.ceil((9000 + 8) / 120) - 1)
    assert usual.after_load == 60.0 * (math.ceil((9000 / 50 + 8 + 9000) / 120) - 1)
    assert usual_durations(target, [], 9000) is not None


def test_the_narrowest_of_several_windows_counts() -> None:
    target = target_of("traitly", **SETTINGS["traitly"])
    usual = usual_durations(target, [Rate(10, 1.0), Rate(100, 3600.0)], 1000)
    assert usual is not None
    assert (usual.unchanged, usual.first_load) == (0.0, 10 * 3600.0)


def test_a_target_that_cannot_say_how_it_lists_is_left_out() -> None:
    target = target_of("traitly", **SETTINGS["traitly"])

    class Silent:
        name = target.name

    assert usual_durations(Silent(), [Rate(1, 1.0)], 10) is None  # type: ignore[arg-type] # it offers nothing
