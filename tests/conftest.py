"""What every test stands on: a clean environment, and a real Redis server where one is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from provisioner import logs
from tests.support.redis_contents import RedisContents
from tests.support.redis_server import RedisServer

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})

settings.register_profile("default", deadline=None, max_examples=50, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


def _foreign_variables() -> list[str]:
    """Variables that would steer the program under test: its settings, and proxies before loopback."""
    return [
        name
        for name in os.environ
        if (name.upper().startswith("PROVISIONER_") and not name.startswith("PROVISIONER_TEST_"))
        or name.lower() in _PROXIES
    ]


def pytest_configure() -> None:
    """Cleans the environment before any fixture, of whatever scope, can start a process in it."""
    for name in _foreign_variables():
        del os.environ[name]


#: Files that wait longest for real processes and clocks; begun first, so that nothing waits for them in the end.
SLOWEST = (
    "test_heartbeats.py", "test_unattended.py", "test_demo.py", "test_killed.py", "test_convergence.py",
    "test_start.py", "test_processes.py", "test_sync.py", "test_routing.py", "test_live.py", "test_days.py",
    "test_canaries_of_processes.py", "test_schemathesis.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what talks to Redis, so that these tests can be run against a second version of the server."""
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))
    for item in items:
        if "redis_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.redis)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away what an earlier test left in the environment."""
    for name in _foreign_variables():
        monkeypatch.delenv(name)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Restores how this process logs; whoever configures it would change what later tests see."""
    root = logging.getLogger()
    loggers = {name: logging.getLogger(name) for name in (*logs._QUIET, *logs._ROUTED, "py.warnings")}
    kept = {name: (log.level, log.handlers[:], log.propagate) for name, log in loggers.items()}
    before = root.level, root.handlers[:], set(logs._secrets), logs._secrets_pattern
    yield
    logging.captureWarnings(capture=False)
    root.level, root.handlers[:] = before[0], before[1]
    logs._secrets.clear()
    logs._secrets.update(before[2])
    logs._secrets_pattern = before[3]
    for name, (level, handlers, propagate) in kept.items():
        loggers[name].level, loggers[name].handlers[:], loggers[name].propagate = level, handlers, propagate
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis server of this test process. A test that stops or restarts a server makes one of its own."""
    with RedisServer() as server:
        yield server


#: Tests of Redis itself, which make up keys as they need them.
MAKE_UP_KEYS = ("store", "test_redis_server.py")


@pytest.fixture
def redis_url(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty Redis database, emptied again afterwards; what lies there has its row in the table."""
    contents = RedisContents(redis_server.url)
    found = contents.count()
    contents.lose_everything()
    assert found == 0, f"{found} keys were in the database before the test began"
    yield redis_server.url
    unknown = [] if set(MAKE_UP_KEYS) & set(request.path.parts) else contents.unknown()
    contents.lose_everything()
    assert unknown == []
