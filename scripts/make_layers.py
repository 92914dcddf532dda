"""Draws the layers in docs/architecture.md by the import contracts; lists packages and values in docs/concepts.md.

::

    python scripts/make_layers.py            write what lies between the marks
    python scripts/make_layers.py --check    exit with 1 if it is not current

The contracts are those of pyproject.toml. What a package or a value is stands in its docstring, whose first sentence is
taken.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "provisioner"
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
CONCEPTS: Final = ROOT / "docs" / "concepts.md"
#: Columns of the drawing.
_WIDTH: Final = 76


def contracts() -> list[Mapping[str, Any]]:
    """The contracts about layers; the first is that of the whole program, the others are of what is inside packages."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = settings["tool"]["importlinter"]["contracts"]
    return sorted(
        (one for one in found if one["type"] == "layers"), key=lambda one: one["containers"] != ["provisioner"]
    )


def drawing() -> str:
    """The layers as boxes, each resting on those below it, and what is inside packages."""
    whole, *inner = contracts()
    lines = ["```text"]
    for layer in whole["layers"]:
        lines += _boxes(layer.split(" | "))
    lines += [
        "```",
        "",
        "Inside a package, what stands first imports what follows:",
        "",
        "| package | from top to bottom |",
    ]
    lines.append("|---|---|")
    for one in inner:
        (container,) = one["containers"]
        rest = " → ".join(layer.replace(" | ", " · ") for layer in one["layers"])
        lines.append(f"| `{container.removeprefix('provisioner.')}` | {rest} |")
    return "\n".join(lines)


def _boxes(names: list[str]) -> Iterator[str]:
    inner = _WIDTH - len(names) - 1
    widths = [inner // len(names) + (place < inner % len(names)) for place in range(len(names))]
    yield "┌" + "┬".join("─" * width for width in widths) + "┐"
    yield "│" + "│".join(name.center(width) for name, width in zip(names, widths, strict=True)) + "│"
    yield "└" + "┴".join("─" * width for width in widths) + "┘"


def sentence(node: ast.AsyncFunctionDef | ast.FunctionDef | ast.ClassDef | ast.Module) -> str:
    """The first sentence of a docstring, on one line.

    Raises:
        ValueError: there is none.
    """
    text = ast.get_docstring(node)
    if not text:
        raise ValueError(f"{getattr(node, 'name', 'a module')} has no docstring")
    first = " ".join(text.partition("\n\n")[0].split())
    end = first.find(". ")
    return first if end < 0 else first[: end + 1]


def packages() -> dict[str, str]:
    """Each package and module of the first level, with its sentence."""
    found = {}
    for path in sorted([*PACKAGE.glob("*/__init__.py"), *PACKAGE.glob("[a-z]*.py")]):
        name = path.parent.name if path.name == "__init__.py" else path.stem
        found[name] = sentence(ast.parse(path.read_text(encoding="utf-8")))
    return dict(sorted(found.items()))


def values() -> dict[str, tuple[str, str]]:
    """Each public class of `model`, with its module and its sentence."""
    found = {}
    for path in sorted((PACKAGE / "model").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] = (path.stem, sentence(node))
    return dict(sorted(found.items()))


def _rows(rows: Mapping[str, str], head: str) -> str:
    cells = [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in rows.items()]
    return "\n".join([f"| {head} | is |", "|---|---|", *cells])


def sections() -> dict[Path, dict[str, str]]:
    """What is written, by page and mark."""
    nouns = {name: f"{text} (`model.{module}`)" for name, (module, text) in values().items()}
    return {
        ARCHITECTURE: {"layers": drawing()},
        CONCEPTS: {"packages": _rows(packages(), "package"), "values": _rows(nouns, "value")},
    }


def filled(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    for name, text in parts.items():
        begin, end = f"<!-- {name}: written by scripts/make_layers.py -->", f"<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the marks of {name!r} are missing")
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Draw the layers, and list packages and values.")
    parser.add_argument("--check", action="store_true", help="only say whether the pages are current")
    check = parser.parse_args().check
    for path, parts in sections().items():
        page = path.read_text(encoding="utf-8")
        wanted = filled(page, parts)
        if page == wanted:
            continue
        if check:
            print(f"{path.name} is not current: run scripts/make_layers.py", file=sys.stderr)
            return 1
        path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
