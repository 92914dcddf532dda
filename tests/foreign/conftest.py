"""These need the package index, and time for it."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these run servers that others wrote."""
    for item in items:
        if "foreign" in item.path.parts:
            item.add_marker(pytest.mark.foreign)
            item.add_marker(pytest.mark.timeout(300))
