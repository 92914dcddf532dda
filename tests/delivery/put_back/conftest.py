"""A deployment on a Redis of its own, whose files can be put back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from tests.support.harness import load_settings, settings_document
from tests.support.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(append_only=True) as server:
        yield server


@pytest.fixture
def opened(
    sandbox: SandboxServer, switchboard: Switchboard, server: RedisServer, roster: Path, tmp_path: Path
) -> Callable[..., Any]:
    del switchboard

    @asynccontextmanager
    async def open_it(target: str, **changes: Any) -> AsyncIterator[Deployment]:
        document = settings_document(sandbox.url, server.url, roster, tmp_path / "data", **changes)
        document["targets"] = {target: document["targets"][target]}
        async with Deployment.open(load_settings(tmp_path, document)) as dep:
            yield dep

    return open_it
