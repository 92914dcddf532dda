"""What other settings would have done with the kept clean rosters, as its JSON. No vendor has a say in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from provisioner.model.run_document import Counts


class SimulatedRoster(TypedDict):
    """What the gate would have said of a day's roster; `reasons` are sentences."""

    status: Literal["clean", "degraded", "rejected"]
    people: int
    rejected: int
    reasons: list[str]


class SimulatedPart(TypedDict):
    """What would have been planned for a target on one day; `guards`: sentences of the guards that would have held."""

    planned: Annotated[Counts, Meta(description="By kind; those that would have been held are among them.")]
    held: Counts
    guards: list[str]
    conflicts: int
    todo: int


class SimulatedSide(TypedDict):
    """One day by one of the two settings."""

    roster: SimulatedRoster
    targets: dict[str, SimulatedPart]


class SimulatedDay(TypedDict):
    """One day's roster, by the running settings and by the others."""

    day: str
    digest: str
    running: SimulatedSide
    other: SimulatedSide


class Sides(TypedDict):
    """A value by the running settings, and by the others."""

    running: Any
    other: Any


class SimulatedPerson(TypedDict):
    """Somebody whose account would differ: from the day `first` to the day `last`, on which it is as described.

    `account` is none, active or left by each, null where that is the same.
    """

    target: str
    person: str
    first: str
    last: str
    account: Sides | None
    attributes: dict[str, Sides]


class Simulation(TypedDict):
    """Both settings over the same rosters: a day each, and who would differ. `kept` is how many there are."""

    config: str
    kept: int
    days: list[SimulatedDay]
    people: list[SimulatedPerson]
    notes: list[str]
    exit_code: int
