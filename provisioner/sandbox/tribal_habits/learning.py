"""The catalogue of one portal (topics, pathways) and who is enrolled in what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import count
from typing import Any

from provisioner.sandbox.tribal_habits.people import PAGE_QUERY, People, Person, moment, page_of
from provisioner.sandbox.tribal_habits.rows import SYDNEY, Enrolment, Row, RowError, read_enrolments, stamp
from provisioner.sandbox.wire import Answer, Call, RefusedError, Route, allow_query, json_object

_MADE = "2019-07-01T15:22:05.752+10:00"
_TOUCHED = "2020-01-22T14:38:39.099+11:00"
_ORG = 4


def _topic(number: int, code: str, title: str, external_id: str | None) -> dict[str, Any]:
    return {
        "id": number, "title": title, "structure": "facts", "assessment": True, "duration_in_minutes": 12,
        "due_mode": "none", "due_date": None, "due_in_days": None, "visibility": "private",
        "knowledge_type": 0, "external_id": external_id, "created_at": _MADE, "updated_at": _TOUCHED,
        "categories": [], "topic_categories": [], "skills": [], "saved_searches": [],
        "version": {"major": 1, "minor": 0, "created_at": _MADE}, "code": code, "scorm_file_count": 0,
    }  # fmt: skip


def _pathway(number: int, code: str, title: str, topics: list[int]) -> dict[str, Any]:
    return {
        "id": number, "title": title, "topic_ids": topics, "optional_topic_ids": [], "due_mode": "none",
        "due_date": None, "due_in_days": None, "created_at": _MADE, "updated_at": _TOUCHED,
        "external_id": "123", "visibility": "public", "mandatory_topics": [], "optional_topics": [],
        "categories": [], "skills": [], "saved_searches": [], "code": code,
    }  # fmt: skip


TOPICS = (
    _topic(16, "TH-4-16", "A topic title", "123"),
    _topic(77, "TH-4-77", "Confident and effective business networking", "124"),
    _topic(78, "TH-4-78", "Safety at work", None),
)
PATHWAYS = (_pathway(22, "THP-4-22", "PathTestA", [16, 77]),)


@dataclass(slots=True)
class Assignment:
    """One enrolment of one person in one item of the catalogue."""

    id: int
    person: Person
    item: Mapping[str, Any]
    is_pathway: bool
    created_at: datetime
    updated_at: datetime
    due: date | None = None
    conquered: date | None = None
    certified: date | None = None
    enrolled_by: str = "PAPI"

    def form(self) -> dict[str, Any]:
        """The enrolment as the enrolments page prints it."""
        what = "pathway" if self.is_pathway else "topic"
        item = {"id": self.item["id"], "title": self.item["title"]}
        item["link"] = f"/knowledge/{what}s/{self.item['id']}/overview"
        if not self.is_pathway:
            item["knowledge_type"] = self.item["knowledge_type"]
        item |= {"show_certificate": True, "external_id": self.item["external_id"]}
        values = self.person.values
        form: dict[str, Any] = {
            "id": self.id,
            "created_at": stamp(self.created_at),
            "updated_at": stamp(self.updated_at),
            "conquered_at" if self.is_pathway else "completed_topic_at": _at_end(self.conquered),
            "status": "Conquered" if self.conquered else "Unexplored",
            "due_date": _at_end(self.due),
            "enrolled_by": self.enrolled_by,
            "certified_date": _at_end(self.certified),
            "recertification_allowed": True,
            "skills_attained": [],
            "person": {
                "id": self.person.id,
                "name": f"{values['first_name']} {values['last_name']}",
                "user_name": self.person.user_name,
                "link": f"/people/users/{self.person.id}",
            },
            what: item,
        }
        if not self.is_pathway:
            form |= {"relationship": "reader", "conquered_minutes": 0, "version": None, "categories": []}
        return form


def _nobody(_body: dict[str, Any]) -> None:
    """Where nobody listens."""


def enrolment_webhook(assignment: Assignment, event: str) -> dict[str, Any]:
    """The body of a webhook, as "Webhook Enrolments" prints it: custom fields without their `X-`."""
    person, item, pathway = assignment.person, assignment.item, assignment.is_pathway
    values = person.values
    custom = {name.removeprefix("X-"): value for name, value in values.items() if name.startswith("X-")}
    done = stamp(assignment.updated_at) if assignment.conquered else None
    data: dict[str, Any] = {
        "account_id": person.id,
        "user_name": person.user_name,
        "email": values["email"],
        "first_name": values["first_name"],
        "last_name": values["last_name"],
        "enrolled_date": stamp(assignment.created_at),
        "due_date": _at_end(assignment.due),
        "updated_date": stamp(assignment.updated_at),
        "completed_date": done,
        "certified_date": _at_end(assignment.certified),
        "enrolled_by": assignment.enrolled_by,
        "progress": "completed" if done else "exploring",
        "status": "current",
        "recertification_allowed": True,
        **custom,
        "skills_attained": [],
        "knowledge_type": "pathway" if pathway else "topic",
        "knowledge_id": item["id"],
        "knowledge_external_id": item["external_id"],
        "knowledge_title": item["title"],
        "length_minutes": 19 if pathway else 12,
        "version": None if pathway else "1.0",
        "certificate_id": f"{_ORG}-{person.id}-{assignment.id}{'P' if pathway else ''}",
        "categories_all": "",
    }
    if not pathway:
        data |= {"enrolment_relationship": "Explorer", "categories_continuing_education": []}
    return {
        "enrolment_id": assignment.id,
        "org_id": _ORG,
        "org_domain": "my_org",
        "event": event,
        "enrolment_data": data,
    }


def _at_end(day: date | None) -> str | None:
    if day is None:
        return None
    return datetime.combine(day, time(23, 59, 59, 999000), SYDNEY).isoformat(timespec="milliseconds")


class Learning:
    """The catalogue and the enrolments, with the endpoints of both."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._items = {str(item["code"]): item for item in (*TOPICS, *PATHWAYS)}
        self._assignments: dict[tuple[str, str], Assignment] = {}
        self._by_user: dict[str, list[Assignment]] = {}
        self._numbers = count(1)
        self.page_cap = 100
        self.tell: Callable[[dict[str, Any]], None] = _nobody
        self.asked: list[dict[str, Any]] = []
        """Every enrolment that was asked for and carried out, in order, repeated ones too."""

    def routes(self) -> list[Route]:
        """The endpoints under `/papi` of topics, pathways and enrolments."""
        return [
            Route("GET", "/papi/topics", self.list_topics),
            Route("GET", "/papi/topics/{id}", self.one_topic),
            Route("GET", "/papi/pathways", self.list_pathways),
            Route("GET", "/papi/pathways/{id}", self.one_pathway),
            Route("GET", "/papi/topic_assignments", self.list_topic_assignments),
            Route("POST", "/papi/topic_assignments", self.save),
            Route("GET", "/papi/topic_assignments/{id}", self.one_topic_assignment),
            Route("GET", "/papi/topic_assignments/user/{user_name}", self.topic_assignments_of),
            Route("GET", "/papi/pathway_assignments", self.list_pathway_assignments),
            Route("GET", "/papi/pathway_assignments/{id}", self.one_pathway_assignment),
            Route("GET", "/papi/pathway_assignments/user/{user_name}", self.pathway_assignments_of),
        ]

    def check(self, row: Row) -> None:
        """Raises `RowError` if a row asks for an item that the catalogue lacks."""
        for wanted in row.enrolments:
            self._item(wanted)

    def enrol(self, person: Person, wanted: Enrolment, now: datetime) -> Assignment:
        """Creates or updates one enrolment; raises `RowError` for an unknown item."""
        item = self._item(wanted)
        key = (person.user_name, wanted.item)
        found = self._assignments.get(key)
        created = found is None
        if found is None:
            found = Assignment(next(self._numbers), person, item, wanted.item.startswith("THP-"), now, now)
            self._assignments[key] = found
            self._by_user.setdefault(person.user_name, []).append(found)
        found.updated_at = now
        found.due = wanted.due or found.due
        found.conquered = wanted.conquered or found.conquered
        found.certified = wanted.certified or found.certified
        if created:
            self.tell(enrolment_webhook(found, "enrolment_created"))
        if wanted.conquered:
            self.tell(enrolment_webhook(found, "enrolment_completed"))
        due = wanted.due.isoformat() if wanted.due else None
        self.asked.append({"user_name": person.user_name, "code": wanted.code, "due_date": due})
        return found

    def complete(self, user_name: str, code: str, now: datetime) -> dict[str, Any]:
        """Has a person complete an item by its own code, enrolled by themselves if by nobody; raises `RefusedError`."""
        person, item = self._people.need(user_name), self._items.get(code)
        if item is None:
            raise RefusedError(404, "Item not found")
        found = self._assignments.get((person.user_name, code))
        if found is None:
            found = Assignment(next(self._numbers), person, item, code.startswith("THP-"), now, now, enrolled_by="Self")
            self._assignments[(person.user_name, code)] = found
            self._by_user.setdefault(person.user_name, []).append(found)
            self.tell(enrolment_webhook(found, "enrolment_created"))
        found.updated_at, found.conquered = now, now.astimezone(SYDNEY).date()
        self.tell(enrolment_webhook(found, "enrolment_completed"))
        return found.form()

    def forget(self, user_name: str) -> None:
        """Drops the enrolments of a person who was taken away."""
        for gone in self._by_user.pop(user_name, []):
            del self._assignments[(user_name, str(gone.item["code"]))]

    def forms(self) -> list[dict[str, Any]]:
        """All enrolments in read form."""
        return [assignment.form() for assignment in self._assignments.values()]

    def _item(self, wanted: Enrolment) -> Mapping[str, Any]:
        item = self._items.get(wanted.item)
        if item is None:
            raise RowError(f"Enrolment code {wanted.code} is unknown")
        return item

    def list_topics(self, call: Call) -> Answer:
        return self._catalogue(call, TOPICS)

    def list_pathways(self, call: Call) -> Answer:
        return self._catalogue(call, PATHWAYS)

    def one_topic(self, _call: Call, number: str) -> Answer:
        return _one(TOPICS, number, "Topic")

    def one_pathway(self, _call: Call, number: str) -> Answer:
        return _one(PATHWAYS, number, "Pathway")

    def _catalogue(self, call: Call, items: tuple[dict[str, Any], ...]) -> Answer:
        allow_query(call, *PAGE_QUERY)
        after = moment(call.query.get("updated_at", ""))
        found = [item for item in items if after is None or datetime.fromisoformat(item["updated_at"]) > after]
        envelope, records = page_of(call, self.page_cap, found)
        return Answer(200, envelope | {"records": list(records)})

    def list_topic_assignments(self, call: Call) -> Answer:
        return self._listing(call, list(self._assignments.values()), is_pathway=False)

    def list_pathway_assignments(self, call: Call) -> Answer:
        return self._listing(call, list(self._assignments.values()), is_pathway=True)

    def topic_assignments_of(self, call: Call, user_name: str) -> Answer:
        self._people.need(user_name)
        return self._listing(call, self._by_user.get(user_name, []), is_pathway=False, of_user=True)

    def pathway_assignments_of(self, call: Call, user_name: str) -> Answer:
        self._people.need(user_name)
        return self._listing(call, self._by_user.get(user_name, []), is_pathway=True, of_user=True)

    def one_topic_assignment(self, _call: Call, number: str) -> Answer:
        return self._one_assignment(number, is_pathway=False)

    def one_pathway_assignment(self, _call: Call, number: str) -> Answer:
        return self._one_assignment(number, is_pathway=True)

    def _one_assignment(self, number: str, *, is_pathway: bool) -> Answer:
        for assignment in self._assignments.values():
            if str(assignment.id) == number and assignment.is_pathway is is_pathway:
                return Answer(200, assignment.form())
        raise RefusedError(404, "Enrolment not found")

    def _listing(self, call: Call, assignments: list[Assignment], *, is_pathway: bool, of_user: bool = False) -> Answer:
        filter_name = "pathway_ids" if is_pathway else "topic_ids"
        allow_query(call, *PAGE_QUERY, *(() if of_user else (filter_name,)))
        after = moment(call.query.get("updated_at", ""))
        ids = {part.strip() for part in call.query.get(filter_name, "").split(",") if part.strip()}
        found = [
            assignment
            for assignment in assignments
            if assignment.is_pathway is is_pathway
            and (after is None or assignment.updated_at.astimezone(UTC) > after)
            and (not ids or str(assignment.item["id"]) in ids)
        ]
        envelope, records = page_of(call, self.page_cap, found)
        # The page prints no id of a user's enrolments in pathways
        hidden = {"id"} if of_user and is_pathway else set[str]()
        shown = [{name: value for name, value in one.form().items() if name not in hidden} for one in records]
        return Answer(200, envelope | {"records": shown})

    def save(self, call: Call) -> Answer:
        """`POST /papi/topic_assignments`: one person, up to five codes; answers the first of them."""
        body = json_object(call)
        unknown = [name for name in body if name != "user_name" and not name.startswith("enrolment_code_")]
        if unknown:
            raise RefusedError(400, f"{unknown[0]} is an unknown field")
        if not isinstance(body.get("user_name"), str):
            raise RefusedError(400, "user_name is required")
        try:
            wanted = read_enrolments(body)
            if not wanted:
                raise RowError("enrolment_code_1 is required", missing=True)
            person = self._people.get(body["user_name"])
            if person is None:
                raise RowError("User name does not exist")
            for enrolment in wanted:
                self._item(enrolment)
            saved = [self.enrol(person, enrolment, call.now) for enrolment in wanted]
        except RowError as error:
            raise RefusedError(error.status, error.reason) from error
        return Answer(200, saved[0].form())


def _one(items: tuple[dict[str, Any], ...], number: str, what: str) -> Answer:
    for item in items:
        if str(item["id"]) == number:
            return Answer(200, item)
    raise RefusedError(404, f"{what} not found")
