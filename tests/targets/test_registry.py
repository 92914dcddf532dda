"""Which class serves a kind: entry points alone say so, this package's own like any other's."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from provisioner.errors import ConfigurationError
from provisioner.settings import TargetSettings, kinds, known_kinds, load
from provisioner.targets.registry import make, target_class
from provisioner.targets.tribal_habits import TribalHabits
from tests.targets.packages import offer

ROOT = Path(__file__).resolve().parents[2]
OWN = ("habitate", "mtribes", "traitly", "tribal_habits")


class Added(TribalHabits):
    """A third party's kind."""

    kind = "added"


class NoTarget:
    """A class with settings that is no target."""

    settings_model = TargetSettings


def settings(kind: str) -> TargetSettings:
    """Settings that only name the kind."""
    return TargetSettings(kind=kind, enabled=False)


def test_every_folder_of_a_vendor_is_an_entry_point_and_nothing_else_is() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, contracts = document["project"], document["tool"]["importlinter"]["contracts"]
    (apart,) = (one["modules"] for one in contracts if one["type"] == "independence")
    folders = {path.parent.name for path in (ROOT / "provisioner" / "targets").glob("*/__init__.py")}
    assert set(project["entry-points"][kinds.ENTRY_POINT_GROUP]) == folders
    assert set(apart) == {f"provisioner.targets.{kind}" for kind in folders}
    assert set(known_kinds()) == folders >= set(OWN)
    for kind in folders:
        made = make("mine", settings(kind))
        assert (made.name, made.kind) == ("mine", kind)
        assert made.settings_model.__module__ == f"provisioner.targets.{kind}.settings"


def test_a_package_may_add_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch, added=f"{__name__}:Added")
    assert target_class("added") is Added
    assert known_kinds() == tuple(sorted((*OWN, "scim", "added")))


@pytest.mark.parametrize(
    "value", ["no_such_module:Thing", f"{__name__}:Missing", f"{__name__}:settings", f"{__name__}:NoTarget"]
)
def test_a_package_that_cannot_be_loaded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    offer(tmp_path, monkeypatch, added=value)
    with pytest.raises(ConfigurationError, match="added"):
        make("mine", settings("added"))


def test_a_kind_that_two_packages_offer_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch, habitate=f"{__name__}:Added")
    with pytest.raises(ConfigurationError, match=r"'habitate': more than one package .*Remove all but one"):
        make("mine", settings("habitate"))


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="'habitate'"):
        make("mine", settings("habitat"))


@pytest.mark.parametrize("installed", [{}, {"mtribes": "provisioner.targets.mtribes:Mtribes"}], ids=["none", "older"])
def test_metadata_older_than_the_source_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]
) -> None:
    offer(tmp_path, monkeypatch, name="provisioner", **installed)
    config = tmp_path / "provisioner.yaml"
    config.write_text("targets: {habitate: {api_key: x}}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"'habitate' is in this source .*pip install .*--editable"):
        load(config, environ={})


def test_a_package_without_any_kind_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch, name="provisioner")
    with pytest.raises(ConfigurationError, match=r"No kind of target is installed.*pip install"):
        known_kinds()


def test_only_configured_kinds_are_imported() -> None:
    program = """
import sys, tempfile, pathlib
import provisioner.cli.app
def vendors():
    return sorted({name.split(".")[2] for name in sys.modules if name.startswith("provisioner.targets.")})
print(vendors())
from provisioner.settings import load
config = pathlib.Path(tempfile.mkdtemp()) / "provisioner.yaml"
config.write_text("targets: {traitly: {token: x, match: [name], attributes: {name: name}}}")
load(config, environ={})
print(vendors())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = ran.stdout.splitlines()
    assert not set(OWN) & set(eval(before))  # noqa: S307 - our own program's list
    assert set(OWN) & set(eval(after)) == {"traitly"}  # noqa: S307
