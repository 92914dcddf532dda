"""What a check tells: one line for each thing it looked at, with what to do where something is not right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from provisioner.errors import ProvisionerError

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `exit_code` is that of the error behind it, 0 where a sync would go on all the same."""

    subject: str
    verdict: Verdict
    message: str
    remedy: str | None = None
    exit_code: int = 0


def failure(subject: str, exc: ProvisionerError, otherwise: str) -> Line:
    """An error as a finding; `otherwise` is what to do where the error itself does not say."""
    return Line(subject, "fail", exc.message, exc.remedy or otherwise, exc.exit_code)
