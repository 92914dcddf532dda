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
#: How webhooks and lists call an enrolment that is completed, and what a webhook's status is as long as it holds good.
_COMPLETED: Final = ("completed", "conquered")
_CURRENT: Final = "current"
#: "knowledge_type can be either 0 or 1. Where 0 = topic, 1 = article."
_ARTICLE: Final = 1


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One enrolment, whichever way it was reported.

    `what` is ``topic``, ``article`` or ``pathway``, `item` the item's id, `title` its title; `completed`, `due` and
    `certified` (until when) are moments as the vendor writes them, `updated` epoch seconds. `status` is the vendor's
    word besides the progress: ``current`` of a webhook, ``Conquered`` or ``Unexplored`` of a list.
    """

    id: str
    what: str
    item: str | None
    title: str | None
    progress: str | None
    due: str | None
    completed: str | None
    updated: float
    status: str | None = None
    certified: str | None = None

    def fact(self) -> Fact:
        """What is kept of it: its progress, status and dates by item, and what was completed last.

        Topics and articles are numbered together, and a webhook may call an article a topic: so an article is kept as
        the topic of its number too.
        """
        table = "pathway" if self.what == "pathway" else "topic"
        number = self.item or self.id
        shows: dict[str, str | None] = {}
        for what in dict.fromkeys((table, self.what)):
            shows |= self._shown(f"{what}.{number}")
        gathers = {}
        if self.is_completed:
            shows |= {"last_completed": self.title, "last_completed_at": self.completed}
            gathers = {"completed": self.title or f"{self.what}.{number}"}
        # Created and completed within one millisecond: the completion is the later news
        at = self.updated + (0.0005 if self.is_completed else 0.0)
        return Fact(f"enrolment.{table}.{self.id}", at, shows, gathers)

    @property
    def is_completed(self) -> bool:
        """Whether it is completed now; one that lapsed, or is taken again, keeps the date of its completion only."""
        return self.completed is not None and self.progress in (None, *_COMPLETED)

    def _shown(self, place: str) -> dict[str, str | None]:
        shows = {
            f"progress.{place}": self.progress,
            f"status.{place}": self.status,
            f"due.{place}": self.due,
            f"title.{place}": self.title,
            f"certified.{place}": self.certified,
        }
        return shows | ({f"completed.{place}": self.completed} if self.completed else {})


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
    progress, status = (_word(data, part) for part in ("progress", "status"))
    if name == f"{_ENROLMENT}completed":
        completed, progress = completed or updated, progress or _COMPLETED[0]
    if progress in _COMPLETED and status not in (None, _CURRENT):
        progress = status
    facts: tuple[Fact, ...] = ()
    if at is not None:
        enrolment = Enrolment(
            number,
            what,
            optional_text(data, "knowledge_id"),
            optional_text(data, "knowledge_title"),
            progress,
            optional_text(data, "due_date"),
            completed,
            at,
            status,
            optional_text(data, "certified_date"),
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
    if number is None and (of := optional_text(item, "id")):
        # The list of one user's pathways is printed without ids
        number = f"of {of}"
    if user_name is None or number is None:
        return None
    completed = optional_text(record, "conquered_at" if what == "pathway" else "completed_topic_at")
    status = _word(record, "status")
    # A date of completion stays with somebody who takes it again, so the status has the say
    progress = _COMPLETED[0] if completed and status in (None, *_COMPLETED) else status
    return user_name, Enrolment(
        number,
        "article" if what == "topic" and item.get("knowledge_type") == _ARTICLE else what,
        optional_text(item, "id"),
        optional_text(item, "title"),
        progress,
        optional_text(record, "due_date"),
        completed,
        at,
        status,
        optional_text(record, "certified_date"),
    )


def _word(record: Mapping[str, Any], name: str) -> str | None:
    return (optional_text(record, name) or "").strip().lower() or None
