"""The ledger: who has which account where, and what each target last acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import polars as pl

from provisioner.model.account import LedgerEntry
from provisioner.model.unsure import marked
from provisioner.store import keys
from provisioner.store.client import Redis
from provisioner.store.connection import redis_errors


class LedgerStore:
    """Links and acknowledged values of all targets."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def frame(self, target: str, names: Iterable[str], people: Sequence[str] | None = None) -> pl.DataFrame:
        """The ledger of one target as the planner wants it, for everybody or for some.

        Columns: `_person`, `_account`, `_state`, `_created`, `_matched`, `_recorded`, `_owed` (JSON), `_enrolled`,
        and ``l:<attribute>`` per name (null: nothing acknowledged; empty text: known to be empty).
        """
        with redis_errors():
            if people is None:
                raw = await self._redis.hgetall(keys.ledger(target))
                persons = [key.decode() for key in raw]
                texts = [value.decode() for value in raw.values()]
            else:
                found = await self._redis.hmget(keys.ledger(target), list(people)) if people else []
                pairs = [(person, text.decode()) for person, text in zip(people, found, strict=True) if text]
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
        """Let a link go on under a person's new key, unless that key has one already."""
        with redis_errors():
            text = await self._redis.hget(keys.ledger(target), old)
            if text is not None and await self._redis.hsetnx(keys.ledger(target), new, text):
                await self._redis.hdel(keys.ledger(target), old)

    async def size(self, target: str) -> int:
        """How many links there are."""
        with redis_errors():
            return int(await self._redis.hlen(keys.ledger(target)))


def _frame(persons: Sequence[str], texts: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    fields = [pl.Field(name, pl.String) for name in names] or [pl.Field("_none", pl.String)]
    shape = pl.Struct(
        [
            pl.Field("account", pl.String),
            pl.Field("state", pl.String),
            pl.Field("created", pl.Boolean),
            pl.Field("matched", pl.String),
            pl.Field("recorded", pl.Float64),
            pl.Field("values", pl.Struct(fields)),
        ]
    )
    raw = pl.DataFrame({"_person": persons, "_text": texts}, schema={"_person": pl.String, "_text": pl.String})
    doubtful = [place for place, text in enumerate(texts) if '"perhaps":' in text]
    if doubtful:
        shown = {place: _marked(texts[place], names) for place in doubtful}
        raw = raw.with_columns(pl.Series("_text", [shown.get(place, text) for place, text in enumerate(texts)]))
    # Lua writes an empty list as an empty object, so these two are read as text
    entries = raw.with_columns(
        pl.col("_text").str.json_decode(shape).alias("e"),
        pl.col("_text").str.json_path_match("$.owed").alias("_owed"),
        pl.col("_text").str.json_path_match("$.enrolled").alias("_codes"),
    )
    return entries.select(
        "_person",
        pl.col("e").struct.field("account").alias("_account"),
        pl.col("e").struct.field("state").fill_null("active").alias("_state"),
        pl.col("e").struct.field("created").fill_null(value=False).alias("_created"),
        pl.col("e").struct.field("matched").fill_null("").alias("_matched_by"),
        pl.col("e").struct.field("recorded").fill_null(0.0).alias("_recorded"),
        pl.col("_owed"),
        pl.when(pl.col("_codes").str.starts_with("["))
        .then(pl.col("_codes"))
        .otherwise(pl.lit("[]"))
        .str.json_decode(pl.List(pl.String))
        .alias("_enrolled"),
        *(pl.col("e").struct.field("values").struct.field(name).alias(f"l:{name}") for name in names),
    ).sort("_person")


def _marked(text: str, names: Sequence[str]) -> str:
    """An entry in which the members of a set that nobody can be sure of are marked as such."""
    document = json.loads(text)
    values = document.get("values") or {}
    for name, unsure in (document.get("perhaps") or {}).items():
        if name in names:
            values[name] = marked(values.get(name), unsure) or ""
    return json.dumps({**document, "values": values})
