"""Other tables in which a row's values are looked up: files and maps. Only `fetch_tables` touches the outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from provisioner.errors import ConfigurationError, RosterError
from provisioner.roster.cells import trimmed, without_words
from provisioner.roster.forms import parse
from provisioner.roster.identity import fold_key, fold_keys
from provisioner.roster.legibility import legibility_notes
from provisioner.roster.source import fetch
from provisioner.roster.values import Note, Source, clean_names
from provisioner.settings import LookupSettings, RosterSettings

#: The one column of a map of values.
VALUE: Final = "value"
FOLD: Final = "_fold"
_MOST_SHOWN: Final = 3
_FIX_ROWS: Final = "Fix the rows in that file."


class TableError(RosterError):
    """A table of `roster.lookups` cannot be read; the roster itself may be as it should."""


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A table by its key: `frame` has `_fold`, each once, and `columns`.

    `default` is the value of a map for what it does not have. `digest` and `rows` are of the file, `name` is what
    people see; a map has neither. `notes` say what was skipped or guessed, and which rows cannot be used.
    """

    frame: pl.DataFrame
    columns: tuple[str, ...]
    default: str | None = None
    digest: str | None = None
    rows: int = 0
    name: str = ""
    notes: tuple[Note, ...] = ()


def fetch_tables(
    settings: RosterSettings,
    prefixes: Collection[str] = (),
    known: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Source]:
    """Bring the files of `roster.lookups`, by the name of their look-up; a file that several use is read once.

    Args:
        known: by look-up `written` and `digest` of what is known already, see `fetch`.

    Raises:
        RosterError, ConfigurationError: one cannot be read; names the look-up.
    """
    found: dict[str, Source] = {}
    by_place: dict[str, Source] = {}
    for name, lookup in settings.lookups.items():
        if lookup.in_ is None:
            continue
        if lookup.in_ not in by_place:
            try:
                by_place[lookup.in_] = fetch(
                    RosterSettings(url=lookup.in_), known=(known or {}).get(name), prefixes=prefixes
                )
            except (RosterError, ConfigurationError) as exc:
                message = f"roster.lookups.{name}: {exc.message}"
                kind = ConfigurationError if isinstance(exc, ConfigurationError) else TableError
                raise kind(message, remedy=f"Fix roster.lookups.{name}.in, or wait for the file.") from None
        found[name] = by_place[lookup.in_]
    return found


def tables_of(settings: RosterSettings, sources: Mapping[str, Source]) -> dict[str, LookupTable]:
    """The tables of all look-ups but those in the roster itself.

    Raises:
        RosterError: a file is no table, or lacks its key.
        ConfigurationError: two values of a map are the same but for their case.
    """
    found = {}
    for name, lookup in settings.lookups.items():
        if lookup.values is not None:
            found[name] = _of_values(name, lookup.values, lookup.default)
        elif lookup.in_ is not None:
            if name not in sources:
                raise TableError(
                    f"roster.lookups.{name}: {lookup.in_} was not read.", remedy="Run it where the file is."
                )
            found[name] = _of_file(name, lookup, sources[name], settings)
    return found


def _of_values(name: str, values: Mapping[str, str], default: str | None) -> LookupTable:
    folded: dict[str, str] = {}
    for key, value in values.items():
        fold = fold_key(key)
        if folded.setdefault(fold, value) != value:
            raise ConfigurationError(
                f"roster.lookups.{name}.values: {key!r} stands there twice, but for its case, with different values.",
                remedy="Keep one of them.",
            )
    frame = pl.DataFrame({FOLD: list(folded), VALUE: list(folded.values())}, schema={FOLD: pl.String, VALUE: pl.String})
    return LookupTable(frame, (VALUE,), default=default)


def _of_file(name: str, lookup: LookupSettings, source: Source, settings: RosterSettings) -> LookupTable:
    key = lookup.key or ""
    where = f"roster.lookups.{name}"
    try:
        table = parse(source, RosterSettings(key=key, trim=settings.trim, nulls=settings.nulls))
    except RosterError as exc:
        raise TableError(f"{where}: {exc.message}", remedy=exc.remedy) from None
    if key not in table.columns:
        raise TableError(
            f"{where}: {source.name} has no column {key!r}.",
            remedy=f"Name its key in {where}.key, as its header has it.",
        )
    rows = table.frame.height + len(table.bad)
    if settings.trim:
        table = trimmed(table, ())
    sure = "nulls" in settings.model_fields_set
    table, errors = without_words(table, settings.nulls, None, {key}, marks=settings.trim, sure=sure)
    frame = table.frame.with_columns(fold_keys(clean_names(table.frame[key])).alias(FOLD))
    notes = [Note(f"{where}: {one.message}", one.remedy) for one in table.notes]
    # The encoding of such a file has no setting
    notes += [
        Note(f"{where}: {one.message}", "Let it be written as UTF-8.", one.example)
        for one in legibility_notes(table, source.name)
    ]
    if table.bad or errors.height:
        wrong = sorted({*(one.line for one in table.bad), *errors["_line"]})
        count = "1 row" if len(wrong) == 1 else f"{len(wrong)} rows"
        holds = "holds" if len(wrong) == 1 else "hold"
        notes.append(
            Note(f"{where}: {count} of {source.name} {holds} what cannot be read (line {_lines(wrong)}).", _FIX_ROWS)
        )
    frame = frame.filter(pl.col(FOLD).is_not_null()).select("_line", FOLD, *table.columns)
    once = frame.unique([FOLD, *(one for one in table.columns if one != key)], keep="first", maintain_order=True)
    several = once[FOLD].is_duplicated()
    if several.any():
        wrong = once.filter(several)["_line"].to_list()
        message = (
            f"{where}: {source.name} has several rows of one {key} that differ (line {_lines(wrong)}); none of them "
            "counts as a hit."
        )
        notes.append(Note(message, _FIX_ROWS))
    return LookupTable(
        once.filter(~several).drop("_line"), table.columns, None, source.digest, rows, source.name, tuple(notes)
    )


def _lines(lines: list[int]) -> str:
    shown = ", ".join(str(line) for line in lines[:_MOST_SHOWN])
    return f"{shown} and {len(lines) - _MOST_SHOWN} more" if len(lines) > _MOST_SHOWN else shown


def hits(wanted: pl.Series, keys: pl.Series) -> pl.Series:
    """For each text the row (UInt32) of the key that is the same but for case and unseen signs; null: there is none.

    Args:
        wanted: texts, as rows have them.
        keys: folded, each once; null is nobody's.
    """
    rows = pl.DataFrame({FOLD: keys, "row": pl.int_range(keys.len(), dtype=pl.UInt32, eager=True)})
    asked = wanted.unique().drop_nulls()
    # Few different texts, as codes are, need not be looked for once a row
    if 4 * asked.len() < wanted.len():
        found = pl.DataFrame({"text": asked, FOLD: fold_keys(clean_names(asked))}).join(rows, on=FOLD, how="inner")
        return wanted.replace_strict(found["text"], found["row"], default=None, return_dtype=pl.UInt32)
    return pl.DataFrame({FOLD: fold_keys(clean_names(wanted))}).join(rows, on=FOLD, how="left", maintain_order="left")[
        "row"
    ]
