"""Where inbound events go: the routes of the settings, and what each makes of one event. Pure.

An expression of a route sees the event's fields by name (nested ones flattened with ``_``, see
`provisioner.model.event.flatten`), the columns of the person's row where no field has the same name, and each column
again as ``person_<column>``. Besides there are ``event`` (its name), ``target`` (where it is from), ``person`` (the
key) and ``own`` (true for what was done through the vendor's API, so probably by us). What is absent is NULL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import polars as pl

from provisioner.errors import ConfigurationError
from provisioner.expressions import Expression, compile_expression, evaluate_predicate, evaluate_text
from provisioner.model.event import Fact, InboundEvent, canonical_json
from provisioner.settings import Settings
from provisioner.settings.nearest import nearest
from provisioner.settings.place import is_loopback
from provisioner.settings.root import EventRoute

VERBS: Final = ("event", "tag", "enrolment")


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of `events`.

    `id` names it by its content, `place` is its number in the settings. `verb` is one of `VERBS` with its `target`, or
    ``url`` with its `url`.
    """

    id: str
    place: int
    source: str
    event: str
    when: Expression
    name: Expression | None
    verb: str
    target: str = ""
    url: str = ""

    @property
    def where(self) -> str:
        """The setting's path."""
        return f"events[{self.place}]"


@dataclass(frozen=True, slots=True)
class Routed:
    """What a route makes of an event: `name` is the event's name, the tag or the code, None for a URL without one."""

    route: Route
    name: str | None


@dataclass(frozen=True, slots=True)
class Misrouted:
    """A route that could not be worked out for an event."""

    route: Route
    reason: str


def compile_routes(settings: Settings, actions: Mapping[str, Collection[str]]) -> tuple[Route, ...]:
    """Check the routes of the settings.

    Args:
        actions: what a route may bring about in each enabled target.

    Raises:
        ConfigurationError: a route names no target, leads nowhere, or has a wrong expression.
    """
    return tuple(_compile(settings, actions, place, rule) for place, rule in enumerate(settings.events))


def _compile(settings: Settings, actions: Mapping[str, Collection[str]], place: int, rule: EventRoute) -> Route:
    where = f"events[{place}]"
    source, dot, event = rule.on.partition(".")
    if not dot or not event:
        raise ConfigurationError(f"{where}.on: {rule.on!r} must be target.event, such as portal.course_completed.")
    _known(settings, source, f"{where}.on")
    verb, target, url = _destination(settings, actions, rule.to, f"{where}.to")
    if rule.name is None and verb != "url":
        raise ConfigurationError(f"{where}.name is missing: say how the {verb} is named.")
    document = [rule.on, rule.when, rule.to, rule.name]
    return Route(
        id=hashlib.blake2b(canonical_json(document).encode(), digest_size=6).hexdigest(),
        place=place,
        source=source,
        event=event,
        when=compile_expression(rule.when, None, where=f"{where}.when", predicate=True, zone=settings.zone),
        name=None
        if rule.name is None
        else compile_expression(rule.name, None, where=f"{where}.name", zone=settings.zone),
        verb=verb,
        target=target,
        url=url,
    )


def _known(settings: Settings, target: str, where: str) -> None:
    if target not in settings.targets:
        raise ConfigurationError(f"{where}: there is no target {target!r}{nearest(target, settings.targets)}.")


def _destination(
    settings: Settings, actions: Mapping[str, Collection[str]], to: str, where: str
) -> tuple[str, str, str]:
    if "://" in to:
        parts = urlsplit(to)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"{where} is no http(s) address.")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ConfigurationError(f"{where} must be https: what goes there is about people.")
        if parts.username or parts.password or parts.fragment:
            raise ConfigurationError(f"{where} must hold neither credentials nor a fragment; `secret` signs.")
        return "url", "", to
    target, _, verb = to.partition(".")
    if verb not in VERBS:
        raise ConfigurationError(
            f"{where}: {to!r} leads nowhere.", remedy="Write <target>.event, <target>.tag, <target>.enrolment or a URL."
        )
    _known(settings, target, where)
    if target in actions and verb not in actions[target]:
        taken = " and ".join(f"{one}s" for one in actions[target])
        takes = f"takes {taken} only" if taken else "takes nothing of the kind"
        raise ConfigurationError(f"{where}: {target} {takes}, not {verb}s.")
    return verb, target, ""


def row_of(
    event: InboundEvent, target: str, person: str | None, row: Mapping[str, str | None]
) -> dict[str, str | None]:
    """What expressions see of an event and its person."""
    about = {"event": event.name, "target": target, "person": person, "own": "true" if event.own else "false"}
    prefixed = {f"person_{name}": value for name, value in row.items()}
    return {**prefixed, **row, **event.fields, **about}


def route(routes: Sequence[Route], rows: Sequence[Mapping[str, str | None]]) -> list[list[Routed | Misrouted]]:
    """Work out every route that begins where an event is from, for many events at once, as it costs hardly more.

    Args:
        rows: one per event, as `row_of` makes it.

    Returns:
        What became of each event, in the order of the routes.
    """
    found: list[list[Routed | Misrouted]] = [[] for _ in rows]
    for one in routes:
        places = [place for place, row in enumerate(rows) if (row["target"], row["event"]) == (one.source, one.event)]
        if not places:
            continue
        when = evaluate_predicate(one.when, _frame(one.when, [rows[place] for place in places]))
        yes = [place for place, verdict in zip(places, when.values, strict=True) if verdict]
        for number in when.failed.arg_true().to_list():
            reason = f"{one.where}.when: {when.reasons.get(number, 'fails')}"
            found[places[number]].append(Misrouted(one, reason))
        for place, named in zip(yes, _named(one, [rows[place] for place in yes]), strict=True):
            found[place].append(named)
    return found


def _named(one: Route, rows: Sequence[Mapping[str, str | None]]) -> list[Routed | Misrouted]:
    if one.name is None or not rows:
        return [Routed(one, None) for _ in rows]
    name = evaluate_text(one.name, _frame(one.name, rows))
    result: list[Routed | Misrouted] = []
    for number, (text, failed) in enumerate(zip(name.values, name.failed, strict=True)):
        if failed:
            result.append(Misrouted(one, f"{one.where}.name: {name.reasons.get(number, 'fails')}"))
        elif not text and one.verb != "url":
            result.append(Misrouted(one, f"{one.where}.name gives nothing for this event"))
        else:
            result.append(Routed(one, text or None))
    return result


def _frame(expression: Expression, rows: Sequence[Mapping[str, str | None]]) -> pl.DataFrame:
    columns = sorted(expression.columns) or ["event"]
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in columns}, schema=dict.fromkeys(columns, pl.String)
    )


def known_by(facts: Sequence[Fact]) -> dict[str, str | None]:
    """What facts say together, as attributes: of each the newest value, and sets of what they gather.

    Args:
        facts: of one person in one target, oldest first.
    """
    found: dict[str, str | None] = {}
    sets: dict[str, dict[str, None]] = {}
    for fact in facts:
        found.update(fact.shows)
        for name, member in fact.gathers.items():
            sets.setdefault(name, {})[member] = None
    return found | {name: ";".join(members) for name, members in sets.items()}
