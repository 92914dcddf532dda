"""Whose account an identifier or a value from outside means, compared as `correlate` compares. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from provisioner.expressions import Expression, evaluate_text
from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical, fold
from provisioner.planning.desired import canonical_column


def identifier_type(attributes: Mapping[str, Attribute]) -> Type:
    """How a target's account identifiers compare: as its identifying attribute does, else to the letter."""
    return next((attribute.type for attribute in attributes.values() if attribute.identifier), Type.TEXT)


class Named:
    """People by a text, which ignores case if its type does."""

    def __init__(self, pairs: Iterable[tuple[str | None, str]], type_: Type) -> None:
        """Take (canonical text, person) pairs; an empty text names nobody."""
        self._type = type_
        self._people: dict[str, tuple[str, ...]] = {}
        for text, person in pairs:
            folded = fold(text, type_)
            if folded:
                self._people[folded] = (*self._people.get(folded, ()), person)

    def by(self, text: str | None) -> tuple[str, ...]:
        """Everybody whom a text means; several: nobody can tell which of them."""
        try:
            folded = fold(canonical(text, self._type), self._type)
        except InvalidValueError:
            return ()
        return self._people.get(folded, ()) if folded else ()


def wanted(expression: Expression, type_: Type, people: pl.DataFrame) -> Named:
    """Everybody by the value that they should have of a `match` attribute.

    Args:
        people: `_key` and the roster's columns.
    """
    values, _ = canonical_column(evaluate_text(expression, people).values, type_)
    return Named(zip(values.to_list(), people["_key"].to_list(), strict=True), type_)
