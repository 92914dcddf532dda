"""External knowledge of one portal, from the page "External Knowledge"."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from provisioner.sandbox.tribal_habits.people import PAGE_QUERY, People, moment, page_of
from provisioner.sandbox.tribal_habits.rows import TribalHabitsOptions, day_first, iso_date, stamp, whole
from provisioner.sandbox.wire import Answer, Call, RefusedError, Route, allow_query, is_number, json_object

DOCUMENT_TYPES = (
    "General", "Employment", "Financial", "Medical", "Performance", "Policy", "Travel", "Registration",
    "Membership",
)  # fmt: skip
_REQUIRED = ("user_name", "knowledge_type", "title", "provider", "date_obtained")
_TEXTS = ("title", "code", "provider", "certificate_number", "qualification_level", "notes", "klass", "skills_attained")
_READ = (
    "knowledge_type", "title", "code", "provider", "date_obtained", "certificate_number", "country_obtained",
    "state_obtained", "expires", "qualification_level", "assessment_score", "total_time", "notes", "klass",
    "created_at", "updated_at",
)  # fmt: skip
_CATEGORY = re.compile(r"category_[1-3](_points|_time)?")


class ExternalKnowledge:
    """The records and their endpoints. No answer carries an id or a `user_name`, as the page prints none."""

    def __init__(self, people: People) -> None:
        self._people = people
        self.records: list[dict[str, Any]] = []
        self.options = TribalHabitsOptions()

    def routes(self) -> list[Route]:
        """The endpoints under `/papi/external_knowledges`."""
        return [
            Route("GET", "/papi/external_knowledges", self.listing),
            Route("POST", "/papi/external_knowledges", self.create),
            Route("GET", "/papi/external_knowledges/{id}", self.one),
            Route("PUT", "/papi/external_knowledges/{id}", self.update),
        ]

    def listing(self, call: Call) -> Answer:
        allow_query(call, *PAGE_QUERY)
        after = moment(call.query.get("updated_at", ""))
        found = [record for record in self.records if after is None or record["moment"] > after]
        envelope, records = page_of(call, self.options.page_cap, found)
        return Answer(200, envelope | {"records": [self._read(record) for record in records]})

    def one(self, _call: Call, number: str) -> Answer:
        return Answer(200, self._read(self._need(number)))

    def create(self, call: Call) -> Answer:
        body = json_object(call)
        for name in _REQUIRED:
            if name not in body:
                raise RefusedError(400, f"{name} is required")
        if not isinstance(body["user_name"], str) or self._people.get(body["user_name"]) is None:
            raise RefusedError(422, "User name does not exist")
        values = _checked(body)
        record = dict.fromkeys((*_READ, "document_type", "skills_attained"))
        record |= {"id": len(self.records) + 1, "user_name": body["user_name"], "created_at": stamp(call.now)}
        self.records.append(record)
        return self._saved(record, values, call)

    def update(self, call: Call, number: str) -> Answer:
        record = self._need(number)
        return self._saved(record, _checked(json_object(call)), call)

    def _saved(self, record: dict[str, Any], values: Mapping[str, Any], call: Call) -> Answer:
        record.update(values)
        record |= {"updated_at": stamp(call.now), "moment": call.now}
        answer = self._read(record)
        answer |= {"document_type": record["document_type"], "skills_attained": record["skills_attained"]}
        return Answer(200, answer)

    def _need(self, number: str) -> dict[str, Any]:
        index = whole(number)
        if index is None or not 1 <= index <= len(self.records):
            raise RefusedError(404, "External knowledge not found")
        return self.records[index - 1]

    def _read(self, record: Mapping[str, Any]) -> dict[str, Any]:
        form = {name: record[name] for name in _READ}
        return {"id": record["id"]} | form if self.options.external_knowledge_ids else form

    def forms(self) -> list[dict[str, Any]]:
        """All records for the switchboard, with their `id` and `user_name`."""
        return [{name: value for name, value in record.items() if name != "moment"} for record in self.records]


def _checked(body: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in body.items():
        if name == "user_name":
            continue
        values[name] = _value(name, value)
    return values


def _value(name: str, value: Any) -> Any:
    if name == "knowledge_type":
        number = whole(value)
        if number not in range(1, 6):
            raise RefusedError(422, "Knowledge type is not included in the list")
        return number
    if name == "document_type" and value is not None:
        if value not in DOCUMENT_TYPES:
            raise RefusedError(422, "Document type is not included in the list")
        return DOCUMENT_TYPES.index(value)
    if name in {"title", "provider"} and (not isinstance(value, str) or not value.strip()):
        raise RefusedError(422, f"{name.capitalize()} can't be blank")
    if name in {"date_obtained", "expires"}:
        return _day(name, value)
    if name in {"country_obtained", "state_obtained"}:
        if value is not None and not (isinstance(value, str) and re.fullmatch(r"[A-Z0-9]{2,3}", value)):
            raise RefusedError(422, f"{name} must be a code")
        return value
    if name in {"assessment_score", "total_time"}:
        if value is not None and not is_number(value):
            raise RefusedError(422, f"{name} must be a number")
        return value
    if name in _TEXTS:
        if value is not None and not isinstance(value, str):
            raise RefusedError(422, f"{name} must be a string")
        return value
    if name == "document_type" or _CATEGORY.fullmatch(name):
        return value
    raise RefusedError(400, f"{name} is an unknown field")


def _day(name: str, value: Any) -> str | None:
    if value in (None, "") and name == "expires":
        return None
    day: date | None = day_first(value) or iso_date(value)
    if day is None:
        raise RefusedError(422, f"{name} is not a date")
    return day.isoformat()
