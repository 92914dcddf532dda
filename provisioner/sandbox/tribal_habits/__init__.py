"""Stand-in of Tribal Habits, "Public API V1".

The header is `Authorization: <key>` with no scheme word. What the pages leave open was decided so that a
careless client fails: unknown fields, query parameters and JSON types other than the printed ones are refused,
`groups` is one `A;B` string everywhere, `max_per_page` is cut to a cap, a `user_name` that differs in case only
is neither found nor free, custom dates are `dd/mm/yyyy`, list items must be configured.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from provisioner.sandbox.tribal_habits.knowledge import ExternalKnowledge
from provisioner.sandbox.tribal_habits.learning import Learning
from provisioner.sandbox.tribal_habits.people import (
    PAGE_QUERY,
    People,
    Person,
    created_form,
    page_of,
    read_form,
    updated_form,
)
from provisioner.sandbox.tribal_habits.rows import Row, RowError, TribalHabitsOptions, read_row
from provisioner.sandbox.vendor import Vendor
from provisioner.sandbox.wire import (
    Answer,
    Call,
    RefusedError,
    Route,
    accepts_json,
    allow_query,
    body_says_json,
    json_object,
)

TRIBAL_HABITS_KEY = "sandbox-tribal-habits-key"


class TribalHabits(Vendor[TribalHabitsOptions]):
    """One portal."""

    kind = "tribal_habits"
    key: ClassVar[str] = "user_name"
    listings: ClassVar[frozenset[str]] = frozenset({"/papi/users"})

    def __init__(self, name: str, options: TribalHabitsOptions) -> None:
        super().__init__(name, options)
        self._people = People()
        self._learning = Learning(self._people)
        self._learning.tell = self.webhooks.tell
        self._knowledge = ExternalKnowledge(self._people)
        self._invitations: list[dict[str, str]] = []

    @classmethod
    def defaults(cls) -> TribalHabitsOptions:
        return TribalHabitsOptions()

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", "/papi/users", self.list_users),
            Route("POST", "/papi/users", self.create_user),
            Route("POST", "/papi/users/batch_save", self.batch_save),
            Route("GET", "/papi/users/{user_name}", self.one_user),
            Route("PUT", "/papi/users/{user_name}", self.update_user),
            *self._learning.routes(),
            *self._knowledge.routes(),
        ]

    def admit(self, call: Call) -> None:
        if call.headers.get("authorization") != (self.options.api_key or TRIBAL_HABITS_KEY):
            raise RefusedError(401, "The API key is missing or incorrect")
        if not accepts_json(call.headers.get("accept", "")):
            raise RefusedError(406, "Only json is available")
        if not body_says_json(call):
            raise RefusedError(400, "Content-Type must be application/json")
        self._people.deactivate_due(call.now)
        self._learning.page_cap = self.options.page_cap
        self._knowledge.options = self.options

    def refusal(self, refusal: RefusedError) -> Answer:
        return Answer(refusal.status, {"error": refusal.reason})

    def rows(self, body: Any) -> int:
        people = body.get("people") if isinstance(body, dict) else None
        return len(people) if isinstance(people, list) else 1

    def dump(self) -> Mapping[str, Any]:
        return {
            "accounts": [read_form(person) for person in self._people.all()],
            "invitations": self._invitations,
            "enrolments": self._learning.asked,
            "assignments": self._learning.forms(),
            "external_knowledges": self._knowledge.forms(),
        }

    def seed(self, accounts: Sequence[Mapping[str, Any]], now: datetime) -> int:
        for account in accounts:
            if not account.get("user_name"):
                raise RefusedError(400, "every seeded account needs a user_name")
            self._people.put(account, self.options, now)
        return len(accounts)

    def act(self, action: str, given: Mapping[str, Any], now: datetime) -> Any:
        """`complete`: a person completes the item `code`; see `Vendor.act`."""
        if action != "complete":
            return super().act(action, given, now)
        return self._learning.complete(str(given.get("user_name", "")), str(given.get("code", "")), now)

    def remove(self, key: str) -> None:
        self._people.remove(key)
        self._learning.forget(key)

    def list_users(self, call: Call) -> Answer:
        allow_query(call, *PAGE_QUERY, "updated_before", "active")
        listed = self._people.matching(call.query)
        if self.unlisted:
            listed = [person for person in listed if person.user_name not in self.unlisted]
        envelope, records = page_of(call, self.options.page_cap, listed)
        return Answer(200, envelope | {"records": [read_form(person) for person in records]})

    def one_user(self, _call: Call, user_name: str) -> Answer:
        if self.options.dots_cut and "." in user_name:
            raise RefusedError(404, "User not found")
        return Answer(200, read_form(self._people.need(user_name)))

    def create_user(self, call: Call) -> Answer:
        body = json_object(call)
        try:
            row = read_row(body, self.options, call.now.date(), creating=True)
            self._learning.check(row)
            person = self._people.create(row, self.options, call.now)
        except RowError as error:
            raise RefusedError(error.status, error.reason) from error
        self._enrol(person, row, call)
        if row.send_invitation:
            self._invite(person, "row")
        return Answer(201, created_form(person))

    def update_user(self, call: Call, user_name: str) -> Answer:
        person = self._people.need(user_name)
        body = json_object(call)
        try:
            row = read_row(body, self.options, call.now.date(), creating=False)
            self._learning.check(row)
            self._people.update(person, row.changes, call.now)
        except RowError as error:
            raise RefusedError(error.status, error.reason) from error
        self._enrol(person, row, call)
        if row.send_invitation:
            self._invite(person, "row")
        return Answer(200, updated_form(person))

    def batch_save(self, call: Call) -> Answer:
        """Carries out every row without an error, lists the others; the same list may be sent again."""
        rows, invitations, language = self._batch(json_object(call))
        counts = dict.fromkeys(
            ("created", "updated", "unchanged", "enrolled", "invitations_sent", "invitations_failed"), 0
        )
        errors: list[dict[str, Any]] = []
        seen: set[str] = set()
        for given in rows:
            user_name = given.get("user_name") if isinstance(given, dict) else None
            try:
                if not isinstance(user_name, str) or not user_name.strip():
                    raise RowError("User name can't be blank")
                if user_name in seen:
                    raise RowError("User name appears more than once in this batch")
                seen.add(user_name)
                self._save_row(given, user_name, call, invitations, language, counts)
            except RowError as error:
                errors += [{"user_name": user_name, "error_reason": error.reason}] * self.options.errors_each
                counts["unchanged"] += self.options.refused_in_unchanged
        if self.options.counts_off:
            name = max(("created", "updated", "unchanged"), key=lambda one: counts[one])
            counts[name] = max(counts[name] - 1, 0)
        body = counts | {"errors": len(errors), "error_list": errors}
        return Answer(200, body)

    def _batch(self, body: Mapping[str, Any]) -> tuple[list[Any], str, str]:
        unknown = sorted(set(body) - {"people", "send_invitations", "language"})
        if unknown:
            raise RefusedError(400, f"{unknown[0]} is an unknown field")
        rows = body.get("people")
        if not isinstance(rows, list):
            raise RefusedError(400, "people is required and must be an array")
        if len(rows) > self.options.batch_cap:
            raise RefusedError(422, f"people may hold at most {self.options.batch_cap} users")
        if "send_invitations" in body and body["send_invitations"] not in ("new", "all"):
            raise RefusedError(422, 'send_invitations must be "new" or "all", or be left out')
        if "language" in body and body["language"] not in self.options.languages:
            raise RefusedError(422, "Language is not available")
        return rows, str(body.get("send_invitations", "")), str(body.get("language", ""))

    def _save_row(
        self,
        given: Mapping[str, Any],
        user_name: str,
        call: Call,
        invitations: str,
        language: str,
        counts: dict[str, int],
    ) -> None:
        person = self._people.get(user_name)
        creating = person is None
        fields = {name: value for name, value in given.items() if creating or name != "user_name"}
        if creating and language:
            fields.setdefault("language", language)
        row = read_row(fields, self.options, call.now.date(), creating=creating)
        self._learning.check(row)
        if person is None:
            person = self._people.create(row, self.options, call.now)
            counts["created"] += 1
        else:
            updated = self._people.update(person, row.changes, call.now)
            counts["updated" if updated else "unchanged"] += 1
        counts["enrolled"] += self._enrol(person, row, call)
        if row.send_invitation or invitations == "all" or (invitations == "new" and creating):
            if {person.user_name, "*"} & {*self.options.uninvited}:
                counts["invitations_failed"] += 1
            else:
                self._invite(person, invitations or "row")
                counts["invitations_sent"] += 1

    def _enrol(self, person: Person, row: Row, call: Call) -> int:
        for wanted in row.enrolments:
            self._learning.enrol(person, wanted, call.now)
        return len(row.enrolments)

    def _invite(self, person: Person, why: str) -> None:
        self._invitations.append({"user_name": person.user_name, "why": why})


__all__ = ["TRIBAL_HABITS_KEY", "TribalHabits", "TribalHabitsOptions"]
