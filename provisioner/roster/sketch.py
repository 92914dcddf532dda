"""Settings to start from, for a roster that nobody has described yet: what each column looks like. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.errors import ProvisionerError
from provisioner.roster.cells import trimmed, without_words
from provisioner.roster.days import COMMON, forms_that_fit, readable_by
from provisioner.roster.forms import parse, records_in
from provisioner.roster.forms.table import PLACE, Table
from provisioner.roster.naming import is_name
from provisioner.roster.renaming import renamed
from provisioner.roster.values import Source
from provisioner.settings import RosterSettings

_KEY_NAME: Final = re.compile(
    r"\b(?:id|nr|no|num|number|key|code)\b|(?:id|nr|no|number)$|\b(?:emp|pers|staff|work|user)", re.IGNORECASE
)
_STRONG_KEY: Final = re.compile(r"(?:emp|pers|staff|work)\w*[ _.-]*(?:id|nr|no|num|number)?\b", re.IGNORECASE)
_STATUS_NAME: Final = re.compile(r"status|state|active|enabled|employed|leaver|block|aktiv", re.IGNORECASE)
_DATE_NAME: Final = re.compile(
    r"date|day|datum|start|hire|join|end\b|term|leav|exit|eintritt|austritt|when", re.IGNORECASE
)
_STARTS: Final = re.compile(r"start|hire|join|begin|entry|eintritt|from|whencreated", re.IGNORECASE)
_ENDS: Final = re.compile(r"end\b|_end|end_|term|leav|exit|austritt|last.?day|until", re.IGNORECASE)
_YES: Final = frozenset(
    {
        "active",
        "a",
        "employed",
        "current",
        "yes",
        "y",
        "true",
        "1",
        "enabled",
        "aktiv",
        "ja",
        "oui",
        "working",
        "hired",
        "on leave",
    }
)
_NO: Final = frozenset(
    {"inactive", "terminated", "left", "leaver", "t", "i", "no", "n", "false", "0", "nein", "non", "disabled", "former"}
    | {"resigned", "retired", "deceased"}
)
#: How the line of a total begins.
TOTAL: Final = re.compile(
    r"(?:grand |sub)?totals?\b|summe\b|gesamt|sum\b|count\b|anzahl|number of|end of (?:report|file|list)"
    r"|\d+ (?:rows|records)",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
#: Texts of a status that are named, rows that are sampled, and columns that are proposed for one thing.
_MOST_TEXTS: Final = 10
_SAMPLE: Final = 1_000
_PROPOSED: Final = 3
_LONGEST: Final = 40
_KEY_SHARE: Final = 0.98
#: Of a column that is named as a key is, this share of other texts: rows of some people are there several times.
_REPEATED_SHARE: Final = 0.5
_ENOUGH: Final = 20
#: The day goes before the month wherever points part them.
_POINTS: Final = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}.*")


@dataclass(frozen=True, slots=True)
class Sketch:
    """What a roster looks like.

    `settings` is a section ``roster`` to start from; `keys` are columns that may be the key, the likelier first;
    `repeated` is in how many rows the first of them repeats another's; `addresses` are columns with another address in
    each row; `status` holds, for each column that may say who is employed, its texts and how often each is there;
    `unsure` are texts of the first of them which may as well be employed people's; `dates` are the forms that read each
    column of days.
    """

    settings: Mapping[str, Any]
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ()
    status: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    dates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repeated: int = 0
    addresses: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


def sketch(source: Source, settings: RosterSettings, zone: ZoneInfo) -> Sketch | None:
    """What to start from for a roster; None if it cannot be read as a table, which the error of reading it says."""
    found: dict[str, Any] = {}
    try:
        places = records_in(source, settings) if settings.records is None else []
        if places:
            found["records"] = places[0]
            settings = settings.model_copy(update={"records": places[0]})
        table = parse(source, settings, needed=())
        if rename := _of_one_name(table):
            found["rename"] = rename
            table = renamed(table, settings.model_copy(update={"rename": rename}), source.name)
        table, _ = without_words(trimmed(table, ()), settings.nulls, None, (), marks=True)
    except ProvisionerError:
        return None
    names = [name for name in table.columns if is_name(name)]
    if table.frame.is_empty() or 2 * len(names) < len(table.columns):
        return None
    rows = table.frame.select("_line", *(pl.col(name).str.strip_chars() for name in names))
    rows = rows.filter(~pl.Series([is_no_person(row, names) for row in rows.iter_rows(named=True)], dtype=pl.Boolean))
    if table.encoding is not None:
        found["encoding"] = table.encoding
    if table.delimiter is not None:
        found["delimiter"] = table.delimiter
    if table.header_line is not None and table.header_line > 1:
        found["header_row"] = table.header_line
    dates = _dates(rows, names, zone)
    status = _statuses(rows, [name for name in names if name not in dates])
    others = [name for name in names if name not in dates and name not in status]
    keys = _keys(rows, others)
    repeated = 0
    if not keys:
        keys = _repeated_keys(rows, others)
        repeated = rows.height - rows[keys[0]].str.to_lowercase().n_unique() if keys else 0
    addresses = [] if keys else _addresses(rows, names)
    if keys:
        found["key"] = keys[0]
    unsure: list[str] = []
    if status and _STATUS_NAME.search(column := next(iter(status))):
        found["employed"], unsure = _employed(column, status[column])
    for setting, pattern in (("starts", _STARTS), ("ends", _ENDS)):
        found.update([(setting, name) for name in dates if pattern.search(name)][:1])
    if forms := list(dict.fromkeys(form for one in dates.values() for form in one)):
        found["dates"] = forms[0] if len(forms) == 1 else forms
    if keys and table.bad:
        # Of a row with a few cells the first is trusted once the key is known
        table = parse(source, settings.model_copy(update={"key": keys[0]}), needed=())
    if skip := skip_of(table, names):
        found["skip"] = skip
    return Sketch(found, tuple(names), tuple(keys), status, dates, repeated, tuple(addresses), tuple(unsure))


def _of_one_name(table: Table) -> dict[str, str]:
    """For `roster.rename`: another name for each column that has the name of one before it."""
    seen: set[str] = set()
    wanted: dict[str, str] = {}
    for place, column in enumerate(table.columns, 1):
        name, mark, _ = column.partition(PLACE)
        if mark and name in seen:
            wanted[f"#{place}"] = f"{name} {place}"
        seen.add(name)
    return wanted if not set(wanted.values()) & set(table.columns) else {}


def quoted_column(name: str) -> str:
    """A column as an expression names it."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def is_no_person(row: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether a row is a total beneath the table, or the header once more."""
    cells = [(name, str(row[name]).strip()) for name in names if row[name]]
    if not cells:
        return True
    total = TOTAL.match(cells[0][1]) is not None and 2 * len(cells) <= len(names) + 1
    return total or _is_header(cells)


def _is_header(cells: Sequence[tuple[str, str]]) -> bool:
    alike = sum(1 for name, cell in cells if _letters(name) == _letters(cell))
    return len(cells) > 1 and 2 * alike > len(cells)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower()


def skip_of(table: Table, names: Sequence[str]) -> str | None:
    """An expression that names rows which are no people; None if there is none."""
    found: dict[str, None] = {}
    # Totals are beneath the table, a second header is above it
    ends = pl.concat([table.frame.head(_PROPOSED), table.frame.tail(_SAMPLE)]).unique("_line", maintain_order=True)
    for row in ends.iter_rows(named=True):
        if is_no_person(row, names) and (cells := [(name, str(row[name]).strip()) for name in names if row[name]]):
            column, cell = cells[0]
            word = TOTAL.match(cell)
            test = f"LIKE {_text(word[0] + '%')}" if word else f"= {_text(cell[:_LONGEST])}"
            found[f"{quoted_column(column)} {test}"] = None
    for bad in table.bad:
        if bad.key_cell and (word := TOTAL.match(bad.key_cell.strip())):
            found[f"{quoted_column(names[0])} LIKE {_text(word[0] + '%')}"] = None
    return " OR ".join(list(found)[:_PROPOSED]) or None


def _keys(rows: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Columns with another text in each row, the likelier first; an address is none."""
    found: list[tuple[float, int, str]] = []
    for place, name in enumerate(names):
        column = rows[name].drop_nulls()
        if column.len() < _KEY_SHARE * rows.height or column.str.to_lowercase().n_unique() < _KEY_SHARE * column.len():
            continue
        sample = column.head(_SAMPLE).to_list()
        if any(_EMAIL.search(text) for text in sample) or max(map(len, sample)) > _LONGEST:
            continue
        digits = sum(any(sign.isdigit() for sign in text) for text in sample) / len(sample)
        named = _KEY_NAME.search(name) is not None
        score = 2.0 * named + bool(_STRONG_KEY.search(name)) + digits
        # Of a few rows any column may have another text in each
        if named or (digits == 1 and rows.height >= _ENOUGH):
            found.append((-score, place, name))
    return [name for _, _, name in sorted(found)[:_PROPOSED]]


def _repeated_keys(rows: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Columns that are named as a key is, and have another text in most rows."""
    found = []
    for name in names:
        column = rows[name].drop_nulls()
        several = column.len() >= _KEY_SHARE * rows.height and (
            column.str.to_lowercase().n_unique() > _REPEATED_SHARE * column.len()
        )
        if several and _STRONG_KEY.search(name) and not column.head(_SAMPLE).str.contains("@", literal=True).any():
            found.append(name)
    return found[:_PROPOSED]


def _addresses(rows: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Columns of addresses, with another one in each row."""
    found = []
    for name in names:
        column = rows[name].drop_nulls().str.to_lowercase()
        if (
            column.len() >= _KEY_SHARE * rows.height
            and column.n_unique() == column.len() > 0
            and all(_EMAIL.fullmatch(text) for text in column.head(_SAMPLE))
        ):
            found.append(name)
    return found[:_PROPOSED]


def _statuses(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Columns of a few texts that may say who is employed."""
    found: list[tuple[int, str, dict[str, int]]] = []
    for name in names:
        column = rows[name].drop_nulls()
        texts = column.value_counts(sort=True, name="count")
        if not 0 < texts.height <= _MOST_TEXTS:
            continue
        words = {text.lower() for text in texts[name]}
        named = _STATUS_NAME.search(name) is not None
        known = words <= _YES | _NO and (named or len(words) > 1)
        # What is only like a status by its texts, such as Primary: Y or N, is named and never taken for one
        score = 2 * named + known
        if score and not all(len(word) > _LONGEST for word in words):
            found.append((-score, name, {text[:_LONGEST]: int(count) for text, count in texts.iter_rows()}))
    return {name: texts for _, name, texts in sorted(found, key=lambda one: one[0])[:_PROPOSED]}


def _employed(column: str, texts: Mapping[str, int]) -> tuple[str, list[str]]:
    """Who is employed by a column, and the texts of it that may say so too or not."""
    blocks = re.search("block|leaver|terminated|inactive", column, re.IGNORECASE) is not None
    good, bad = (_NO, _YES) if blocks else (_YES, _NO)
    if {text.lower() for text in texts} == {"t", "f"}:
        # Beside f, t is no leaver's T
        good, bad = (frozenset("f"), frozenset("t")) if blocks else (frozenset("t"), frozenset("f"))
    yes = [text for text in texts if text.lower() in good or _first_word(text) in good]
    unsure = [text for text in texts if text not in yes and text.lower() not in bad and _first_word(text) not in bad]
    if not yes:
        # What nobody knows is asked about by name, not taken for employed
        yes, unsure = unsure[:1], unsure[1:]
    if len(yes) == 1:
        return f"{quoted_column(column)} = {_text(yes[0])}", unsure
    return (f"{quoted_column(column)} IN ({', '.join(map(_text, yes))})" if yes else "TRUE"), unsure


def _first_word(text: str) -> str:
    """As of ``Active - Payroll Eligible``; none of a code or of a single word."""
    first, *more = re.findall(r"[^\W\d_]+", text.lower()) or [""]
    return first if more and len(first) > 1 else ""


def _dates(rows: pl.DataFrame, names: Sequence[str], zone: ZoneInfo) -> dict[str, tuple[str, ...]]:
    """Columns of days, and the forms that read all of their cells."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        cells = rows[name].drop_nulls().head(_SAMPLE).unique().to_list()
        named = _DATE_NAME.search(name) is not None
        if not cells or not (named or all(re.search(r"\d.*[-/.: ]", text) for text in cells)):
            continue
        fit = forms_that_fit(cells, zone)
        if fit[:2] == ["day_first", "month_first"] and all(_POINTS.fullmatch(text.strip()) for text in cells):
            fit = ["day_first"]
        if fit:
            # Where several fit, the cells do not show which: all are named, for somebody to choose
            found[name] = tuple(fit[:1] if fit[0] == "iso" else fit[:2])
        elif named and (several := _cover(cells, zone)):
            found[name] = several
    return found


def _cover(cells: Sequence[str], zone: ZoneInfo) -> tuple[str, ...]:
    """Several forms that together read every cell; none if there are no such."""
    left = set(cells)
    chosen: list[str] = []
    while left and len(chosen) < _PROPOSED:
        read = {form: readable_by(left, form, zone) for form in COMMON}
        best = max(COMMON, key=lambda form: len(read[form]))
        if not read[best]:
            return ()
        chosen.append(best)
        left -= read[best]
    return () if left else tuple(chosen)
