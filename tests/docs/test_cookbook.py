"""Every expression of the mapping cookbook, run over the rows of the table below it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from provisioner.expressions import compile_expression, evaluate_text

PAGE = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text(encoding="utf-8")
NULL = "*(null)*"
RECIPE = re.compile(r"^### (\d+)\. (.+?)\n.*?^```sql\n(.+?)\n```\n+((?:^\|[^\n]*\n?)+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One of them: `rows` hold a cell per column, and what the expression gives."""

    number: int
    title: str
    expression: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


def cells(line: str) -> tuple[str | None, ...]:
    return tuple(None if cell.strip() == NULL else cell.strip() for cell in line.strip().strip("|").split("|"))


def recipes() -> list[Recipe]:
    found = []
    for number, title, expression, table in RECIPE.findall(PAGE):
        head, _, *rows = table.strip().splitlines()
        *columns, last = cells(head)
        assert last == "gives"
        names = tuple(str(column) for column in columns)
        found.append(Recipe(int(number), title, expression, names, tuple(cells(row) for row in rows)))
    return found


RECIPES = recipes()


def test_there_are_at_least_thirty_and_each_is_read() -> None:
    assert [recipe.number for recipe in RECIPES] == list(range(1, len(re.findall(r"^### ", PAGE, re.MULTILINE)) + 1))
    assert len(RECIPES) >= 30


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.number}")
def test_it_gives_what_the_table_says(recipe: Recipe) -> None:
    expression = compile_expression(recipe.expression, recipe.columns, where="docs/cookbook.md")
    assert expression.columns == set(recipe.columns)
    data = {name: [row[place] for row in recipe.rows] for place, name in enumerate(recipe.columns)}
    frame = pl.DataFrame(data, schema=dict.fromkeys(recipe.columns, pl.String))
    assert evaluate_text(expression, frame).values.to_list() == [row[-1] for row in recipe.rows]
