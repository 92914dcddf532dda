"""The version: it is set in pyproject.toml, and every copy of it follows."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Final

import yaml

from tests.cli.calling import call

ROOT: Final = Path(__file__).parents[2]
VERSION: Final[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
#: Files that name the image with its version.
COMPOSE: Final = ROOT / "docker-compose.yml"
KUSTOMIZATIONS: Final = sorted((ROOT / "deploy").rglob("kustomization.yaml"))
CHART: Final = ROOT / "deploy" / "helm" / "provisioner" / "Chart.yaml"
#: provisioner:1.2.3, provisioner-1.2.3-py3-none-any.whl, provisioner==1.2.3, provisioner 1.2.3
COPY: Final = re.compile(r"\bprovisioner(?::|==|-| v?)(\d+\.\d+\.\d+[\w.]*?)(?=[\s\"'`,;)]|-py3|\.tar|$)")


def handed_out() -> list[Path]:
    """Files by which somebody installs or reads, in which a version may stand."""
    folders = (".ci", "config", "deploy", "docs", "scripts")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [*found, COMPOSE, ROOT / "Makefile", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_the_command_prints_the_version_that_is_installed() -> None:
    assert version("provisioner") == VERSION, "run make again, which installs what pyproject.toml says"
    answer = call("--version", PROVISIONER_CONFIG="/there/is/none.yaml")
    assert (answer.code, answer.out, answer.err) == (0, f"provisioner {VERSION}\n", "")


def test_every_image_has_the_version() -> None:
    tags = {COMPOSE: re.findall(r"^\s*image: provisioner:(\S+)$", COMPOSE.read_text(encoding="utf-8"), re.MULTILINE)}
    for path in KUSTOMIZATIONS:
        images = yaml.safe_load(path.read_text(encoding="utf-8"))["images"]
        tags[path] = [image["newTag"] for image in images if image["name"] == "provisioner"]
    chart = yaml.safe_load(CHART.read_text(encoding="utf-8"))
    assert chart["version"] == VERSION
    tags[CHART] = [chart["appVersion"]]
    assert len(tags) == 4
    for path, found in tags.items():
        assert found == [VERSION], path


def test_no_page_or_script_names_another_version() -> None:
    text = f"image: provisioner:{VERSION}\npip install provisioner-9.8.7-py3-none-any.whl\nprovisioner==9.8.7"
    assert COPY.findall(text) == [VERSION, "9.8.7", "9.8.7"]
    others = [
        f"{path.relative_to(ROOT)}: {copy}"
        for path in handed_out()
        for copy in COPY.findall(path.read_text(encoding="utf-8", errors="ignore"))
        if copy != VERSION
    ]
    assert others == []


def test_only_one_module_asks_for_the_version() -> None:
    asking = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "provisioner").rglob("*.py")
        if re.search(r"importlib\.metadata import .*\bversion\b|__version__", path.read_text(encoding="utf-8"))
    ]
    assert asking == ["provisioner/__init__.py"]
