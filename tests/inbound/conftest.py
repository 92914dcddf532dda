"""Fixtures of the tests about events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inbound.support import Company, company, web


@pytest.fixture
def firm(tmp_path: Path, redis_url: str) -> Iterator[Company]:
    """A company whose people have no accounts yet."""
    with company(tmp_path, redis_url) as made:
        yield made


@pytest.fixture
def site(firm: Company) -> Iterator[str]:
    """The address of its web server, to which its stand-ins send."""
    with web(firm.settings) as url:
        yield url
