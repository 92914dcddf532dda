"""The columns of first and last days: how dates are written, what means no day, what to set where they do not fit."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.expressions.moments import local_day
from provisioner.model.attributes import CLOCK, ISO_DATE, OPEN_YEAR

SPELT: Final = {
    "iso": "yyyy-mm-dd",
    "day_first": "dd/mm/yyyy",
    "month_first": "mm/dd/yyyy",
}
_ISO: Final = f"^{ISO_DATE}$"
_DAY_FIRST: Final = rf"^(?P<d>[0-9]{{1,2}})[/.-](?P<m>[0-9]{{1,2}})[/.-](?P<y>[0-9]{{4}}){CLOCK}$"
_MONTH_FIRST: Final = rf"^(?P<m>[0-9]{{1,2}})[/.-](?P<d>[0-9]{{1,2}})[/.-](?P<y>[0-9]{{4}}){CLOCK}$"
#: Zeros where a date should be, as SAP and MySQL write none.
_ZEROS: Final = re.compile(rf"(?:0{{1,2}}[/.-]0{{1,2}}[/.-]0{{4}}|0{{4}}[/.-]0{{1,2}}[/.-]0{{1,2}}|0{{8}}){CLOCK}")
#: Any way to write a date by its year, so that one far ahead is known whatever `roster.dates` says.
_YEARS: Final = tuple(
    re.compile(f"{form}{CLOCK}")
    for form in (
        r"(?P<y>[0-9]{4})[/.-][0-9]{1,2}[/.-][0-9]{1,2}",
        r"[0-9]{1,2}[/.-][0-9]{1,2}[/.-](?P<y>[0-9]{4})",
        r"[0-9]{1,2}[/. -][A-Za-z]{3,9}[/. -](?P<y>[0-9]{4})",
        r"(?P<y>9999)[0-9]{4}",
        r"[0-9]{4}(?P<y>9999)",
    )
)
#: Different ways of writing that one sentence names.
_MOST_FORMS: Final = 3
#: Cells below which those that fit no way of writing are taken for slips.
_FEW: Final = 3


def parse_dates(column: pl.Expr, dates: str) -> pl.Expr:
    """Dates of a text column, null where there is none; ISO is understood whatever `dates` says.

    A time of day behind the date is dropped; see `read_days` for one with a zone.
    """
    text = column.str.strip_chars()
    parsed = _date(text, _ISO)
    if dates == "day_first":
        return parsed.fill_null(_date(text, _DAY_FIRST))
    if dates == "month_first":
        return parsed.fill_null(_date(text, _MONTH_FIRST))
    return parsed


def _date(text: pl.Expr, pattern: str) -> pl.Expr:
    parts = text.str.extract_groups(pattern).struct
    months = [parts.field(name) for name in ("m", "m2", "m3") if f"?P<{name}>" in pattern]
    spelt = pl.concat_str(parts.field("y"), pl.coalesce(months), parts.field("d"), separator="-")
    return spelt.str.to_date("%Y-%m-%d", strict=False)


@dataclass(frozen=True, slots=True)
class Days:
    """A column of days, null where there is none; `wrong` marks cells that are no date, `advice` says what to set."""

    days: pl.Series
    wrong: pl.Series
    advice: tuple[str, ...] = ()


def read_days(frame: pl.DataFrame, name: str | None, dates: str, zone: ZoneInfo, *, last: bool = False) -> Days:
    """The days of a column. A roster has few different ones, so each spelling is read once.

    A moment with a zone is its day in `zone`. Zeros mean no day, and so does a last day from the year `OPEN_YEAR` on.

    Args:
        name: the column; none: nobody has a day.
        last: whether these are last days.
    """
    if name is None:
        none = pl.repeat(None, frame.height, dtype=pl.Date, eager=True)
        return Days(none, pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True))
    spelt = frame[name].unique().drop_nulls()
    parsed = spelt.to_frame().select(parse_dates(pl.first(), dates)).to_series()
    known: dict[str, date | None] = {}
    wrong: list[str] = []
    for text, day in zip(spelt.to_list(), parsed.to_list(), strict=True):
        if _means_none(text.strip(), last=last):
            known[text] = None
        elif day is not None:
            known[text] = local_day(day, text, zone)
        else:
            wrong.append(text)
    days = frame[name].replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.Date
    ) if known else pl.repeat(None, frame.height, dtype=pl.Date, eager=True)  # fmt: skip
    amiss = frame[name].is_in(wrong).fill_null(value=False)
    return Days(days, amiss, _advice(frame, name, dates, wrong))


def _means_none(text: str, *, last: bool) -> bool:
    if _ZEROS.fullmatch(text):
        return True
    return last and any((found := form.fullmatch(text)) and int(found["y"]) >= OPEN_YEAR for form in _YEARS)


def _advice(frame: pl.DataFrame, name: str, dates: str, wrong: list[str]) -> tuple[str, ...]:
    """Which other way of writing fits the cells that are no date, or how they look; no cell is quoted."""
    if not wrong:
        return ()
    cells = pl.Series("cell", wrong)
    count = int(frame[name].is_in(wrong).sum())
    none = "is no date" if count == 1 else "are no dates"
    told = f"{name}: {count} cell{'' if count == 1 else 's'} {none} as `roster.dates: {dates}` has them"
    fits = [
        other
        for other in SPELT
        if other != dates and not cells.to_frame().select(parse_dates(pl.first(), other).is_null().any()).item()
    ]
    forms = Counter(_form(text) for text in wrong)
    seen = ", ".join(form for form, _ in forms.most_common(_MOST_FORMS))
    if len(fits) == 1:
        return (f"{told}; they look like {seen} ({SPELT[fits[0]]}). Set `roster.dates: {fits[0]}`.",)
    if fits:
        either = " or ".join(f"`{one}`" for one in fits)
        return (f"{told}; they look like {seen}. Set `roster.dates` to {either}: these cells do not show which.",)
    if count < _FEW:
        return ()
    known = ", ".join(f"{form} ({spelt})" for form, spelt in SPELT.items())
    return (f"{told}; they look like {seen}. `roster.dates` knows {known}.",)


def _form(text: str) -> str:
    """How a cell looks: 9 for digits, A for letters."""
    return re.sub(r"[^\W\d_]", "A", re.sub(r"[0-9]", "9", text.strip()))[:30]
