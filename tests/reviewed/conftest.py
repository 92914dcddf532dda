"""A deployment over a sandbox; the same as for the tests of decisions."""

from __future__ import annotations

from tests.cli.conftest import _restored_logging
from tests.decisions.conftest import anyio_backend, opened, roster, sandbox, switchboard

__all__ = ["_restored_logging", "anyio_backend", "opened", "roster", "sandbox", "switchboard"]
