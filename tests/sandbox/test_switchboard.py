"""Limits, faults, log, counts and options do what a test orders."""

import socket
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.sandbox import KINDS, SandboxServer, SwitchboardError
from provisioner.sandbox.limits import SlidingWindow
from tests.sandbox.vendor import Vendor
from tests.support.switches import SAME, VARIABLE, Switch, asked

USERS = "/papi/users"
PERSON = {"user_name": "e1", "first_name": "A", "last_name": "B", "email": "a@example.com"}


def test_a_window_slides_and_counts_only_what_it_admitted() -> None:
    window = SlidingWindow()
    arrivals = [0.0, 0.4, 0.9, 1.0, 1.39, 1.4]
    admitted = [window.admit("a", at, limit=2, window=1.0, block=0.0) is None for at in arrivals]
    assert admitted == [True, True, False, True, False, True]
    assert window.admit("b", 1.4, limit=2, window=1.0, block=0.0) is None


@given(
    gaps=st.lists(st.integers(0, 700), max_size=60),
    limit=st.integers(1, 6),
    block=st.sampled_from([0, 500, 1000]),
)
def test_no_window_ever_holds_more_than_the_limit(gaps: list[int], limit: int, block: int) -> None:
    window = SlidingWindow()
    arrivals = list(accumulate(gaps))
    admitted = [at for at in arrivals if window.admit("a", at, limit=limit, window=1000, block=block) is None]
    for start in admitted:
        assert sum(start <= at < start + 1000 for at in admitted) <= limit


def test_exceeding_blocks_everything_for_the_block_time() -> None:
    window = SlidingWindow()
    waits = [window.admit("a", at, limit=1, window=60.0, block=60.0) for at in (0.0, 50.0, 100.0, 109.9, 110.0)]
    assert [None if wait is None else round(wait, 6) for wait in waits] == [None, 60.0, 10.0, 0.1, None]


def test_an_instance_enforces_its_limit_and_counts_refusals(habitate: Vendor) -> None:
    habitate.options(rate_limit=3, rate_window=3600, retry_after=True)
    statuses = [habitate.status("/api/v1/users") for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    last = habitate.get("/api/v1/users/me")
    assert last.json()["status"] == "TOO_MANY_REQUESTS"
    assert 3590 < int(last.headers["Retry-After"]) <= 3601
    assert habitate.counts()["answers_429"] == 3


def test_instances_share_a_budget_only_where_they_name_one_group(new_vendor: Callable[[str], Vendor]) -> None:
    one, two, other = (new_vendor("tribal_habits") for _ in range(3))
    for vendor in (one, two):
        vendor.options(rate_limit=2, rate_window=3600, rate_group=one.name)
    other.options(rate_limit=2, rate_window=3600)
    assert [one.status(USERS), two.status(USERS), one.status(USERS), two.status(USERS)] == [200, 200, 429, 429]
    assert other.status(USERS) == 200


def test_every_instance_has_its_own_state(new_vendor: Callable[[str], Vendor]) -> None:
    one, two = new_vendor("tribal_habits"), new_vendor("tribal_habits")
    one.seed(PERSON)
    assert (one.status(f"{USERS}/e1"), two.status(f"{USERS}/e1")) == (200, 404)
    one.switchboard.reset(one.name)
    assert one.state()["accounts"] == []


def test_a_dropped_connection_leaves_the_work_undone_or_done(tribal_habits: Vendor) -> None:
    tribal_habits.fault(match={"method": "post", "path_prefix": USERS}, drop="before")
    with pytest.raises(httpx.RemoteProtocolError):
        tribal_habits.post(USERS, PERSON)
    assert tribal_habits.state()["accounts"] == []
    tribal_habits.fault(match={"method": "POST"}, drop="after")
    with pytest.raises(httpx.RemoteProtocolError):
        tribal_habits.post(USERS, PERSON)
    assert len(tribal_habits.state()["accounts"]) == 1
    assert tribal_habits.counts()["dropped"] == 2
    assert tribal_habits.status(USERS) == 200


def test_a_fault_answers_in_place_of_the_vendor(tribal_habits: Vendor) -> None:
    tribal_habits.fault(
        times=2, status=503, body="<h1>maintenance</h1>", content_type="text/html", headers={"Retry-After": "7"}
    )
    for _ in range(2):
        response = tribal_habits.get(USERS)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "7")
        assert response.headers["Content-Type"].startswith("text/html")
    assert tribal_habits.status(USERS) == 200
    tribal_habits.fault(status=500, after=True)
    assert tribal_habits.post(USERS, PERSON).status_code == 500
    assert len(tribal_habits.state()["accounts"]) == 1


def test_a_fault_meets_a_body_and_a_share(tribal_habits: Vendor) -> None:
    tribal_habits.fault(match={"contains": "poison"}, times=None, status=500)
    assert tribal_habits.post(USERS, PERSON | {"first_name": "poison"}).status_code == 500
    assert tribal_habits.post(USERS, PERSON).status_code == 201
    tribal_habits.switchboard.clear_faults(tribal_habits.name)
    tribal_habits.fault(times=None, share=0.5, seed=7, status=500)
    first = [tribal_habits.status(USERS) for _ in range(40)]
    tribal_habits.switchboard.clear_faults(tribal_habits.name)
    tribal_habits.fault(times=None, share=0.5, seed=7, status=500)
    assert [tribal_habits.status(USERS) for _ in range(40)] == first
    assert set(first) == {200, 500}


def test_the_log_has_no_bodies_but_rows(tribal_habits: Vendor) -> None:
    tribal_habits.get(USERS, page=2)
    tribal_habits.post("/papi/users/batch_save", {"people": [PERSON, PERSON]})
    tribal_habits.status(f"{USERS}/e1")
    log = tribal_habits.switchboard.log(tribal_habits.name)
    assert [(entry["method"], entry["path"], entry["query"], entry["status"], entry["rows"]) for entry in log] == [
        ("GET", "/papi/users", "page=2", 200, 0),
        ("POST", "/papi/users/batch_save", "", 200, 2),
        ("GET", "/papi/users/e1", "", 200, 0),
    ]
    assert log[0]["at"] <= log[1]["at"] <= log[2]["at"] <= time.monotonic()
    assert "a@example.com" not in str(log)
    counts = tribal_habits.counts()
    assert (counts["reads"], counts["writes"], counts["rows"]) == (2, 1, 2)
    assert counts["by_endpoint"] == {
        "GET /papi/users": 1,
        "POST /papi/users/batch_save": 1,
        "GET /papi/users/{user_name}": 1,
    }
    tribal_habits.switchboard.clear_log(tribal_habits.name)
    assert tribal_habits.counts()["reads"] == 0
    assert len(tribal_habits.state()["accounts"]) == 1


@pytest.mark.parametrize(("name", "value"), [("speed", 1), ("rate_limit", "300"), ("can_list", 1), ("short_by", 1.5)])
def test_an_unknown_option_or_type_is_refused(habitate: Vendor, name: str, value: object) -> None:
    with pytest.raises(SwitchboardError, match=name):
        habitate.options(**{name: value})


def test_wrong_orders_are_refused(sandbox: SandboxServer, traitly: Vendor) -> None:
    with pytest.raises(SwitchboardError, match="drop"):
        traitly.fault(drop="sometimes")
    with pytest.raises(SwitchboardError, match="unknown"):
        traitly.fault(statuz=500)
    with pytest.raises(SwitchboardError, match="customer_id"):
        traitly.seed({"name": "x"})
    with pytest.raises(SwitchboardError, match="404"):
        traitly.switchboard.remove(traitly.name, "nobody")
    with pytest.raises(SwitchboardError, match="404"):
        sandbox.switchboard.state("slack")
    assert httpx.get(f"{sandbox.url}/slack/users", trust_env=False).status_code == 404


def test_another_key_can_be_set(traitly: Vendor) -> None:
    traitly.options(api_key="rotated")
    assert traitly.status("/api/v1/customer") == 401
    traitly.client.headers["Authorization"] = "Token rotated"
    assert traitly.status("/api/v1/customer") == 200


def test_the_index_names_the_kinds(sandbox: SandboxServer) -> None:
    assert tuple(httpx.get(f"{sandbox.url}/_sandbox", trust_env=False).json()["kinds"]) == KINDS


def test_a_server_stops_and_frees_its_port() -> None:
    with SandboxServer() as server:
        assert httpx.get(f"{server.url}/_sandbox", trust_env=False).status_code == 200
        port = int(server.url.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("switch", [one for one in SAME if not one.settings], ids=lambda one: one.name)
def test_a_switch_is_read_as_it_is_printed(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, switch.name)
    read: dict[str, Any] = {}
    for kind, options in asked():
        assert kind == switch.kind
        read |= options
    assert read == switch.options
