"""Whose account an event from outside means, decided by `correlate` as in any plan. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.model.attributes import Attribute, InvalidValueError, Type, canonical, fold
from provisioner.planning.claims import Claim
from provisioner.planning.correlate import OBSERVED_ROW, correlate
from provisioner.planning.desired import PERSON
from provisioner.planning.spec import ACCOUNT, UNTOUCHABLE, Observation, TargetSpec

_NO_LINKS: Final = pl.DataFrame(schema={PERSON: pl.String, ACCOUNT: pl.String})


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


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose account it is, None for nobody; and whose it claims to be (see `Claim`)."""

    person: str | None = None
    claims: tuple[Claim, ...] = ()


class Everybody:
    """Everybody of the roster by what may identify their account in one target."""

    def __init__(self, spec: TargetSpec, desired: pl.DataFrame) -> None:
        """Take the frame of `provisioner.planning.desired.Desired`."""
        self._spec, self._desired = spec, desired
        names = [column[2:] for column in desired.columns if column.startswith("m:")]
        self._rows = {
            name: Named(
                ((value, str(row)) for row, value in enumerate(desired[f"m:{name}"])), spec.attributes[name].type
            )
            for name in names
        }

    def owner(
        self, account: str, values: Mapping[str, str | None], apart: Mapping[str, Collection[str]] | None = None
    ) -> Owner:
        """Whose an account is that belongs to nobody by the ledger.

        Args:
            values: what it holds, as the vendor says.
            apart: see `correlate`.
        """
        spelt = {name: self._canonical(name, value) for name, value in values.items()}
        rows = sorted({int(row) for name, known in self._rows.items() for row in known.by(spelt.get(name))})
        if not rows:
            return Owner()
        shape = dict.fromkeys((ACCOUNT, UNTOUCHABLE, *spelt), pl.String)
        frame = pl.DataFrame([{**spelt, ACCOUNT: account, UNTOUCHABLE: None}], schema=shape)
        # A link to another account may be stale: whether it is, only a listing can tell
        found = correlate(
            self._desired[rows],
            Observation(frame, complete=False, began=0.0),
            _NO_LINKS,
            self._spec.settings.match,
            self._spec.attributes,
            apart,
        )
        people = found.pairs.filter(pl.col(OBSERVED_ROW).is_not_null())[PERSON].to_list()
        return Owner(people[0] if people else None, found.claims)

    def _canonical(self, name: str, value: str | None) -> str | None:
        attribute = self._spec.attributes.get(name)
        try:
            return canonical(value, attribute.type) if attribute else value
        except InvalidValueError:
            return None
