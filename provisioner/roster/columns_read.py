"""Which columns anybody reads, before anybody knows which ones the file has. Pure."""

from __future__ import annotations

from collections.abc import Collection

from provisioner.expressions import compile_expression
from provisioner.roster.derived import is_own, lookup_of
from provisioner.roster.named import as_in_file, columns_of
from provisioner.roster.picking import order_of
from provisioner.settings import RosterSettings, Settings


def wanted_by(settings: RosterSettings) -> frozenset[str]:
    """The columns that the roster's own settings read, but computed columns and look-ups."""
    found: set[str] = set(settings.same_person)
    for text, where in (
        (settings.previous_key, "roster.previous_key"),
        (settings.starts, "roster.starts"),
        (settings.ends, "roster.ends"),
    ):
        if text is not None:
            found |= columns_of(text, where=where)
    for text, where in ((settings.employed, "roster.employed"), (settings.exclude, "roster.exclude")):
        found |= compile_expression(text, None, where=where, predicate=True).columns
    if settings.label is not None:
        found |= compile_expression(settings.label, None, where="roster.label").columns
    found |= frozenset[str]().union(*(one.expression.columns for one in order_of(settings.pick, None)))
    return frozenset(found)


def read_by(settings: RosterSettings, needs: Collection[str]) -> frozenset[str]:
    """All columns that the settings read, those of look-ups by their dotted names; the file need not have them."""
    found = {*wanted_by(settings), *needs, *columns_of(settings.key, where="roster.key")}
    found |= compile_expression(settings.skip, None, where="roster.skip", predicate=True).columns
    for name, text in settings.columns.items():
        found |= compile_expression(text, None, where=f"roster.columns.{name}").columns
    for name, lookup in settings.lookups.items():
        found |= columns_of(lookup.by, where=f"roster.lookups.{name}.by")
    # What a look-up in the roster itself reads is a column of it
    for name in tuple(found):
        rest = name
        while is_own(settings, rest):
            rest = rest.partition(".")[2]
            found.add(rest)
    return frozenset(found)


def file_columns(settings: RosterSettings, needs: Collection[str]) -> frozenset[str]:
    """The file's columns that anybody reads, as its header has them."""
    found = read_by(settings, needs).difference(settings.columns)
    return as_in_file(settings, (name for name in found if lookup_of(settings, name) is None))


def read_by_events(settings: Settings) -> frozenset[str]:
    """Looked-up columns that routes of events read; of other columns a person's row has what the roster has."""
    found: set[str] = set()
    for rule in settings.events:
        for text in (rule.when, rule.name):
            if text is not None:
                found |= compile_expression(text, None, where="events").columns
    lookups = settings.roster.lookups
    return frozenset(name for name in found if "." in name and name.partition(".")[0] in lookups)
