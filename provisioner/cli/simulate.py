"""`simulate`: what other settings would have done with the kept rosters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from provisioner.cli.render.output import cells, console, plain, print_json, table
from provisioner.cli.runs import Json
from provisioner.cli.session import LONG_COMMAND, settings_and_logs
from provisioner.model.simulation import SimulatedDay, SimulatedPart, SimulatedPerson, Simulation
from provisioner.model.wording import counted
from provisioner.settings import Settings, load

#: People who are shown on a terminal; `--json` has all.
_SHOWN: Final = 20


def simulate(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The other settings, a YAML file.")],
    last: Annotated[
        int | None,
        typer.Option("--last", metavar="N", min=1, help="Only the newest N rosters; else all that are kept."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what other settings would have done with the kept rosters; reads no target, changes nothing."""
    settings = settings_and_logs()
    other = load(config).settings
    document = asyncio.run(_simulated(settings, other, str(config), last))
    if as_json:
        print_json(document)
    else:
        show(console(), document)
    return document["exit_code"]


async def _simulated(settings: Settings, other: Settings, config: str, last: int | None) -> Simulation:
    # polars and the targets take a second to import, which --help need not wait for
    from provisioner.runs.simulate import simulate as by_both
    from provisioner.runtime.context import Deployment

    async with Deployment.open(settings, within=LONG_COMMAND, reading=True) as dep:
        return await by_both(dep, other, config, last)


def show(out: Console, document: Simulation) -> None:
    """A simulation for people: what each day would have brought, what would have held it, and who would differ."""
    counts = table("day", "target", "kind", "running", document["config"], numbers=("running", document["config"]))
    for day in document["days"]:
        for figures in _counts(day):
            counts.add_row(*cells(day["day"], *figures))
    days = len(document["days"])
    out.print(f"{counted(days, 'clean roster')}, by the running settings and by {document['config']}.\n")
    if counts.row_count:
        out.print(counts)
    else:
        out.print("Neither would have changed anything.")
    for day in document["days"]:
        for said in _guards(day, document["config"]):
            out.print(said, soft_wrap=True)
    people = document["people"]
    if people:
        out.print(f"\n{counted(len(people), 'account')} would differ:")
        differ = table("target", "person", "since", "what", "running", document["config"])
        for person in people[:_SHOWN]:
            for row in _differences(person):
                differ.add_row(*cells(person["target"], person["person"], _span(person, document), *row))
        out.print(differ)
        if len(people) > _SHOWN:
            out.print(f"… and {len(people) - _SHOWN} more; --json lists all.")
    else:
        out.print("\nNo account would differ.")
    for note in document["notes"]:
        out.print(note, soft_wrap=True)


def _counts(day: SimulatedDay) -> list[tuple[str, str, str, str]]:
    """What either plans: target, kind, and how many by each."""
    sides = (day["running"]["targets"], day["other"]["targets"])
    rows = []
    for target in dict.fromkeys((*sides[0], *sides[1])):
        parts = [side.get(target) for side in sides]
        for kind in next(part["planned"] for part in parts if part is not None):
            counts = [_count(part, kind) for part in parts]
            if counts != ["0", "0"]:
                rows.append((target, kind, counts[0], counts[1]))
    return rows


def _count(part: SimulatedPart | None, kind: str) -> str:
    if part is None:
        return "0"
    held = part["held"].get(kind, 0)
    return f"{part['planned'][kind]} ({held} held)" if held else str(part["planned"][kind])


def _guards(day: SimulatedDay, config: str) -> list[str]:
    """What would have held or refused something on a day."""
    found = []
    for name, side in (("running settings", day["running"]), (config, day["other"])):
        roster = side["roster"]
        if roster["status"] != "clean":
            found.append(f"{day['day']}, {name}: the roster is {roster['status']}: {' '.join(roster['reasons'])}")
        for target, part in side["targets"].items():
            found += [f"{day['day']}, {name}: {target}: {sentence}" for sentence in part["guards"]]
    return found


def _span(person: SimulatedPerson, document: Simulation) -> str:
    last = document["days"][-1]["day"]
    return person["first"] if person["last"] == last else f"{person['first']} to {person['last']}"


def _differences(person: SimulatedPerson) -> list[tuple[str, str, str]]:
    pairs = {"account": person["account"]} if person["account"] else {}
    return [
        (name, _text(one["running"]), _text(one["other"])) for name, one in {**pairs, **person["attributes"]}.items()
    ]


def _text(value: object) -> str:
    if value is None or value == "":
        return "–"
    return "; ".join(map(plain, value)) if isinstance(value, list) else plain(value)
