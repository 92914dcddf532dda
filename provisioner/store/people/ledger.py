"""The ledger: who has which account where, and what each target last acknowledged."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from provisioner.model.account import LedgerEntry
from provisioner.model.unconfirmed import marked
from provisioner.store.redis import keys
from provisioner.store.redis.client import Redis
from provisioner.store.redis.connection import redis_errors
from provisioner.store.redis.growing import scanned
from provisioner.store.redis.scripts import Scripts

#: People whose entries are marked in one step.
_MARKED_AT_ONCE: Final = 500


class LedgerStore:
    """Links and acknowledged values of all targets."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._rename = Scripts(redis).load("ledger_rename")
        self._unconfirm = Scripts(redis).load("unconfirm")

    async def frame(self, target: str, names: Iterable[str], people: Sequence[str] | None = None) -> pl.DataFrame:
        """The ledger of one target as the planner wants it, for everybody or for some.

        Columns: `_person`, `_account`, `_state`, `_created`, `_matched`, `_recorded`, `_owed` (JSON), `_enrolled`,
        `_linked`, `_makes`, `_loops` (JSON), `_left` and `_step` (see `LedgerEntry`), and ``l:<attribute>`` per name
        (null: nothing acknowledged; empty text: known to be empty).

        Everybody is read in steps: what is recorded meanwhile may be in it or not. `rekey` and `forget`, which move
        entries, wait until nothing plans.
        """
        with redis_errors():
            if people is None:
                raw = await scanned(self._redis, keys.ledger(target))
                persons = [key.decode() for key in raw]
                texts = list(raw.values())
            else:
                found = await self._redis.hmget(keys.ledger(target), list(people)) if people else []
                pairs = [(person, text) for person, text in zip(people, found, strict=True) if text]
                persons, texts = [person for person, _ in pairs], [text for _, text in pairs]
        wanted = list(dict.fromkeys(names))
        return _frame(persons, texts, wanted)

    async def entry(self, target: str, person: str) -> LedgerEntry | None:
        """One person's entry, or None."""
        with redis_errors():
            text = await self._redis.hget(keys.ledger(target), person)
        return LedgerEntry.from_json(person, json.loads(text)) if text else None

    async def entries(self, target: str, people: Sequence[str]) -> dict[str, LedgerEntry]:
        """The entries of some people, by person; who has none is absent."""
        if not people:
            return {}
        with redis_errors():
            texts = await self._redis.hmget(keys.ledger(target), list(people))
        return {
            person: LedgerEntry.from_json(person, json.loads(text))
            for person, text in zip(people, texts, strict=True)
            if text
        }

    async def rename(self, target: str, old: str, new: str) -> None:
        """Let a link and what was unlinked by hand go on under a new key, unless that key has one already."""
        await self._rename([keys.ledger(target), keys.unlinked(target)], [old, new])

    async def unconfirm(
        self, target: str, holds: Mapping[str, Sequence[str]], people: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Mark in people's entries what nobody can say of their accounts; see `model.unconfirmed`.

        Args:
            holds: by attribute the members that each account may hold, none for what is no set.
            people: with what the ledger learns of those of whom it has no entry.
        """
        everybody, encoded = list(people.items()), json.dumps(dict(holds))
        for start in range(0, len(everybody), _MARKED_AT_ONCE):
            some = json.dumps(dict(everybody[start : start + _MARKED_AT_ONCE]))
            await self._unconfirm([], ["unconfirm", target, encoded, some])

    async def people(self, target: str) -> list[str]:
        """The keys of everybody who has a link, in their order."""
        with redis_errors():
            return sorted(person.decode() for person in await scanned(self._redis, keys.ledger(target)))

    async def size(self, target: str) -> int:
        """How many links there are."""
        with redis_errors():
            return int(await self._redis.hlen(keys.ledger(target)))


def _frame(persons: Sequence[str], texts: Sequence[bytes], names: Sequence[str]) -> pl.DataFrame:
    values = pl.Struct([pl.Field(name, pl.String) for name in names] or [pl.Field("_none", pl.String)])
    shape: dict[str, pl.DataType] = {
        "account": pl.String(),
        "state": pl.String(),
        "created": pl.Boolean(),
        "matched": pl.String(),
        "recorded": pl.Float64(),
        "linked": pl.Float64(),
        "makes": pl.Int64(),
        "loops": pl.String(),
        "left": pl.String(),
        "step": pl.Int64(),
        "values": values,
        # Lua writes an empty list as an empty object, so these two are read as text
        "owed": pl.String(),
        "enrolled": pl.String(),
    }
    shown = [_marked(text, names) if b'"perhaps":' in text else text for text in texts]
    entries = pl.read_ndjson(io.BytesIO(b"\n".join(shown)), schema=shape) if shown else pl.DataFrame(schema=shape)
    codes = pl.col("enrolled")
    return entries.select(
        pl.Series("_person", persons, dtype=pl.String),
        pl.col("account").alias("_account"),
        pl.col("state").fill_null("active").alias("_state"),
        pl.col("created").fill_null(value=False).alias("_created"),
        pl.col("matched").fill_null("").alias("_matched_by"),
        pl.col("recorded").fill_null(0.0).alias("_recorded"),
        pl.col("linked").fill_null(0.0).alias("_linked"),
        pl.col("makes").fill_null(0).alias("_makes"),
        pl.col("loops").alias("_loops"),
        pl.col("left").alias("_left"),
        pl.col("step").fill_null(1).alias("_step"),
        pl.col("owed").alias("_owed"),
        pl.when(codes.str.starts_with("["))
        .then(codes)
        .otherwise(pl.lit("[]"))
        .str.json_decode(pl.List(pl.String))
        .alias("_enrolled"),
        *(pl.col("values").struct.field(name).alias(f"l:{name}") for name in names),
    ).sort("_person")


def _marked(text: bytes, names: Sequence[str]) -> bytes:
    """An entry in which the members of a set that nobody can be sure of are marked as such."""
    document = json.loads(text)
    values = document.get("values") or {}
    for name, unsure in (document.get("perhaps") or {}).items():
        if name in names:
            values[name] = marked(values.get(name), unsure) or ""
    return json.dumps({**document, "values": values}).encode()
