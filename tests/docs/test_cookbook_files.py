"""The cookbook's settings for well-known files, each run over such a file as it is."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from provisioner.planning.compiled import compile_target
from provisioner.planning.desired import PERSON, REASON, STANDING, desired_accounts
from provisioner.roster import fetch
from provisioner.roster.lookups import fetch_tables
from provisioner.runs.judged_roster import people_of
from provisioner.runtime.context import build_targets
from tests.support.harness import load_settings

ROOT: Final = Path(__file__).parents[2]
FILES: Final = ROOT / "tests" / "roster" / "files"
PAGE: Final = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
TODAY: Final = date(2026, 3, 2)
RECIPE: Final = re.compile(r"^#### (.+?)\n.*?^```yaml\n(.+?)\n```\n", re.MULTILINE | re.DOTALL)
RECIPES: Final = {title.split(",")[0]: text for title, text in RECIPE.findall(PAGE)}

#: By file: people with their standing and why, and some attributes of members.
EXPECTED: Final[dict[str, dict[str, tuple[str, str, dict[str, str | None]]]]] = {
    "OneRoster 1.1": {
        "u-0001": (
            "member",
            "employed",
            {
                "user_name": "alee",
                "email": "ann.lee@school.example",
                "role_1": "Learner",
                "groups": "Lakeside District;North School",
            },
        ),
        "u-0002": ("member", "employed", {"role_1": "Manager", "groups": "Lakeside District;South School"}),
        "u-0003": ("leaver", "leaver", {}),
        "u-0004": ("still", "excluded", {}),
        "u-0005": ("still", "excluded", {}),
        "u-0006": ("leaver", "leaver", {}),
    },
    "Microsoft Entra": {
        "ann.lee@example.com": (
            "member",
            "employed",
            {"user_name": "ann.lee", "last_name": "Lee", "role_1": "Manager", "groups": "Sales"},
        ),
        "tom.berg@example.com": ("leaver", "leaver", {}),
    },
    "Moodle": {
        "000124": (
            "member",
            "employed",
            {"user_name": "alee", "email": "ann.lee@example.com", "groups": "first-aid;onboarding;Sales"},
        ),
        "000125": ("leaver", "leaver", {}),
        "000126": ("leaver", "leaver", {}),
    },
    "Canvas": {
        "000124": ("member", "employed", {"user_name": "alee", "first_name": "Ann", "groups": "Teacher"}),
        "000125": ("leaver", "leaver", {}),
        "000126": ("leaver", "leaver", {}),
        "000127": ("still", "excluded", {}),
    },
    "SuccessFactors": {
        "1001": ("member", "employed", {"user_name": "alee", "manager_email": None, "groups": "Sales;Sydney"}),
        "1002": ("member", "employed", {"manager_email": "ann.lee@example.com", "groups": "Perth;Sales"}),
        "1003": ("member", "employed", {"groups": "People;Sydney"}),
        "1004": ("leaver", "leaver", {}),
    },
    "Workday": {
        "000124": (
            "member",
            "employed",
            {"user_name": "ann", "first_name": "Ann", "manager_email": None, "groups": "Sales;Sydney"},
        ),
        "000125": (
            "member",
            "employed",
            {
                "manager_email": "ann.lee@example.com",
                "groups": "Perth;Sales",
                "deactivate_scheduled_date": "2027-01-01",
            },
        ),
        "000126": ("leaver", "out of scope", {}),
        "000127": ("leaver", "leaver", {}),
    },
}


def test_each_recipe_has_its_file() -> None:
    assert RECIPES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_file_is_read_as_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document: dict[str, Any] = yaml.safe_load(RECIPES[name])
    (target,) = document["targets"].values()
    target |= {"base_url": "http://127.0.0.1:1", "api_key": "key"}
    settings = load_settings(tmp_path, document)
    monkeypatch.chdir(FILES)
    specs = build_targets(settings)[1]
    source, tables = fetch(settings.roster), fetch_tables(settings.roster)
    people, _ = people_of(specs, source, settings.roster, TODAY, TODAY, settings.zone, tables=tables)
    assert people.rejects == ()
    assert people.unknown == ()
    ends = settings.roster.ends is not None
    found: dict[str, tuple[str, str, dict[str, str | None]]] = {}
    for kind, spec in specs.items():
        compiled = compile_target(spec, people.columns)
        desired = desired_accounts(spec, compiled, people.frame, today=TODAY, today_utc=TODAY, ends=ends)
        assert desired.faults == (), kind
        for row in desired.frame.iter_rows(named=True):
            wanted = EXPECTED[name].get(row[PERSON], ("", "", {}))[2]
            found[row[PERSON]] = (row[STANDING], row[REASON], {one: row[f"w:{one}"] or None for one in wanted})
    assert found == EXPECTED[name]
