"""What Tribal Habits tells of enrolments: by its webhooks, and by the lists of assignments. Pure.

Source: pages "Webhook Enrolments" and "Enrolments" of the Public API V1. The two samples of webhooks print the events
``enrolment_created`` and ``enrolment_completed``; the page speaks of three for topics and articles, and three for
pathways, without naming the others. Whatever begins with ``enrolment_`` is therefore read as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    optional_text,
    text_of,
)

_ENROLMENT: Final = "enrolment_"
#: How `enrolled_by` names an enrolment that was made through the API.
_BY_API: Final = "papi"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One enrolment, whichever way it was reported.

    `what` is ``topic``, ``article`` or ``pathway``, `item` the item's id, `title` its title; `completed` and `due` are
    moments as the vendor writes them, `updated` epoch seconds.
    """

    id: str
    what: str
    item: str | None
    title: str | None
    progress: str | None
    due: str | None
    completed: str | None
    updated: float

    def fact(self) -> Fact:
        """What is kept of it: its progress and dates by item, and what was completed last."""
        place = f"{self.what}.{self.item or self.id}"
        shows = {f"progress.{place}": self.progress, f"due.{place}": self.due, f"title.{place}": self.title}
        gathers = {}
        if self.completed:
            shows |= {f"completed.{place}": self.completed, "last_completed": self.title}
            shows["last_completed_at"] = self.completed
            gathers = {"completed": self.title or place}
        # Created and completed within one millisecond: the completion is the later news
        at = self.updated + (0.0005 if self.completed else 0.0)
        return Fact(f"enrolment.{self.what}.{self.id}", at, shows, gathers)


def event(target: str, body: Mapping[str, Any]) -> InboundEvent:
    """Read a webhook. Custom fields are among the enrolment's own, without the ``X-`` of the user pages.

    Raises:
        InvalidEventError: it is an enrolment's, and lacks what names the enrolment, the item's type or the user.
    """
    name = name_of(body)
    if not name.startswith(_ENROLMENT):
        return any_event(target, body)
    number, org = identifier_of(body, "enrolment_id"), body.get("org_id")
    data = object_of(body, "enrolment_data")
    user_name, what = text_of(data, "user_name"), text_of(data, "knowledge_type").lower()
    updated = optional_text(data, "updated_date")
    at = moment_of(updated)
    completed = optional_text(data, "completed_date")
    if completed is None and name == f"{_ENROLMENT}completed":
        completed = updated
    facts: tuple[Fact, ...] = ()
    if at is not None:
        enrolment = Enrolment(
            number,
            what,
            optional_text(data, "knowledge_id"),
            optional_text(data, "knowledge_title"),
            optional_text(data, "progress"),
            optional_text(data, "due_date"),
            completed,
            at,
        )
        facts = (enrolment.fact(),)
    return InboundEvent(
        name=name,
        known=True,
        digest=digest_of(target, org, what, number, name, updated) if updated else digest_of(target, body),
        at=at,
        account=user_name,
        match={"user_name": user_name, "email": optional_text(data, "email")},
        own=(optional_text(data, "enrolled_by") or "").strip().lower() == _BY_API,
        facts=facts,
        fields=flatten(body, data),
    )


def assignment(record: Mapping[str, Any], what: str) -> tuple[str, Enrolment] | None:
    """The user name and the enrolment of one record of a list of assignments; None where it lacks what names them."""
    person, item = record.get("person"), record.get(what)
    at = moment_of(record.get("updated_at"))
    if not isinstance(person, Mapping) or not isinstance(item, Mapping) or at is None:
        return None
    user_name, number = optional_text(person, "user_name"), optional_text(record, "id")
    if user_name is None or number is None:
        return None
    completed = optional_text(record, "conquered_at" if what == "pathway" else "completed_topic_at")
    progress = "completed" if completed else (optional_text(record, "status") or "").lower() or None
    return user_name, Enrolment(
        number,
        what,
        optional_text(item, "id"),
        optional_text(item, "title"),
        progress,
        optional_text(record, "due_date"),
        completed,
        at,
    )
