"""One deployment over a sandbox, with a small company in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioner.runtime.context import Deployment
from provisioner.sandbox import SandboxServer, Switchboard
from tests.support.harness import load_settings, raise_limits, settings_document

HEADER = (
    "employee_id,first_name,last_name,work_email,job_title,department,location,country,language,manager_email,"
    "employment_status,start_date,end_date"
)
Opened = Callable[..., AbstractAsyncContextManager[Deployment]]


def company(people: int, *, gone: tuple[int, ...] = (), changes: dict[int, dict[str, str]] | None = None) -> str:
    """A roster of so many people; `gone` are leavers by number."""
    lines = [HEADER]
    for number in range(people):
        row = {
            "employee_id": f"W{number:04d}",
            "first_name": f"First{number}",
            "last_name": f"Last{number}",
            "work_email": f"p{number}@example.com",
            "job_title": "Engineer",
            "department": "Engineering",
            "location": "Sydney",
            "country": "Australia",
            "language": "en",
            "manager_email": "",
            "employment_status": "left" if number in gone else "active",
            "start_date": "",
            "end_date": "",
        } | (changes or {}).get(number, {})
        lines.append(",".join(row.values()))
    return "\n".join(lines) + "\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def switchboard(sandbox: SandboxServer) -> Switchboard:
    sandbox.switchboard.reset()
    raise_limits(sandbox.switchboard)
    return sandbox.switchboard


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    return tmp_path / "roster.csv"


@pytest.fixture
def opened(sandbox: SandboxServer, switchboard: Switchboard, redis_url: str, roster: Path, tmp_path: Path) -> Opened:
    """Opens the deployment with the example's settings and changes to them; `reading` changes those of the roster,
    `leaver` that of targets."""
    del switchboard

    @asynccontextmanager
    async def open_it(
        *,
        only: tuple[str, ...] | None = None,
        reading: Mapping[str, Any] | None = None,
        leaver: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> AsyncIterator[Deployment]:
        document = settings_document(sandbox.url, redis_url, roster, tmp_path, **changes)
        document["roster"] |= reading or {}
        for name, steps in (leaver or {}).items():
            document["targets"][name]["leaver"] = steps
        if only is not None:
            document["targets"] = {name: document["targets"][name] for name in only}
        async with Deployment.open(load_settings(tmp_path, document)) as dep:
            yield dep

    return open_it
