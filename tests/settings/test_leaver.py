"""`leaver` as a mapping and as a list of steps, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.errors import ConfigurationError
from provisioner.settings import Settings, load
from provisioner.settings.leaver import LeaverRules, steps_of
from tests.cli.calling import traitly, write_settings


def settings(folder: Path, leaver: Any) -> Settings:
    targets = {"traitly": {**traitly("http://127.0.0.1:9/traitly"), "leaver": leaver}}
    return load(write_settings(folder, targets=targets), environ={}).settings


def test_a_mapping_is_one_step(tmp_path: Path) -> None:
    (step,) = steps_of(settings(tmp_path, {"plan": "'Leaver'"}).targets["traitly"].leaver)
    assert (step.after, list(step.rules)) == (0, ["plan"])


def test_a_list_is_steps_in_days(tmp_path: Path) -> None:
    leaver = [
        {"plan": "'A'"},
        {"after": "30d", "location": {"from": "NULL", "empty": "clear"}},
        {"after": "1440h", "plan": "'B'"},
    ]
    found = settings(tmp_path, leaver).targets["traitly"].leaver
    assert [(step.after, list(step.rules)) for step in steps_of(found)] == [
        (0, ["plan"]),
        (30, ["location"]),
        (60, ["plan"]),
    ]
    assert found["plan"].from_ == "'B'"
    assert steps_of(found)[1].rules["location"].empty == "clear"


def test_what_is_dumped_is_read_again(tmp_path: Path) -> None:
    leaver = [{"plan": "'A'"}, {"after": "30d", "plan": "'B'"}]
    found = settings(tmp_path, leaver).targets["traitly"].leaver
    assert isinstance(found, LeaverRules)
    again = settings(tmp_path, yaml.safe_load(yaml.safe_dump(LeaverRules.to_settings(found)))).targets["traitly"].leaver
    assert steps_of(again) == steps_of(found)


@pytest.mark.parametrize(
    ("leaver", "said"),
    [
        ([], "a list needs a step"),
        ([{"after": "1d", "plan": "'A'"}], "step 1: the first one is due at once"),
        ([{"plan": "'A'"}, {"plan": "'B'"}], "step 2: `after` must be longer"),
        (
            [{"plan": "'A'"}, {"after": "3d", "plan": "'B'"}, {"after": "3d", "plan": "'C'"}],
            "step 3: `after` must be longer",
        ),
        ([{"plan": "'A'"}, {"after": "36h", "plan": "'B'"}], "step 2: `after` counts whole days"),
        ([{"plan": "'A'"}, {"after": "soon", "plan": "'B'"}], "step 2: after:"),
        ([{"plan": "'A'"}, {"after": "3d"}], "step 2: it names no attribute"),
        ([{"plan": "'A'"}, {"after": "3d", "plan": {"form": "x"}}], "step 2: plan"),
        (["Guest"], "step 1: write attributes"),
    ],
)
def test_what_is_wrong_is_said_with_the_setting_and_the_step(tmp_path: Path, leaver: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, leaver)
    assert "targets.traitly.leaver" in str(caught.value)
    assert said in str(caught.value)
