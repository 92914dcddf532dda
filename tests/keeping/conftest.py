"""The small company of the decisions' tests, and what the vendors were asked to write."""

from __future__ import annotations

from provisioner.sandbox import Switchboard
from tests.decisions.conftest import anyio_backend, opened, roster, sandbox, switchboard

__all__ = ["anyio_backend", "opened", "roster", "sandbox", "switchboard", "writes"]

TARGETS = ("tribal_habits", "habitate", "traitly", "mtribes")


def writes(switchboard: Switchboard) -> dict[str, int]:
    """How many writes each vendor was asked for since its log was cleared."""
    return {target: switchboard.counts(target)["writes"] for target in TARGETS}
