"""Pages from their templates, and how values are written on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from provisioner.model.person_report import account_seen_at, difference_mark
from provisioner.model.run_document import LeftOutRow

#: Seconds after which a wait is shown in a larger unit.
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def span(seconds: float | None) -> str:
    """A length of time as people say it: 4 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def value(said: Any, name: str = "") -> str:
    """A value of an attribute; a moment in epoch seconds, which is what a name that ends so means, as one reads it."""
    if said is None or said == "":
        return "(empty)"
    if name.endswith("_at") and str(said).isascii() and str(said).isdecimal():
        return f"{datetime.fromtimestamp(int(said), UTC):%Y-%m-%d %H:%M:%S} UTC"
    return str(said).lower() if isinstance(said, bool) else str(said)


def changes(operation: Mapping[str, Any]) -> list[tuple[str, str | None, str]]:
    """What an operation changes: (attribute, before, after); before is None where there was nothing to compare."""
    before, after = operation.get("before") or {}, operation.get("after") or {}
    rows: list[tuple[str, str | None, str]] = []
    for name in dict.fromkeys((*after, *before)):
        new = value(after.get(name), name)
        known = operation.get("kind") != "create" and name in before
        rows.append((name, value(before[name], name) if known else None, new))
    return rows


#: Why something was not done as predicted, in words that a number can precede.
_BECAUSE: Final[Mapping[str, str]] = {
    "pending": "not sent yet",
    "sending": "being sent",
    "waiting": "waiting to be tried again",
    "held": "held until approved",
    "overtaken": "overtaken by something newer about the person",
    "older_roster": "decided by a roster that was read later",
    "no_longer_leaving": "not leaving any more by a newer roster",
    "newer_plan": "replaced by a newer plan",
    "approved": "held at first, and approved",
}


def by_reason(rows: Iterable[LeftOutRow]) -> list[tuple[str, str, str, list[str]]]:
    """What is left out or stays: (target, kind, reason, people), the commonest first."""
    people: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        people.setdefault((row["target"], row["kind"], row["reason"]), []).append(row["person"])
    return sorted(((*key, named) for key, named in people.items()), key=lambda one: -len(one[3]))


def breaks(text: str) -> Markup:
    """A text that may go on in the next line behind each part of a set."""
    return Markup(";<wbr>").join(text.split(";"))


def otherwise(difference: Mapping[str, Any]) -> str:
    """Where a run did otherwise than its plan said: of which kind, how far, and why."""
    because = ", ".join(f"{count} {_BECAUSE.get(why, why)}" for why, count in difference["because"].items())
    return f"{difference['kind']}: {difference['predicted']} predicted, {difference['actual']} done: {because}"


def total(target: Mapping[str, Any], figure: str) -> int:
    """The sum over all kinds of one figure of a target."""
    return sum((target.get(figure) or {}).values())


def seconds_between(started: str | None, finished: str | None) -> float | None:
    """Seconds from one ISO moment to another."""
    if not started or not finished:
        return None
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def words(said: Any) -> str:
    """A remark's text: it is one, or it has one under `message` or `sentence`."""
    if isinstance(said, Mapping):
        return str(said.get("message") or said.get("sentence") or "")
    return str(said)


_environment: Final = Environment(
    loader=PackageLoader("provisioner.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "span": span,
    "value": value,
    "changes": changes,
    "breaks": breaks,
    "by_reason": by_reason,
    "words": words,
    "otherwise": otherwise,
    "quoted": lambda text: quote(str(text), safe=""),
}
_environment.globals |= {
    "total": total,
    "seconds_between": seconds_between,
    "account_seen_at": account_seen_at,
    "difference_mark": difference_mark,
}


def fragment(request: Request, template: str, **context: Any) -> str:
    """A template as text."""
    zone = request.app.state.site.settings.zone

    def local(moment: str | float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        """An ISO moment, or epoch seconds, in the organisation's time."""
        if not moment:
            return ""
        found = datetime.fromtimestamp(moment, zone) if isinstance(moment, (int, float)) else None
        return (found or datetime.fromisoformat(str(moment)).astimezone(zone)).strftime(form)

    session = getattr(request.state, "session", None)
    return _environment.get_template(template).render(
        path=request.url.path,
        session=session,
        user=session.user if session else None,
        local=local,
        zone=str(zone),
        **context,
    )


def render(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """A page."""
    return HTMLResponse(fragment(request, template, **context), status)
