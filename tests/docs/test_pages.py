"""The pages: links lead somewhere, commands and options exist, generated pages are current, the site builds."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from provisioner.cli.commands import COMMANDS
from provisioner.settings import Settings
from tests.cli.calling import call

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "deploy" / "runbook.md"])
GENERATORS = sorted(path.name for path in (ROOT / "scripts").glob("make_*.py") if path.stem != "make_dist")
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(#[^)\s]*)?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), path
        if anchor:
            assert anchor[1:] in anchors(target), f"{path}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"(?:^|`|-- )(?:\$ )?provisioner ([a-z]+)((?: [^`\n]*)?)", text, re.MULTILINE)
    for command, rest in lines:
        if command not in COMMANDS:
            # Prose that begins a line with the product's name
            assert not rest.lstrip().startswith("--"), command
            continue
        options = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
        if options:
            assert options <= set(re.findall(r"--[a-z-]+", call(command, "--help").out)), command


def test_commands_in_backquotes_exist() -> None:
    for page in PAGES:
        for command in re.findall(r"`provisioner ([a-z]+)", page.read_text(encoding="utf-8")):
            assert command in COMMANDS, f"{name_of(page)}: {command}"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str) -> None:
    answer = call(command, "--help")
    assert answer.code == 0
    assert answer.out.startswith("Usage: provisioner") or "Usage: provisioner" in answer.out


@pytest.mark.parametrize(
    "script", ["make_settings_reference.py", "make_dashboard.py", "make_keys_reference.py", "make_layers.py"]
)
def test_what_is_generated_is_current(script: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(ROOT / "scripts" / script), "--check"], check=True, env=environment)


def test_the_reference_has_every_section() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`{name}`" in page or f"`{name}." in page or f"`{name}[]." in page or name == "targets"


def test_settings_that_pages_name_exist() -> None:
    known = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.MULTILINE))
    sections = {name.partition(".")[0] for name in known}
    # Decisions name fields of JSON, too
    for page in (page for page in PAGES if page.parent.name != "decisions"):
        for name in re.findall(r"`([a-z_]+\.[a-z_.]+[a-z_])`", page.read_text(encoding="utf-8")):
            if name.partition(".")[0] in sections - {"targets", "events"} and not name.endswith((".md", ".yaml")):
                assert name in known, f"{name_of(page)}: {name}"


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_the_site_fetches_nothing_from_elsewhere() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    assert settings["strict"] is True


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="the extra `docs` is not installed")
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runbook.html").is_file()
