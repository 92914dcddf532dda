"""Nothing lies about that nobody uses, and no constant is written twice."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[1] / "provisioner"
#: What only tests use, to see that each key in Redis has its row in the table.
FOR_TESTS: Final = {"kind_of"}
#: Values as short as these are the same by chance.
_SHORT: Final = 20
#: Limits that are equal by chance, and words whose meaning belongs to their module.
_BY_CHANCE: Final = {"512 * 1024 * 1024", "Mapping[str, Any]"}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module but the sandbox, which knows nothing of the rest."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "sandbox" not in path.parts:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def names_of(node: ast.stmt) -> list[str]:
    """The names that a statement defines; none where a decorator hands them to somebody."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [] if node.decorator_list and not isinstance(node, ast.ClassDef) else [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [one.id for one in node.targets if isinstance(one, ast.Name)]
    return []


def test_every_name_of_a_module_is_used() -> None:
    words: Counter[str] = Counter()
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".py", ".html", ".lua"):
            words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    unused = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {name}"
        for path, tree in modules()
        for node in tree.body
        for name in names_of(node)
        if words[name] == 1 and not name.startswith("__") and name not in FOR_TESTS
    ]
    assert unused == []


def test_every_error_is_raised_or_caught() -> None:
    tree = ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    elsewhere = "\n".join(
        path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if path.name not in ("errors.py", "sdk.py")
    )
    assert {name for name in defined if not re.search(rf"\b{name}\b", elsewhere)} == set()


def test_no_constant_is_written_twice() -> None:
    places: dict[str, list[str]] = {}
    for path, tree in modules():
        for node in tree.body:
            value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            if value is None or not names_of(node) or isinstance(value, ast.Call):
                continue
            text = ast.unparse(value)
            if len(text) >= _SHORT and text not in _BY_CHANCE:
                places.setdefault(text, []).append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert {text: found for text, found in places.items() if len(found) > 1} == {}
