"""What `provisioner.sdk` promises: enough for the built-in kinds, documented, and nothing else is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from provisioner import sdk
from provisioner.settings import known_kinds

ROOT = Path(__file__).resolve().parents[2]


def imported(text: str) -> set[tuple[str, str]]:
    """Module and name of everything that a module imports of provisioner."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "provisioner"
        for alias in node.names
    }


@pytest.mark.parametrize("kind", known_kinds())
def test_a_kind_of_our_own_imports_what_the_sdk_exports(kind: str) -> None:
    own = f"provisioner.targets.{kind}"
    for path in (ROOT / "provisioner" / "targets" / kind).rglob("*.py"):
        for module, name in imported(path.read_text(encoding="utf-8")):
            if not f"{module}.{name}".startswith(own):
                assert name in sdk.__all__, f"{path.name}: {module}.{name}"
                assert getattr(sdk, name) is getattr(import_module(module), name)


def test_the_sdk_exports_what_it_imports_and_each_name_once() -> None:
    assert len(set(sdk.__all__)) == len(sdk.__all__)
    assert set(sdk.__all__) == {name for _, name in imported(Path(sdk.__file__).read_text(encoding="utf-8"))}


def test_the_page_names_all_of_it() -> None:
    text = (ROOT / "docs" / "adding-a-target.md").read_text(encoding="utf-8")
    assert [name for name in sdk.__all__ if f"`{name}`" not in text] == []


def test_only_the_contract_suite_needs_pytest() -> None:
    program = """
import sys
sys.modules["pytest"] = None
import provisioner.sdk, provisioner.testing.bench, provisioner.testing.proxy, provisioner.cli.app
"""
    subprocess.run([sys.executable, "-c", program], check=True)
