"""Architecture and concepts: each function that they name is there, and each word of the program is named."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "provisioner"
ARCHITECTURE: Final = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONCEPTS: Final = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
#: A step of the way: the function, and the modules that call it.
STEP: Final = re.compile(r"^\| [^|]+ \| `(provisioner\.[\w.]+)` \| ([^|]+) \|$", re.MULTILINE)
STEPS: Final = [
    (function, tuple(re.findall(r"`([^`]+)`", callers))) for function, callers in STEP.findall(ARCHITECTURE)
]


def found(dotted: str) -> tuple[str, Any]:
    """The module in which a function or a method is named, and what it is.

    Raises:
        AssertionError: nothing of that name is there.
    """
    parts = dotted.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            it = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            assert hasattr(it, name), f"{dotted}: there is no {name}"
            it = getattr(it, name)
        return ".".join(parts[:end]), it
    raise AssertionError(f"{dotted}: there is no such module")


def names_in(module: str) -> set[str]:
    """Every name that a module imports or reads, attributes too."""
    path = ROOT.joinpath(*module.split("."))
    text = (path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py").read_text("utf-8")
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A task of Celery is called by its name
            names.add(node.value)
    return names


def test_the_way_has_its_steps() -> None:
    assert len(STEPS) > 30
    assert len(STEPS) == len(re.findall(r"^\| [^|]+ \| `provisioner\.", ARCHITECTURE, re.MULTILINE))
    assert all(callers for _, callers in STEPS)


@pytest.mark.parametrize("function", [function for function, _ in STEPS])
def test_each_step_is_defined_where_the_page_says(function: str) -> None:
    module, it = found(function)
    # A task of Celery is an instance, whose function has the module
    assert inspect.unwrap(getattr(it, "run", it)).__module__ == module
    assert callable(it)


@pytest.mark.parametrize(("function", "callers"), STEPS)
def test_each_step_is_taken_by_the_modules_that_the_page_names(function: str, callers: tuple[str, ...]) -> None:
    name = function.rpartition(".")[2]
    for caller in callers:
        assert names_in(caller) & {name, f"provisioner.{name}"}, f"{caller} does not use {name}"


def public(path: Path) -> set[str]:
    """The public classes of a module."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def listed(heading: str) -> dict[str, str]:
    """What a section of the concepts names, with its sentence."""
    section = CONCEPTS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE))


def test_every_package_stands_in_the_concepts() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("[a-z]*.py")}
    assert set(listed("Packages")) == packages | modules


def test_every_noun_of_the_model_stands_in_the_concepts() -> None:
    nouns = set().union(*(public(path) for path in (PACKAGE / "model").glob("*.py")))
    assert set(listed("Values")) == nouns


@pytest.mark.parametrize("heading", ["Packages", "Values"])
def test_each_has_one_sentence(heading: str) -> None:
    for name, sentence in listed(heading).items():
        told = re.sub(r" \(`model\.\w+`\)$", "", sentence)
        assert re.fullmatch(r"[A-Z][^\n]+\.", told), f"{name}: {told}"
        assert ". " not in told, f"{name}: {told}"
