"""What Traitly tells by its webhooks, and what it recommends when asked. Pure.

Source: sections "Webhook: Recommended Next Actions" and "Webhook: Goal Propensity Change" of the API reference. Neither
has an id, so the body itself names the event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from provisioner.model.event import (
    Fact,
    InboundEvent,
    any_event,
    digest_of,
    flatten,
    identifier_of,
    moment_of,
    name_of,
    object_of,
    objects_of,
    optional_text,
)

NEXT_ACTIONS: Final = "recommended-next-actions"
PROPENSITY: Final = "goal-propensity-change"


@dataclass(frozen=True, slots=True)
class NextActions:
    """What Traitly recommends for one customer.

    `likelihood` that the customer completes `goal`, from 0 to 1; `names` of the recommended events, the most
    important first.
    """

    likelihood: float | None
    goal: str | None
    names: tuple[str, ...]


def event(target: str, body: Mapping[str, Any]) -> InboundEvent:
    """Read a webhook; its name is in ``object``.

    Raises:
        InvalidEventError: it does not say which customer it is about, or holds no list of objects.
    """
    if "object" not in body:
        return any_event(target, body)
    name = name_of(body, "object")
    if name not in (NEXT_ACTIONS, PROPENSITY):
        return any_event(target, body)
    meta, data = object_of(body, "meta"), objects_of(body, "data")
    customer, goal = identifier_of(meta, "customer_id"), optional_text(meta, "goal_name")
    at = moment_of(body.get("timestamp"))
    if name == NEXT_ACTIONS:
        fact = actions_fact(by_importance(data), goal, at or 0.0)
    else:
        fact = likelihood_fact(optional_text(data[0], "likelihood") if data else None, goal, at or 0.0)
    return InboundEvent(
        name=name,
        known=True,
        digest=digest_of(target, body),
        at=at,
        account=customer,
        match={"customer_id": customer},
        facts=(fact,),
        fields=flatten(body, meta, *data[:1]),
    )


def by_importance(actions: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of recommended events, the most important first."""

    def importance(action: Mapping[str, Any]) -> float:
        value = action.get("importance")
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0

    names = (optional_text(action, "event_name") for action in sorted(actions, key=importance, reverse=True))
    return tuple(name for name in names if name)


def actions_fact(names: Sequence[str], goal: str | None, at: float) -> Fact:
    """What is kept of recommended next actions."""
    listed = ";".join(names) or None
    shows = {"next_action": names[0] if names else None, "next_actions": listed, "next_actions_goal": goal}
    return Fact(f"next_actions.{goal or ''}", at, shows)


def likelihood_fact(likelihood: str | None, goal: str | None, at: float) -> Fact:
    """What is kept of the likelihood (0 to 1, as text) that a customer reaches a goal."""
    shows = {"likelihood": likelihood, "goal": goal}
    if goal:
        shows[f"likelihood.{goal}"] = likelihood
    return Fact(f"likelihood.{goal or ''}", at, shows)


def next_actions_of(body: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> NextActions:
    """What an answer recommends.

    Args:
        rows: its `data`.
    """
    meta = body.get("meta")
    goal = meta.get("goal_name") if isinstance(meta, dict) else None
    ranked = sorted(rows, key=lambda row: -(_number(row.get("importance")) or 0.0))
    return NextActions(
        likelihood=_number(body.get("likelihood")),
        goal=goal if isinstance(goal, str) else None,
        names=tuple(row["event_name"] for row in ranked if isinstance(row.get("event_name"), str)),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
