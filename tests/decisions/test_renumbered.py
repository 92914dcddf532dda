"""A company whose keys or addresses change: nobody gets a second account, nobody leaves, and there is a way on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from provisioner.admin.rekeying import rekey, rekey_all
from provisioner.runtime.context import Deployment
from provisioner.sandbox import Switchboard
from tests.decisions.conftest import HEADER, Opened
from tests.support.harness import sync_once

pytestmark = pytest.mark.anyio

FILES = Path(__file__).parents[1] / "roster" / "exports"
KINDS = ("tribal_habits", "habitate", "traitly", "mtribes")
PEOPLE = range(1, 13)


def rows(keys: Iterable[str], domain: str = "example.com") -> str:
    """The same twelve people, whatever their keys are."""
    lines = [HEADER]
    for number, key in zip(PEOPLE, keys, strict=True):
        name = f"First{number},Last{number},p{number}@{domain}"
        lines.append(f"{key},{name},Engineer,Engineering,Sydney,Australia,en,,active,,")
    return "\n".join(lines) + "\n"


WHOLE = [f"{number:06}" for number in PEOPLE]


def held(switchboard: Switchboard) -> dict[str, int]:
    return {kind: len(switchboard.accounts(kind)) for kind in KINDS}


def kinds_of(document: dict[str, Any]) -> set[str]:
    """The kinds of operations on accounts that went out or may."""
    return {
        kind
        for part in document["targets"].values()
        for status in ("succeeded", "waiting", "failed")
        for kind, count in part[status].items()
        if count
    }


async def _refused(dep: Deployment, switchboard: Switchboard, had: dict[str, int], sentence: str) -> dict[str, Any]:
    """A sync that makes and takes away no account, and says so."""
    document = await sync_once(dep)
    assert document["status"] == "held"
    assert sentence in " ".join(document["roster"]["degraded"])
    assert not kinds_of(document) & {"create", "leave", "rejoin"}
    assert held(switchboard) == had
    return document


@pytest.mark.parametrize("lost", [3, 12])
async def test_keys_that_lost_their_zeros(opened: Opened, roster: Path, switchboard: Switchboard, lost: int) -> None:
    roster.write_text(rows(WHOLE))
    async with opened() as dep:
        await sync_once(dep)
        had = held(switchboard)
        broken = [key.lstrip("0") if number <= lost else key for number, key in zip(PEOPLE, WHOLE, strict=True)]
        for _ in range(2):
            roster.write_text(rows(broken))
            run = await _refused(dep, switchboard, had, "000001 and 1")
            assert "export the key as text" in " ".join(run["roster"]["degraded"])
        # Either the export is corrected…
        roster.write_text(rows(WHOLE))
        document = await sync_once(dep)
        assert (document["status"], held(switchboard), kinds_of(document)) == ("succeeded", had, set())
        # … or these are their keys from now on
        roster.write_text(rows(broken))
        run = await _refused(dep, switchboard, had, "provisioner rekey")
        moved, left = await rekey_all(dep, run["run"], by="test")
        assert (len(moved), left) == (lost, [])
        roster.write_text(rows(broken))
        document = await sync_once(dep)
        assert held(switchboard) == had
        assert document["roster"]["degraded"] == []
        # What was made of a key, such as habitate's username, changes with it
        assert kinds_of(document) <= {"update"}
        assert {kind for part in document["targets"].values() for kind in part["held"]} <= {"update"}


async def test_a_company_that_changes_its_domain_keeps_its_accounts(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    roster.write_text(rows(WHOLE))
    async with opened() as dep:
        await sync_once(dep)
        had = held(switchboard)
        roster.write_text(rows(WHOLE, "example.org"))
        document = await sync_once(dep)
        assert not kinds_of(document)
        assert held(switchboard) == had
        assert document["status"] == "held"
        for kind in ("tribal_habits", "traitly", "mtribes"):
            assert document["targets"][kind]["held"] == {"update": 12}, kind
        # habitate lets nobody change an address: each is a to-do
        assert document["targets"]["habitate"]["todo"] == 12


async def test_a_company_that_changes_keys_and_domain_at_once(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    """No address agrees any more, so the settings say in what one person's two rows do."""
    roster.write_text(rows(WHOLE))
    same = {"same_person": ["first_name", "last_name"]}
    async with opened(reading=same) as dep:
        await sync_once(dep)
        had = held(switchboard)
        new = [f"AU{number}" for number in PEOPLE]
        run: dict[str, Any] = {}
        for _ in range(2):
            roster.write_text(rows(new, "example.org"))
            run = await _refused(dep, switchboard, had, "provisioner rekey 000001 AU1")
        # Where no address agrees, each is for a person to say
        moved, left = await rekey_all(dep, run["run"], by="test")
        assert (moved, len(left)) == ([], 12)
        for old, key in zip(WHOLE, new, strict=True):
            await rekey(dep, old, key, by="test")
        roster.write_text(rows(new, "example.org"))
        document = await sync_once(dep)
        assert held(switchboard) == had
        assert not kinds_of(document) & {"create", "leave", "rejoin"}


async def test_a_contractor_who_becomes_staff(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    """The row of the contractor vanishes, and another number appears with the same address."""
    text = rows(WHOLE)
    roster.write_text(text.replace("000007,First7,Last7,", "C7,First7,Last7,"))
    async with opened() as dep:
        await sync_once(dep)
        had = held(switchboard)
        for _ in range(2):
            roster.write_text(text)
            await _refused(dep, switchboard, had, "provisioner rekey C7 000007")
        await rekey(dep, "C7", "000007", by="test")
        roster.write_text(text)
        document = await sync_once(dep)
        assert (document["status"], held(switchboard)) == ("succeeded", had)
        assert kinds_of(document) <= {"update"}


async def test_one_key_that_changes_its_case_is_one_person_and_leaves_once(
    opened: Opened, roster: Path, switchboard: Switchboard
) -> None:
    async with opened() as dep:
        had: dict[str, int] = {}
        document: dict[str, Any] = {}
        for day in (1, 2, 3):
            roster.write_bytes((FILES / f"one-key-changes-case-{day}.csv").read_bytes())
            document = await sync_once(dep)
            had = had or held(switchboard)
            assert held(switchboard) == had
        left = {kind: part["succeeded"].get("leave", 0) for kind, part in document["targets"].items()}
        assert left == dict.fromkeys(KINDS, 1)


async def test_eight_people_under_new_numbers(opened: Opened, roster: Path, switchboard: Switchboard) -> None:
    async with opened() as dep:
        roster.write_bytes((FILES / "renumbered-1.csv").read_bytes())
        await sync_once(dep)
        had = held(switchboard)
        for _ in range(2):
            roster.write_bytes((FILES / "renumbered-2.csv").read_bytes())
            await _refused(dep, switchboard, had, "provisioner rekey E00001 AU-00001")


@pytest.mark.parametrize("name", ["earlier-employments-excluded.csv", "open-ended-9999.csv"])
async def test_everybody_of_the_file_is_planned(
    opened: Opened, roster: Path, switchboard: Switchboard, name: str
) -> None:
    reading = {"exclude": "employment_status = 'terminated'"} if name.startswith("earlier") else {}
    # Some of them are called Null
    async with opened(only=("traitly",), reading=reading) as dep:
        roster.write_bytes((FILES / name).read_bytes())
        document = await sync_once(dep)
        assert document["roster"]["rejected"] == 0
        part = document["targets"]["traitly"]
        assert (part["succeeded"]["create"], part["blocked"], part["failed"]) == (150, 0, {})
        assert "Olivia Null" in [one["name"] for one in switchboard.accounts("traitly")]
