"""The columns of first and last days: how dates are written, what means no day, what to set where they do not fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from provisioner.expressions.moments import local_day
from provisioner.model.attributes import CLOCK, ISO_DATE, OPEN_YEAR
from provisioner.model.date_format import date_format
from provisioner.model.wording import counted

SPELT: Final = {
    "iso": "yyyy-mm-dd",
    "day_first": "dd/mm/yyyy",
    "month_first": "mm/dd/yyyy",
}
_ISO: Final = f"^{ISO_DATE}$"
_NAMED: Final = {
    "day_first": rf"^(?P<d>[0-9]{{1,2}})[/.-](?P<m>[0-9]{{1,2}})[/.-](?P<y>[0-9]{{4}}){CLOCK}$",
    "month_first": rf"^(?P<m>[0-9]{{1,2}})[/.-](?P<d>[0-9]{{1,2}})[/.-](?P<y>[0-9]{{4}}){CLOCK}$",
}
#: Ways to write dates that are looked for where those of the settings do not fit.
COMMON: Final = (
    *("iso", "day_first", "month_first", "%d-%b-%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%d%m%Y", "%Y.%m.%d", "%Y%m%d%H%M%S.%f%z", "%Y%m%d%H%M%S"),
)
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
#: What remains of 9999 and 4712, with two digits; the day is the last, or the one before, of December.
_OPEN_ENDS: Final = frozenset({99, 12})
_DECEMBER: Final = 12
_LAST_DAYS: Final = 30
#: Different ways of writing that one sentence names.
_MOST_FORMS: Final = 3
#: Cells below which those that fit no way of writing are taken for slips.
_FEW: Final = 3


def _date(text: pl.Expr, pattern: str) -> pl.Expr:
    parts = text.str.extract_groups(pattern).struct
    months = [parts.field(name) for name in ("m", "m2", "m3") if f"?P<{name}>" in pattern]
    spelt = pl.concat_str(parts.field("y"), pl.coalesce(months), parts.field("d"), separator="-")
    return spelt.str.to_date("%Y-%m-%d", strict=False)


def spelt(form: str) -> str:
    """How dates of a form look, for a message."""
    return SPELT.get(form, form)


def _read(texts: pl.Series, form: str, zone: ZoneInfo) -> list[date | None]:
    """The day of each text by one form alone."""
    if form in SPELT:
        pattern = _ISO if form == "iso" else _NAMED[form]
        days = texts.to_frame().select(_date(pl.first().str.strip_chars(), pattern)).to_series()
        return [day and local_day(day, text, zone) for text, day in zip(texts, days, strict=True)]
    read = date_format(form).read
    return [read(text, zone) for text in texts]


def forms_that_fit(cells: Collection[str], zone: ZoneInfo) -> list[str]:
    """Of the common ways to write dates those that read every cell; zeros are none to them."""
    texts = pl.Series("cell", [text for text in cells if not _ZEROS.fullmatch(text.strip())], dtype=pl.String)
    if texts.is_empty():
        return []
    return [form for form in COMMON if None not in _read(texts, form, zone)]


def readable_by(cells: Collection[str], form: str, zone: ZoneInfo) -> set[str]:
    """The cells that one form reads, and those that mean no day."""
    texts = pl.Series("cell", list(cells), dtype=pl.String)
    days = _read(texts, form, zone)
    return {text for text, day in zip(texts, days, strict=True) if day is not None or _ZEROS.fullmatch(text.strip())}


@dataclass(frozen=True, slots=True)
class Days:
    """A column of days, null where there is none.

    `wrong` marks cells that are no date, `reasons` says by their text why, and `advice` what to set.
    """

    days: pl.Series
    wrong: pl.Series
    reasons: Mapping[str, str] = field(default_factory=dict)
    advice: tuple[str, ...] = ()


def read_days(
    frame: pl.DataFrame, name: str | None, dates: Sequence[str], zone: ZoneInfo, *, last: bool = False
) -> Days:
    """The days of a column. A roster has few different ones, so each spelling is read once.

    A moment with a zone is its day in `zone`. Zeros mean no day, and so does a last day from the year `OPEN_YEAR` on.

    Args:
        name: the column; none: nobody has a day.
        dates: the forms in which dates are written. ISO is understood besides, where none of them reads a cell.
        last: whether these are last days.
    """
    if name is None:
        none = pl.repeat(None, frame.height, dtype=pl.Date, eager=True)
        return Days(none, pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True))
    texts = frame[name].unique().drop_nulls()
    # A second form that reads the same texts in the same way says nothing
    by_form = {form: _read(texts, form, zone) for form in dict.fromkeys((*dates, "iso"))}
    known: dict[str, date | None] = {}
    reasons: dict[str, str] = {}
    for place, text in enumerate(texts):
        if _means_none(text.strip(), last=last):
            known[text] = None
            continue
        found = {form: day for form in dates if (day := by_form[form][place]) is not None}
        day = next(iter(found.values()), by_form["iso"][place])
        if last and day is not None and day.year >= OPEN_YEAR:
            known[text] = None
        elif day is None:
            reasons[text] = f"it is no date ({', '.join(map(spelt, dates))})"
        elif len(set(found.values())) > 1:
            read = ", ".join(f"{other} by {spelt(form)}" for form, other in found.items())
            reasons[text] = f"it is a different day by each form of roster.dates: {read}"
        elif last and _may_be_open(day, found):
            reasons[text] = "its year has two digits and may as well be 9999 or 4712, which mean no last day"
        else:
            known[text] = day
    days = frame[name].replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.Date
    ) if known else pl.repeat(None, frame.height, dtype=pl.Date, eager=True)  # fmt: skip
    amiss = frame[name].is_in(list(reasons)).fill_null(value=False)
    return Days(days, amiss, reasons, _advice(frame, name, dates, reasons, zone))


def _means_none(text: str, *, last: bool) -> bool:
    if _ZEROS.fullmatch(text):
        return True
    return last and any((found := form.fullmatch(text)) and int(found["y"]) >= OPEN_YEAR for form in _YEARS)


def _may_be_open(day: date, found: Collection[str]) -> bool:
    """Whether a last day with a two-digit year may have been an open end, such as 31-DEC-12 for 31-DEC-4712."""
    short = any(form not in SPELT and date_format(form).short_year for form in found)
    return short and day.month == _DECEMBER and day.day >= _LAST_DAYS and day.year % 100 in _OPEN_ENDS


def _advice(
    frame: pl.DataFrame, name: str, dates: Sequence[str], reasons: Mapping[str, str], zone: ZoneInfo
) -> tuple[str, ...]:
    """Which other way of writing fits the cells that are no date, or how they look; no cell is quoted."""
    wrong = [text for text, reason in reasons.items() if reason.startswith("it is no date")]
    if not wrong:
        return ()
    count = int(frame[name].is_in(wrong).sum())
    none = "is no date" if count == 1 else "are no dates"
    now = ", ".join(dates)
    sentence = f"{name}: {counted(count, 'cell')} {none} as `roster.dates: {now}` has them"
    fits = [other for other in forms_that_fit(wrong, zone) if other not in dates]
    shapes = Counter(_form(text) for text in wrong)
    seen = ", ".join(shape for shape, _ in shapes.most_common(_MOST_FORMS))
    if len(fits) == 1:
        form = fits[0] if fits[0] in SPELT else f'"{fits[0]}"'
        look = f" ({SPELT[fits[0]]})" if fits[0] in SPELT else ""
        return (f"{sentence}; they look like {seen}{look}. Set `roster.dates: {form}`.",)
    if fits:
        either = " or ".join(f"`{one}`" for one in fits)
        return (f"{sentence}; they look like {seen}. Set `roster.dates` to {either}: these cells do not show which.",)
    if count < _FEW:
        return ()
    known = ", ".join(f"{form} ({look})" for form, look in SPELT.items())
    return (
        f"{sentence}; they look like {seen}. `roster.dates` takes {known} and formats such as `%d-%b-%y`, or several.",
    )


def _form(text: str) -> str:
    """How a cell looks: 9 for digits, A for letters."""
    return re.sub(r"[^\W\d_]", "A", re.sub(r"[0-9]", "9", text.strip()))[:30]
