"""The tables of the vendors' texts: everything that is published has its row, and every row names what is there.

`tests/vendor_texts` holds what each text publishes, with the page: calls, fields, words, statuses and events. They are
facts of the texts, which are not part of the project.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from provisioner.sandbox.instance import Instance

ROOT: Final = Path(__file__).parents[2]
TEXTS: Final = ROOT / "tests" / "vendor_texts"
#: The vendors with a text of their own; SCIM's is the RFCs.
KINDS: Final = tuple(sorted(path.stem for path in TEXTS.glob("*.json")))
NOTHING: Final = "—"
#: Calls that a text prints and that the stand-in has not, since nobody calls them.
LEFT_OUT: Final = "left out"


@cache
def published(kind: str) -> dict[str, Any]:
    text: dict[str, Any] = json.loads((TEXTS / f"{kind}.json").read_text(encoding="utf-8"))
    return text


@cache
def rows(kind: str, title: str) -> list[list[str]]:
    """The cells of the table below a heading, without head and rule."""
    text = (ROOT / "docs" / "targets" / f"{kind}.md").read_text(encoding="utf-8")
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def sentences(kind: str) -> list[list[str]]:
    return rows(kind, "The text, sentence by sentence")


def coded(kind: str) -> set[str]:
    return {name for row in sentences(kind) for name in re.findall(r"`([^`]+)`", row[0])}


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return frozenset(node.name for node in found)


def missing(kind: str) -> Iterator[str]:
    """What a text publishes and no row names."""
    text, names = published(kind), coded(kind)
    yield from (one["call"] for one in text["endpoints"] if one["call"] not in names)
    for page, fields in text["fields"].items():
        yield from (f"{page}: {name}" for name in fields if name not in names)
    yield from (name for name in (*text["words"], *text["events"]) if name not in names)
    said = " ".join(row[0] for row in sentences(kind))
    yield from (status for status in text["statuses"] if not re.search(rf"\b{status}\b", said))
    yield from (name for name in text.get("abilities", ()) if name.lower() not in said.lower())


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_is_published_has_its_row(kind: str) -> None:
    assert list(missing(kind)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_names_a_place_and_a_test_that_are_there(kind: str) -> None:
    wrong = []
    for _, _, place, test in sentences(kind):
        for cell, base in ((place, ROOT / "provisioner" / "sandbox"), (test, ROOT / "tests")):
            if cell == NOTHING:
                continue
            named = re.fullmatch(r"(\S+\.py) `(\w+)`", cell)
            path = base / named.group(1) if named else base
            if named is None or not path.is_file() or named.group(2) not in functions(path):
                wrong.append(cell)
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_a_test_says_why(kind: str) -> None:
    reasons = re.compile(r"left out|not read|not needed|nothing depends|in the user interface")
    bare = [row for row in sentences(kind) if row[3] == NOTHING and not reasons.search(row[1])]
    assert bare == []
    silent = rows(kind, "Where the text is silent")
    assert all(len(row) == 4 and all(row) for row in silent)


def shape(call: str) -> str:
    """A call with its variables made alike."""
    return re.sub(r"\{[^}]*\}|\b(?:USER_NAME|ID)\b", "{}", call)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mtribes"])
def test_the_stand_in_has_what_is_published_and_nothing_else(kind: str) -> None:
    """What is left out may be missing there. The list of members is printed under the address of one."""
    routes = Instance(kind, kind).vendor.routes()
    served = {shape(f"{route.method} {route.template}") for route in routes}
    printed = {shape(one["call"]) for one in published(kind)["endpoints"]}
    assumed = {"habitate": {"GET /api/v1/users"}, "traitly": set[str](), "tribal_habits": set[str]()}[kind]
    assert served - printed == assumed
    for call in printed - served:
        shown = [row for row in sentences(kind) if call in {shape(name) for name in re.findall(r"`([^`]+)`", row[0])}]
        assert shown, call
        assert all(LEFT_OUT in row[1] or "the second" in row[1] for row in shown), call


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mtribes"])
def test_our_code_names_no_path_that_is_not_published(kind: str) -> None:
    prefix = {"tribal_habits": "/papi/", "habitate": "/api/v1/", "traitly": "/api/v1/"}[kind]
    printed = {shape(one["call"]).split(" ", 1)[1] for one in published(kind)["endpoints"]} | {"/api/v1/users"}
    beginnings = {path for one in printed for path in _beginnings(one)}
    called = set()
    for path in (ROOT / "provisioner" / "targets" / kind).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(prefix):
                called.add(node.value.split("?")[0])
    assert called
    assert {path for path in called if shape(path) not in beginnings} == set()


def _beginnings(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) + slash for end in range(2, len(parts) + 1) for slash in ("", "/")]


def test_figures(record_property: Any) -> None:
    """How much is covered; shown by `pytest -rP`."""
    for kind in KINDS:
        text = published(kind)
        figures = {
            "rows": len(sentences(kind)),
            "silent": len(rows(kind, "Where the text is silent")),
            "endpoints": len(text["endpoints"]),
            "fields": sum(len(names) for names in text["fields"].values()),
            "words": len(text["words"]),
            "statuses": len(text["statuses"]),
            "events": len(text["events"]),
        }
        record_property(kind, figures)
        print(kind, figures)  # noqa: T201
        assert figures["rows"] > 0
