"""Whatever the OpenAPI document lets one send, and what it does not: no server error, no answer that it does not name.

Over real HTTP on loopback, with real Redis. `PROVISIONER_TEST_SCHEMATHESIS` is how many requests of each sort are made
up for each method: the usual few take seconds and are always the same; with more, they are new ones each time.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from provisioner.web.app import create_app
from tests.web.conftest import OPERATOR, VIEWER, Site, bearer

FEW: Final = 10
MANY: Final = int(os.environ.get("PROVISIONER_TEST_SCHEMATHESIS", str(FEW)))
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 if MANY <= FEW else 3600)]


@pytest.fixture
def served(site: Site) -> Iterator[str]:
    """The address of such a site, served over real HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(create_app(site.settings), access_log=False, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def operations(site: Site) -> list[Any]:
    """What the document describes."""
    schema = schemathesis.openapi.from_dict(site.get("/api/openapi.json").json())
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def ask(url: str, cases: st.SearchStrategy[Any], tokens: tuple[str | None, ...]) -> Counter[int]:
    """Send made-up requests, and judge each answer; how many there were by status."""
    seen: Counter[int] = Counter()

    @settings(
        max_examples=MANY,
        derandomize=MANY <= FEW,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.sampled_from(tokens))
    def once(case: Any, token: str | None) -> None:
        # A token that was made up would count as a wrong one, and soon nothing but 429 would be answered
        headers = bearer(token) or {"Authorization": "Basic none"}
        seen[case.call_and_validate(base_url=url, headers=headers, checks=CHECKS).status_code] += 1

    once()
    return seen


def test_every_answer_is_as_documented(site: Site, served: str) -> None:
    run = site.held()["run"]
    real = {"run": run, "key": "W0003"}
    seen: Counter[int] = Counter()
    described = operations(site)
    assert len(described) == 10
    for operation in described:
        names = [one.name for one in operation.path_parameters]
        places = [None, {name: real[name] for name in names}] if names else [None]
        for place in places:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                cases = operation.as_strategy(generation_mode=mode, path_parameters=place)
                seen += ask(served, cases, (OPERATOR, OPERATOR, VIEWER, None))
    assert seen.keys() >= {200, 202, 401, 403, 404, 409, 422}, seen
    assert seen.total() >= 9 * 2 * MANY / 2, seen


def test_wrong_tokens_are_answered_as_documented(site: Site, served: str) -> None:
    seen: Counter[int] = Counter()
    for operation in operations(site):
        seen += ask(served, operation.as_strategy(), ("guess",))
    assert seen.keys() == {401, 429}
    assert site.get("/api/runs").status_code == 200
