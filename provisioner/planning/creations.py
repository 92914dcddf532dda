"""The operations that create accounts: from rows without an account to `AccountChange` values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import polars as pl

from provisioner.model.operation import FREE, AccountChange, Kind, PlannedState, digest, operation_id
from provisioner.planning import new_accounts
from provisioner.planning.compiled import candidate_columns
from provisioner.planning.desired import DIGEST, PERSON, STANDING
from provisioner.planning.diff import names_of
from provisioner.planning.first_free import chosen_attributes
from provisioner.planning.spec import Alike, Planning, TargetSpec

#: The reason of a create that waits since the person may have an account under another key.
PERHAPS_KNOWN: Final = "perhaps known under another key"


@dataclass(frozen=True, slots=True)
class Gone:
    """The `people` whose linked account is not there any more; `makes` are, of those, how often in a row it was made
    and never shown."""

    people: frozenset[str]
    makes: Mapping[str, int]


def creations(spec: TargetSpec, rows: pl.DataFrame, gone: Gone, circumstances: Planning) -> list[AccountChange]:
    """One `create` per row, with all that the account takes to be right; it fails where it was made in vain."""
    names = sorted(names_of(rows))
    merging = [name for name in names_of(rows) if spec.attributes[name].on_create and spec.attributes[name].merge]
    creatable = [(place, name) for place, name in enumerate(names) if spec.attributes[name].on_create]
    operations = []
    moment = circumstances.now.timestamp()
    about = rows.select(PERSON, STANDING, DIGEST).iter_rows()
    people = zip(about, rows.select(f"w:{name}" for name in names).iter_rows(), _candidates(spec, rows), strict=True)
    for (person, standing, row), wanted, candidates in people:
        after: dict[str, str | None] = {name: wanted[place] for place, name in creatable if wanted[place]}
        alike = circumstances.alike.get(person)
        lost, makes = person in gone.people, gone.makes.get(person, 0)
        operations.append(
            AccountChange(
                # A decision holds for whatever comes of the candidates: another number is no other change
                id=operation_id(spec.name, person, Kind.CREATE, {}, {**after, **candidates}),
                target=spec.name,
                person=person,
                kind=Kind.CREATE,
                account=None,
                before={},
                after=after,
                drift=lost,
                wanted=after,
                owned={name: after.get(name) for name in merging},
                reason="its account is gone" if lost else PERHAPS_KNOWN if alike else "joiner",
                snapshot=circumstances.snapshot,
                planned=moment,
                row=row or row_digest(standing, wanted),
                makes=makes,
                state=_state(spec, makes, alike),
            )
        )
    return operations


def _candidates(spec: TargetSpec, rows: pl.DataFrame) -> Iterator[dict[str, str | None]]:
    """Of each row the candidates of what is chosen by `first_free`, a line each."""
    chosen = {name: spec.settings.attributes[name].first_free for name in chosen_attributes(spec)}
    if not chosen:
        return repeat({}, rows.height)
    columns = [
        pl.concat_str(candidate_columns(name, len(texts)), separator="\n", ignore_nulls=True).alias(name)
        for name, texts in chosen.items()
    ]
    return rows.select(columns).iter_rows(named=True)


def _state(spec: TargetSpec, makes: int, alike: Alike | None) -> PlannedState:
    in_vain = makes >= new_accounts.MOST
    if not in_vain and alike is None:
        return FREE
    return PlannedState(
        hold=alike.sentence if alike else None,
        fails=f"{new_accounts.CODE}: {new_accounts.sentence(spec, makes)}" if in_vain else "",
    )


def row_digest(standing: str, wanted: Sequence[str | None]) -> str:
    """A digest of what the roster says of a person here, where the snapshot has none of their whole row.

    Args:
        wanted: the wanted values, in the order of their attributes' names.
    """
    return digest((standing, wanted), size=8)
