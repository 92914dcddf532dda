"""The example that ships: sixty people, their second day, the settings, and the copies in `config/`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel

from provisioner.example import DAY_TWO, ROSTER, SETTINGS, content, existing_accounts
from provisioner.example.verify import BAD_ROW, active_accounts, believed, employed, faults, rows
from provisioner.model.attributes import Type
from provisioner.planning.compiled import compile_target
from provisioner.planning.desired import LEAVER, MEMBER, desired_accounts
from provisioner.roster import People, judge, pushed, read
from provisioner.runtime.context import build_targets
from provisioner.sandbox import (
    DEFAULT_PORT,
    HABITATE_KEY,
    MTRIBES_SPACE_ID,
    MTRIBES_TOKEN,
    TRAITLY_TOKEN,
    TRIBAL_HABITS_KEY,
    SandboxServer,
)
from provisioner.settings import Settings, TargetSettings, known_kinds, load

ROOT: Final = Path(__file__).resolve().parent.parent
CONFIG: Final = ROOT / "config"
TODAY: Final = date(2025, 7, 1)
COLUMNS: Final = [
    *("employee_id", "first_name", "last_name", "work_email", "job_title", "department", "location", "country"),
    *("language", "manager_email", "employment_status", "start_date", "end_date"),
]


@pytest.fixture(scope="module")
def demo_settings() -> Settings:
    return load(CONFIG / "provisioner.yaml", environ={}).settings


def _people(name: str, settings: Settings) -> People:
    _, specs = build_targets(settings)
    needs: set[str] = set()
    for spec in specs.values():
        needs |= compile_target(spec, None).columns
    found = read(pushed(content(name), name), settings.roster, needs=needs, emails={"work_email", "manager_email"})
    return judge(found, settings.roster, today=TODAY)


@pytest.mark.parametrize(("copy", "name"), [("provisioner.yaml", SETTINGS), ("roster.example.csv", ROSTER)])
def test_config_holds_what_ships(copy: str, name: str) -> None:
    assert (CONFIG / copy).read_bytes() == content(name), f"copy provisioner/example/{name} to config/{copy}"


def test_the_roster_is_of_sixty_people() -> None:
    found = rows(ROSTER)
    assert len(found) == 60
    assert list(found[0]) == COLUMNS
    for unique in ("employee_id", "work_email"):
        assert len({row[unique].lower() for row in found}) == 60
    assert len({row["country"] for row in found}) >= 10
    names = {f"{row['first_name']} {row['last_name']}" for row in found}
    for awkward in ("'", "-", "é", "Ł", "ليلى", "愛子"):
        assert any(awkward in name for name in names)
    assert any(row["first_name"] == row["last_name"] for row in found)
    assert any(row["employee_id"].startswith("00") for row in found)
    assert any("," in row["location"] for row in found)


@pytest.mark.parametrize("name", [ROSTER, DAY_TWO])
def test_everybody_is_made_up_and_managed_by_somebody_here(name: str) -> None:
    found = rows(name)
    emails = {row["work_email"] for row in found}
    for row in found:
        assert row["work_email"].rpartition("@")[2] in ("example.com", "example.org")
        assert row["manager_email"] in emails or row["employee_id"] == "000017"


def test_habitate_takes_every_key_as_a_username() -> None:
    assert all(re.fullmatch("[A-Za-z0-9]+", row["employee_id"]) for row in rows(DAY_TWO))


def test_day_two_is_a_day_of_joiners_movers_and_leavers() -> None:
    first = {row["employee_id"]: row for row in rows(ROSTER)}
    second = {row["employee_id"]: row for row in rows(DAY_TWO)}
    both = [(first[key], second[key]) for key in first]
    assert len(second.keys() - first.keys()) == 4
    assert sum(employed(before) and not employed(after) for before, after in both) == 3
    assert [after["employee_id"] for before, after in both if not employed(before) and employed(after)] == ["W10136"]
    moved = [
        {name for name in before if before[name] != after[name]}
        for before, after in both
        if before != after and employed(before) and employed(after) and before["employee_id"] != BAD_ROW
    ]
    assert sorted(map(sorted, moved)) == [
        ["country", "location"],
        ["department", "job_title", "manager_email"],
        ["job_title"],
        ["last_name", "work_email"],
        ["manager_email"],
    ]


def test_the_first_day_is_clean(demo_settings: Settings) -> None:
    people = _people(ROSTER, demo_settings)
    assert people.rejects == ()
    assert people.unknown == ()
    assert people.frame["_verdict"].to_list().count("employed") == 58


def test_day_two_has_one_bad_row(demo_settings: Settings) -> None:
    people = _people(DAY_TWO, demo_settings)
    (bad,) = people.rejects
    assert (bad.key, bad.column, bad.value) == (BAD_ROW, "start_date", "2019-02-30")
    assert content(DAY_TWO).splitlines()[bad.line - 1].startswith(BAD_ROW.encode())
    assert people.frame.height == 63


@pytest.mark.parametrize("name", [ROSTER, DAY_TWO])
def test_every_target_maps_everybody(name: str, demo_settings: Settings) -> None:
    people = _people(name, demo_settings)
    _, specs = build_targets(demo_settings)
    for target, spec in specs.items():
        compiled = compile_target(spec, people.columns)
        desired = desired_accounts(spec, compiled, people.frame, today=TODAY, today_utc=TODAY, ends=True)
        assert desired.faults == ()
        assert set(desired.frame["_standing"]) == {MEMBER, LEAVER}
        everybody = {row["employee_id"] for row in believed(name) if employed(row)} - {BAD_ROW}
        contractors = {row["employee_id"] for row in believed(name) if row["department"] == "Contractors"}
        wanted = everybody if target in ("traitly", "mtribes") else everybody - contractors
        assert set(desired.frame.filter(desired.frame["_standing"] == MEMBER)["_person"]) - {BAD_ROW} == wanted


def test_emails_are_mapped_from_the_columns_that_hold_them(demo_settings: Settings) -> None:
    _, specs = build_targets(demo_settings)
    for spec in specs.values():
        mapped = [name for name in spec.settings.attributes if spec.attributes[name].type is Type.EMAIL]
        assert all("email" in spec.settings.attributes[name].from_ for name in mapped)


def test_the_settings_fit_the_sandbox(demo_settings: Settings) -> None:
    settings: dict[str, Any] = dict(demo_settings.targets)
    for kind, target in settings.items():
        assert target.base_url == f"http://127.0.0.1:{DEFAULT_PORT}/{kind}"
    assert settings["tribal_habits"].api_key.get_secret_value() == TRIBAL_HABITS_KEY
    assert settings["habitate"].api_key.get_secret_value() == HABITATE_KEY
    assert settings["traitly"].token.get_secret_value() == TRAITLY_TOKEN
    assert settings["mtribes"].access_token.get_secret_value() == MTRIBES_TOKEN
    assert settings["mtribes"].space_id == MTRIBES_SPACE_ID


def test_every_department_has_a_private_board() -> None:
    with SandboxServer() as sandbox:
        boards = set(sandbox.switchboard.state("habitate")["boards"])
    assert {row["department"] for row in rows(DAY_TWO)} - {"Contractors"} <= boards


def test_verify_finds_what_is_missing() -> None:
    with SandboxServer() as sandbox:
        for kind, accounts in existing_accounts().items():
            sandbox.switchboard.seed(kind, accounts)
        states = {kind: sandbox.switchboard.state(kind) for kind in ("tribal_habits", "habitate", "traitly", "mtribes")}
    found = faults(believed(ROSTER), states)
    assert active_accounts("tribal_habits", states["tribal_habits"]) == 5
    assert "tribal_habits: W10042 has role_1 'Learner', not 'Manager'." in found
    assert "habitate: the account ruby_n is nobody's." in found
    assert "traitly: X20011 has no account." in found
    assert not any("000017" in sentence for sentence in found if sentence.startswith("tribal_habits"))
    assert not any("trainingroom3" in sentence or "W10136" in sentence for sentence in found)


def test_the_explained_settings_load_without_a_warning() -> None:
    loaded = load(CONFIG / "provisioner.example.yaml", environ={})
    assert loaded.warnings == ()
    build_targets(loaded.settings)


def test_the_explained_settings_name_every_setting() -> None:
    text = (CONFIG / "provisioner.example.yaml").read_text(encoding="utf-8")
    # To YAML 1.1, and not to our own loader, a bare `on` is a boolean
    document = yaml.safe_load(re.sub(r"\bon:", "'on':", text))
    targets = document["targets"]
    assert set(targets) == set(known_kinds())
    # What all kinds have in common is told once
    for target in targets.values():
        target |= dict.fromkeys(TargetSettings.model_fields.keys() & targets["tribal_habits"].keys() - target.keys())
    settings = load(CONFIG / "provisioner.example.yaml", environ={}).settings
    assert sorted(_missing(settings, document, "")) == []


def _missing(section: BaseModel, written: Any, path: str) -> Iterator[str]:
    """Every setting of a section that the file does not write, by its path."""
    for name, field in type(section).model_fields.items():
        key = field.alias or name
        shown = f"{path}{key}"
        if not isinstance(written, dict) or key not in written:
            yield shown
            continue
        value = getattr(section, name)
        # The maps are the user's own words, and a target's guards follow those at the top
        if name in ("attributes", "leaver") or (name == "guards" and path):
            continue
        if isinstance(value, BaseModel) and isinstance(written[key], dict):
            yield from _missing(value, written[key], f"{shown}.")
        elif name == "lookups":
            # Each kind of look-up has settings of its own
            every = {part: one for lookup in written[key].values() for part, one in lookup.items()}
            yield from _missing(next(iter(value.values())), every, f"{shown}.")
        elif isinstance(value, dict):
            for inner, one in value.items():
                if isinstance(one, BaseModel):
                    yield from _missing(one, written[key][inner], f"{shown}.{inner}.")
        elif isinstance(value, tuple):
            for index, one in enumerate(value):
                if isinstance(one, BaseModel):
                    yield from _missing(one, written[key][index], f"{shown}[{index}].")
