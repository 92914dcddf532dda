"""The names of a file's columns as the settings want them: by the file's name, or by its place. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from provisioner.errors import RosterError
from provisioner.roster.forms.table import PLACE, Table
from provisioner.roster.naming import quoted, showable
from provisioner.roster.values import RESERVED, clean_name
from provisioner.settings import RosterSettings

#: Names a column by its place, from 1.
_BY_PLACE: Final = re.compile(r"#([1-9][0-9]{0,3})")


def renamed(table: Table, settings: RosterSettings, name: str) -> Table:
    """A table with `roster.rename` applied.

    Raises:
        RosterError: two columns have one name; the file has no such column.
    """
    wanted = _by_place(table, settings, name) if settings.rename else {}
    # A column goes by the file's name once the other one of that name is called otherwise
    names = [wanted.get(place, column.split(PLACE)[0]) for place, column in enumerate(table.columns, 1)]
    doubled = [one for one, count in Counter(names).items() if count > 1]
    if doubled:
        places = [place for place, one in enumerate(names, 1) if one == doubled[0]]
        others = f" So are {', '.join(quoted(one, 0) for one in doubled[1:5])}." if doubled[1:] else ""
        raise RosterError(f"{name}: the header names {_several(doubled[0], places)}.{others}", remedy=_remedy(places))
    if tuple(names) == table.columns:
        return table
    return replace(table, columns=tuple(names), frame=table.frame.rename(dict(zip(table.columns, names, strict=True))))


def _by_place(table: Table, settings: RosterSettings, name: str) -> dict[int, str]:
    """The wanted names by the place of their column."""
    found: dict[int, str] = {}
    for old, new in settings.rename.items():
        place = _place(table, clean_name(old), name)
        if clean_name(new) in RESERVED or not clean_name(new):
            raise RosterError(f"roster.rename: {old!r} cannot be called {new!r}.", remedy="Choose another name.")
        if place in found:
            both = f"{found[place]!r} and {new!r}"
            raise RosterError(f"roster.rename names column {place} twice, as {both}.", remedy="Keep one of them.")
        found[place] = clean_name(new)
    return found


def _place(table: Table, old: str, name: str) -> int:
    if old in table.columns:
        return table.columns.index(old) + 1
    if (number := _BY_PLACE.fullmatch(old)) is not None:
        if int(number[1]) <= len(table.columns):
            return int(number[1])
        raise RosterError(
            f"{name}: roster.rename names column {old}, but the file has {len(table.columns)}.",
            remedy="Count the columns from the left, beginning with 1.",
        )
    places = [place for place, one in enumerate(table.columns, 1) if one.split(PLACE)[0] == old]
    if places:
        raise RosterError(
            f"{name}: {_several(old, places)}, so roster.rename has to say which.", remedy=_remedy(places)
        )
    names = showable(table.columns, rows=table.frame.height, bad=len(table.bad))
    near = get_close_matches(old, names, n=1, cutoff=0.55)
    raise RosterError(
        f"{name}: roster.rename names the column {old!r}, which the file has not"
        f"{f' (did you mean {near[0]!r}?)' if near else ''}.",
        remedy='Write the name as the file\'s header has it, or its place, such as "#3".',
    )


def _several(name: str, places: list[int]) -> str:
    return f"{quoted(name, places[0])} more than once (columns {', '.join(map(str, places[:5]))})"


def _remedy(places: list[int]) -> str:
    shown = ", ".join(f'"#{place}": …' for place in places[:5])
    return f"Give each a name of its own: roster.rename: {{{shown}}}."
