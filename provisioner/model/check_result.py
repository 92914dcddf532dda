"""What a check tells: one line for each thing it looked at, with what to do where something is not right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from provisioner.errors import ProvisionerError

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Fragment:
    """Settings to start from where a roster does not fit, as YAML with remarks and as values.

    `keys` are columns that may be the key, `status` the texts of columns that may say who is employed, and `dates` the
    forms that read columns of days.
    """

    yaml: str
    settings: Mapping[str, Any]
    columns: Sequence[str]
    keys: Sequence[str]
    status: Mapping[str, Mapping[str, int]]
    dates: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `exit_code` is that of the error behind it, 0 where a sync would go on all the same.

    `fragment` comes with what is said of a roster that does not fit.
    """

    subject: str
    verdict: Verdict
    message: str
    remedy: str | None = None
    exit_code: int = 0
    fragment: Fragment | None = None


def failure(subject: str, exc: ProvisionerError, otherwise: str) -> Line:
    """An error as a finding; `otherwise` is what to do where the error itself does not say."""
    return Line(subject, "fail", exc.message, exc.remedy or otherwise, exc.exit_code)
