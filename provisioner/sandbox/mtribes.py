"""Stand-in of mtribes' Platform API, as far as it is known; the rest of the contract is assumed.

Known: personal access tokens; organisations, Spaces, users and Tribes can be read; users are added or updated by
ingesting them into a Space; tags are lower case with at most three levels. Assumed: the paths, `Bearer`, `page`
and `page_size`, `{"users": […]}` of at most 100 rows, one bad row refuses the whole batch, an ingest replaces
the tags and keeps the fields that it leaves out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from provisioner.sandbox.mtribes_forms import at, check_row, has_tag, nested
from provisioner.sandbox.options import Options
from provisioner.sandbox.vendor import Vendor
from provisioner.sandbox.wire import (
    Answer,
    Call,
    Handler,
    RefusedError,
    Route,
    allow_query,
    body_says_json,
    is_whole,
    json_object,
    json_value,
    query_number,
)

MTRIBES_TOKEN = "sandbox-mtribes-token"  # noqa: S105 - published, opens nothing
MTRIBES_ORG_ID = "0f7c1a52-0000-4000-8000-000000000001"
MTRIBES_SPACE_ID = "6f1d2c3b-0000-4000-8000-000000000001"
_DEFAULT_TRIBES = (
    {"id": "3b9a7e10-0000-4000-8000-000000000001", "name": "Sales", "tag": "department/sales"},
    {"id": "3b9a7e10-0000-4000-8000-000000000002", "name": "Former staff", "tag": "employment/left"},
)


@dataclass(frozen=True, slots=True)
class MtribesOptions(Options):
    """Options of an mtribes stand-in.

    `version`: `v1.0`, or `v2` with users under `/v2/spaces/…/environments/<environment>/users`. `bare_lists`:
    reads answer a bare array, not an object with one array. `bare_object`: an ingest is one user without an
    envelope. `users_listing`: 200, or the status (404, 405) that listing users answers. `tags_merge`: an
    ingest adds to the tags. `page_cap`: largest `page_size`, more is answered with this many. `batch_cap`: most
    rows of an ingest. `tag_objects`: users are listed with their tags as objects, the words under `name`.
    `nested`: users are listed with all but the id under this key. `told_total`: a list says how many there are besides
    it, and ignores `page`. `tribes`: `{id, name, tag}`, a Tribe holds whoever has the tag or one below it.
    `row_errors`: a bad row refuses itself alone, and 200 lists it under `errors`, as an object with the id or (`keyed`)
    under it; `row_errors_of`: ids that are refused so; `results`: 207 lists each row with its status instead, under
    that path. `auth_header` and `auth_scheme`: how the token is shown. `list_at`: where a list is in an answer, such as
    `data.items`. `paging`: `page`, or `offset` (`skip`), `cursor` (`after`, given under `paging.after`), `link` (header
    Link only), `next` (an address under `links.next`); `first_page`: number of the first page. `number_ids`: ids are
    numbers both ways. `id_name`: what ids are called. `ingest_method`; `ingest_form`: where the rows are in a body,
    such as `data.users`, empty for a bare array, or `path` for one user a call at `…/users/<id>`. `sent_nested`: an
    ingest has all but the id under this key. `sent_tag_objects`: it has tags as objects. `tags_apart`: tags are neither
    listed nor ingested, but read and replaced at `…/users/<id>/tags`, as `{"tags": […]}`.
    """

    version: str = "v1.0"
    environment: str = "production"
    bare_lists: bool = False
    bare_object: bool = False
    users_listing: int = 200
    tags_merge: bool = False
    page_cap: int = 100
    batch_cap: int = 100
    tag_objects: bool = False
    nested: str = ""
    told_total: bool = False
    row_errors: str = ""
    row_errors_of: tuple[str, ...] = ()
    results: str = ""
    auth_header: str = "Authorization"
    auth_scheme: str = "Bearer"
    list_at: str = ""
    paging: str = "page"
    first_page: int = 1
    number_ids: bool = False
    id_name: str = "id"
    ingest_method: str = "POST"
    ingest_form: str = "users"
    sent_nested: str = ""
    sent_tag_objects: bool = False
    tags_apart: bool = False
    tribes: tuple[dict[str, str], ...] = _DEFAULT_TRIBES


class Mtribes(Vendor[MtribesOptions]):
    """One organisation with one Space."""

    kind = "mtribes"
    key: ClassVar[str] = "id"
    listings: ClassVar[frozenset[str]] = frozenset(
        {"/v1.0/spaces/{space}/users", "/v2/spaces/{space}/environments/{environment}/users"}
    )

    def __init__(self, name: str, options: MtribesOptions) -> None:
        super().__init__(name, options)
        self._users: dict[str, dict[str, Any]] = {}
        self._list: list[dict[str, Any]] = []
        self._version = 0
        self._tribe: tuple[int, str, list[dict[str, Any]]] | None = None

    @classmethod
    def defaults(cls) -> MtribesOptions:
        return MtribesOptions()

    def routes(self) -> Sequence[Route]:
        routes: list[Route] = []
        for version, users in (("v1.0", ""), ("v2", "/environments/{environment}")):
            base = f"/{version}/spaces/{{space}}"
            routes += [
                Route("GET", f"/{version}/orgs", self._of(version, self.list_orgs)),
                Route("GET", f"/{version}/orgs/{{org}}/spaces", self._of(version, self.list_spaces)),
                Route("GET", f"{base}{users}/users", self._of(version, self.list_users)),
                *(
                    Route(method, f"{base}{users}/users{one}", self._of(version, self._taking(method, one)))
                    for method in ("POST", "PUT", "PATCH")
                    for one in ("", "/{user}")
                ),
                Route("GET", f"{base}{users}/users/{{user}}/tags", self._of(version, self.user_tags)),
                Route("PUT", f"{base}{users}/users/{{user}}/tags", self._of(version, self.replace_tags)),
                Route("GET", f"{base}/tribes", self._of(version, self.list_tribes)),
                Route("GET", f"{base}/tribes/{{tribe}}/users", self._of(version, self.tribe_users)),
            ]
        return routes

    def _of(self, version: str, serve: Handler) -> Handler:
        def versioned(call: Call, *variables: str) -> Answer:
            if version != self.options.version:
                raise RefusedError(404, "Not found")
            return serve(call, *variables)

        return versioned

    def _taking(self, method: str, one: str) -> Handler:
        """An ingest by a method, of many users or (`one`) of the user in the path."""

        def ingest(call: Call, *variables: str) -> Answer:
            user = variables[-1] if one else None
            place = variables[:-1] if one else variables
            if method != self.options.ingest_method or (user is None) != (self.options.ingest_form != "path"):
                raise RefusedError(405, "Method not allowed")
            return self.ingest(call, user, *place)

        return ingest

    def admit(self, call: Call) -> None:
        shown = f"{self.options.auth_scheme} {self.options.api_key or MTRIBES_TOKEN}".strip()
        if call.headers.get(self.options.auth_header.lower()) != shown:
            raise RefusedError(401, "Invalid access token")
        if not body_says_json(call):
            raise RefusedError(415, "Content-Type must be application/json")

    def refusal(self, refusal: RefusedError) -> Answer:
        return Answer(refusal.status, {"message": refusal.reason})

    def rows(self, body: Any) -> int:
        try:
            users = at(body, self.options.ingest_form)
        except RefusedError:
            return 1
        return len(users) if isinstance(users, list) else 1

    def dump(self) -> Mapping[str, Any]:
        return {"accounts": self._list}

    def seed(self, accounts: Sequence[Mapping[str, Any]], _now: datetime) -> int:
        for account in accounts:
            if not account.get("id"):
                raise RefusedError(400, "every seeded account needs an id")
            self._put(account)
        return len(accounts)

    def remove(self, key: str) -> None:
        user = self._users.pop(key, None)
        if user is None:
            raise RefusedError(404, "User not found")
        self._list.remove(user)
        self._version += 1

    def _put(self, values: Mapping[str, Any]) -> None:
        user = self._users.get(values["id"])
        if user is None:
            user = {"id": values["id"], "tags": []}
            self._users[values["id"]] = user
            self._list.append(user)
        user.update(values)
        self._version += 1

    def list_orgs(self, call: Call) -> Answer:
        return self._page(call, "orgs", [{"id": MTRIBES_ORG_ID, "name": "Sandbox"}])

    def list_spaces(self, call: Call, org: str) -> Answer:
        if org != MTRIBES_ORG_ID:
            raise RefusedError(404, "Organization not found")
        return self._page(call, "spaces", [{"id": MTRIBES_SPACE_ID, "name": "Sandbox space"}])

    def list_users(self, call: Call, space: str, environment: str = "") -> Answer:
        if self.options.users_listing != 200:
            raise RefusedError(self.options.users_listing, "Users cannot be listed")
        self._check_place(space, environment)
        return self._page(call, "users", [user for user in self._list if user["id"] not in self.unlisted])

    def list_tribes(self, call: Call, space: str) -> Answer:
        self._check_place(space, "")
        tribes = [{"id": tribe["id"], "name": tribe["name"]} for tribe in self.options.tribes]
        return self._page(call, "tribes", tribes)

    def tribe_users(self, call: Call, space: str, tribe_id: str) -> Answer:
        self._check_place(space, "")
        tags = [tribe["tag"] for tribe in self.options.tribes if tribe["id"] == tribe_id]
        if not tags:
            raise RefusedError(404, "Tribe not found")
        if self._tribe is None or self._tribe[:2] != (self._version, tags[0]):
            self._tribe = (self._version, tags[0], [user for user in self._list if has_tag(user, tags[0])])
        return self._page(call, "users", self._tribe[2])

    def _check_place(self, space: str, environment: str) -> None:
        if space != MTRIBES_SPACE_ID:
            raise RefusedError(404, "Space not found")
        if environment and environment != self.options.environment:
            raise RefusedError(404, "Environment not found")

    def user_tags(self, _call: Call, space: str, *rest: str) -> Answer:
        return Answer(200, {"tags": self._tagged(space, *rest)["tags"]})

    def replace_tags(self, call: Call, space: str, *rest: str) -> Answer:
        user, tags = self._tagged(space, *rest), json_object(call).get("tags")
        check_row({"id": user["id"], "tags": tags}, 0)
        self._put({"id": user["id"], "tags": list(dict.fromkeys(tags or ()))})
        return Answer(200, {"tags": user["tags"]})

    def _tagged(self, space: str, *rest: str) -> dict[str, object]:
        self._check_place(space, *rest[:-1] or ("",))
        if not self.options.tags_apart or rest[-1] not in self._users:
            raise RefusedError(404, "Not found")
        return self._users[rest[-1]]

    def _page(self, call: Call, name: str, everything: Sequence[Mapping[str, Any]]) -> Answer:
        asked = {"offset": "skip", "cursor": "after", "next": "from", "link": "from"}.get(self.options.paging, "page")
        allow_query(call, asked, "page_size")
        size = min(query_number(call, "page_size", 50), self.options.page_cap)
        if self.options.told_total:
            # Whoever asks for a page by another name gets the first again, which is shorter than was asked for
            items = list(everything[: size // 2])
            body = {name: items, "paging": {"total": len(everything), "next_cursor": "abc"}}
            return Answer(200, body)
        start = self._start(call, asked, size)
        items = [self._shown(name, one) for one in everything[start : start + size]]
        following = start + size if start + size < len(everything) else None
        place = self.options.list_at or name
        answer: Any = items if self.options.bare_lists else nested(place, items)
        headers = {}
        address = f"{call.base_url}{call.path}?from=c{following}&page_size={size}"
        if self.options.paging == "cursor":
            answer["paging"] = {"after": following and f"c{following}"}
        elif self.options.paging == "next":
            answer["links"] = {"next": following and address}
        elif self.options.paging == "link" and following:
            headers["Link"] = f'<{address}>; rel="next"'
        return Answer(200, answer, headers)

    def _start(self, call: Call, asked: str, size: int) -> int:
        """How many objects come before the page that a query asks for."""
        if asked == "page":
            if self.options.first_page:
                return (query_number(call, "page", 1) - 1) * size
            page = call.query.get("page", "0")
            return 0 if page == "0" else query_number(call, "page", 1) * size
        text = call.query.get(asked, "0" if asked == "skip" else "c0").removeprefix("c")
        if not text.isdecimal():
            raise RefusedError(400, f"{asked} is none of ours")
        return int(text)

    def _shown(self, name: str, one: Mapping[str, Any]) -> Mapping[str, object]:
        """An object as a list shows it."""
        shown = dict(one)
        if name == "users" and self.options.tags_apart:
            del shown["tags"]
        elif name == "users" and self.options.tag_objects:
            shown["tags"] = [{"id": number, "name": tag} for number, tag in enumerate(one["tags"])]
        if name == "users" and self.options.number_ids:
            shown["id"] = int(one["id"])
        identifier = shown.pop("id")
        inside = self.options.nested if name == "users" else ""
        return {self.options.id_name: identifier, **({inside: shown} if inside else shown)}

    def ingest(self, call: Call, user: str | None, space: str, environment: str = "") -> Answer:
        """Adds the unknown users of a batch and updates the known, or refuses the batch as a whole."""
        self._check_place(space, environment)
        rows = self._rows_of(call, user)
        by_row = bool(self.options.row_errors or self.options.results)
        seen: set[str] = set()
        refused: dict[str, str] = {}
        for index, row in enumerate(rows):
            try:
                check_row(row, index)
                if "tags" in row and self.options.tags_apart:
                    raise RefusedError(400, f"users[{index}].tags is unknown")
                if row["id"] in self.options.row_errors_of:
                    raise RefusedError(400, f"users[{index}] is refused")
            except RefusedError as refusal:
                if not by_row or not isinstance(row, dict) or not isinstance(row.get("id"), str):
                    raise
                refused[row["id"]] = refusal.reason
            if row["id"] in seen:
                raise RefusedError(400, f"users[{index}].id appears more than once")
            seen.add(row["id"])
        for row in [row for row in rows if row["id"] not in refused]:
            values = dict(row)
            if "tags" in row:
                known = self._users.get(row["id"], {}).get("tags", []) if self.options.tags_merge else []
                values["tags"] = list(dict.fromkeys([*known, *row["tags"]]))
            self._put(values)
        return self._ingested(rows, refused)

    def _ingested(self, rows: Sequence[Mapping[str, Any]], refused: Mapping[str, str]) -> Answer:
        if self.options.results:
            entries = [
                {"status": 422, "message": refused[row["id"]]} if row["id"] in refused else {"status": 200}
                for row in rows
            ]
            return Answer(207, nested(self.options.results, entries))
        answer: dict[str, Any] = {"accepted": len(rows) - len(refused)}
        if self.options.row_errors == "keyed":
            answer["errors"] = refused
        elif self.options.row_errors:
            answer["errors"] = [{"user": {"id": name}, "message": why} for name, why in refused.items()]
        return Answer(200 if self.options.row_errors else 202, answer)

    def _rows_of(self, call: Call, user: str | None) -> list[Any]:
        """The rows of a body, in the form that the stand-in keeps."""
        body = json_value(call)
        if user is not None:
            return [self._kept({**body, self.options.id_name: int(user) if self.options.number_ids else user})]
        if self.options.bare_object:
            return [self._kept(body)]
        rows = at(body, self.options.ingest_form)
        if not isinstance(rows, list) or not rows:
            raise RefusedError(400, "the body holds a list of users")
        if len(rows) > self.options.batch_cap:
            raise RefusedError(400, f"users may hold at most {self.options.batch_cap}")
        return [self._kept(row) for row in rows]

    def _kept(self, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        kept = dict(row)
        identifier = kept.pop(self.options.id_name, None)
        if self.options.number_ids:
            if not is_whole(identifier):
                raise RefusedError(400, f"{self.options.id_name} is a number")
            identifier = str(identifier)
        if self.options.sent_nested:
            inner = kept.pop(self.options.sent_nested, {})
            if kept or not isinstance(inner, dict):
                raise RefusedError(400, f"a user has {self.options.id_name} and {self.options.sent_nested}")
            kept = dict(inner)
        if self.options.sent_tag_objects and "tags" in kept:
            if not all(isinstance(tag, dict) and set(tag) == {"name"} for tag in kept["tags"]):
                raise RefusedError(400, "tags are objects with a name")
            kept["tags"] = [tag["name"] for tag in kept["tags"]]
        return {"id": identifier, **kept}
