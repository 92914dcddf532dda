"""Finding a person by what somebody has of them: key, name as shown, email, another cell, or an account. Reads only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.roster.values import LABEL
from provisioner.runtime.context import Deployment
from provisioner.store.people.snapshots import roster_columns

#: People that are listed; a text that fits more of them is too short.
MOST: Final = 50
#: Characters from which on a part of a key, a name or an email is enough.
SHORTEST_PART: Final = 2


@dataclass(frozen=True, slots=True)
class Match:
    """Somebody whom a text fits, by what of theirs: a column of the roster, `key`, `name`, or `account in T`."""

    person: str
    label: str | None
    by: str
    value: str


async def search(dep: Deployment, text: str) -> list[Match]:
    """Whom a text fits, the best first, one more than `MOST` at most.

    A key, a shown name or an email may be given in part, any other cell as a whole. Where the roster has nobody, the
    accounts in the ledger are looked through. Upper and lower case are the same.

    Raises:
        StoreError: Redis does not answer.
    """
    wanted = text.strip().lower()
    if not wanted:
        return []
    people = await dep.frames.known()
    found = [] if people is None else await asyncio.to_thread(matches, people, wanted)
    return found or await _by_account(dep, people, wanted)


def matches(people: pl.DataFrame, wanted: str) -> list[Match]:
    """Whom a text in lower case fits by their row; pure.

    Args:
        people: everybody's last clean row.
    """
    label = pl.col(LABEL) if LABEL in people.columns else pl.lit(None, pl.String)
    columns = [("key", pl.col("_key")), ("name", label)]
    columns += [(name, pl.col(name)) for name in roster_columns(people.columns) if people.schema[name] == pl.String]
    # (rank, by, cell): a whole key or name before a part of one, these before other cells
    ways: list[tuple[int, str, pl.Expr, pl.Expr]] = []
    for place, (by, cell) in enumerate(columns):
        folded = cell.str.to_lowercase()
        ways.append((place, by, cell, folded == wanted))
        if len(wanted) >= SHORTEST_PART:
            part = folded.str.contains(wanted, literal=True)
            own = part if by in ("key", "name") else part & cell.str.contains("@", literal=True)
            ways.append((len(columns) + place, by, cell, own))
    lazy = people.lazy()
    parts = [
        lazy.filter(fits.fill_null(value=False))
        .select(
            pl.col("_key").alias("person"),
            label.alias("label"),
            pl.lit(by).alias("by"),
            cell.alias("value"),
            pl.lit(rank).alias("rank"),
        )
        .head(MOST + 1)
        for rank, by, cell, fits in ways
    ]
    found = pl.concat(pl.collect_all(parts)).sort("rank", "person").unique("person", keep="first", maintain_order=True)
    return [Match(*row) for row in found.drop("rank").head(MOST + 1).iter_rows()]


async def _by_account(dep: Deployment, people: pl.DataFrame | None, wanted: str) -> list[Match]:
    """Whose account in a target is called so."""
    found: list[tuple[str, str, str]] = []
    for target in dep.targets:
        ledger = await dep.ledger.frame(target, ())
        same = ledger.filter(pl.col("_account").str.to_lowercase() == wanted).select("_person", "_account")
        found += [(person, target, account) for person, account in same.iter_rows()]
    labels: dict[str, str] = {}
    if people is not None and LABEL in people.columns:
        shown = people.filter(pl.col("_key").is_in([person for person, _, _ in found]), pl.col(LABEL).is_not_null())
        labels = dict(shown.select("_key", LABEL).iter_rows())
    named = {person: (target, account) for person, target, account in reversed(found)}
    rows = sorted(named.items())[: MOST + 1]
    return [Match(person, labels.get(person), f"account in {target}", account) for person, (target, account) in rows]
