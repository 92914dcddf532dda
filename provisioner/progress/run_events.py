"""What is reported of a run as it goes on: each change once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from provisioner.model.run_document import RunStatus


@dataclass(frozen=True, slots=True)
class PartsChanged:
    """The statuses of some of a run's parts changed, or how much of them is held or failed.

    `parts` are the statuses by target; `noticed` is, by target, what a part is to remember once notices are written:
    where that is lost, the change is reported again.
    """

    run: str
    parts: Mapping[str, str]
    noticed: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run ended, or its status changed afterwards (then it is not the `first` end). A run that could not be
    `carried_out` ended with an error."""

    run: str
    status: RunStatus
    first: bool
    carried_out: bool = True


RunEvent: TypeAlias = PartsChanged | RunEnded
