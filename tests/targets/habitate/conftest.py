"""A community of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisioner.sandbox import SandboxServer
from provisioner.targets import http as transport
from tests.targets.bench import Bench
from tests.targets.habitate.support import (
    SETTINGS,
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def bench(sandbox: SandboxServer) -> Bench:
    """A fresh community."""
    return Bench(sandbox, "habitate", **SETTINGS)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading gives up at the first failure, so that no test waits."""
    monkeypatch.setattr(transport, "READ_TRIES", 1)
