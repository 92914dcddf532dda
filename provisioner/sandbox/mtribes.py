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
    json_object,
    query_number,
)

MTRIBES_TOKEN = "sandbox-mtribes-token"  # noqa: S105 - published, opens nothing
MTRIBES_ORG_ID = "0f7c1a52-0000-4000-8000-000000000001"
MTRIBES_SPACE_ID = "6f1d2c3b-0000-4000-8000-000000000001"
_LEVELS = 3
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
    under it; `row_errors_of`: ids that are refused so.
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
                Route("POST", f"{base}{users}/users", self._of(version, self.ingest)),
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

    def admit(self, call: Call) -> None:
        if call.headers.get("authorization") != f"Bearer {self.options.api_key or MTRIBES_TOKEN}":
            raise RefusedError(401, "Invalid access token")
        if not body_says_json(call):
            raise RefusedError(415, "Content-Type must be application/json")

    def refusal(self, refusal: RefusedError) -> Answer:
        return Answer(refusal.status, {"message": refusal.reason})

    def rows(self, body: Any) -> int:
        users = body.get("users") if isinstance(body, dict) else None
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
            self._tribe = (self._version, tags[0], [user for user in self._list if _has(user, tags[0])])
        return self._page(call, "users", self._tribe[2])

    def _check_place(self, space: str, environment: str) -> None:
        if space != MTRIBES_SPACE_ID:
            raise RefusedError(404, "Space not found")
        if environment and environment != self.options.environment:
            raise RefusedError(404, "Environment not found")

    def _page(self, call: Call, name: str, everything: Sequence[Mapping[str, Any]]) -> Answer:
        allow_query(call, "page", "page_size")
        page = query_number(call, "page", 1)
        size = min(query_number(call, "page_size", 50), self.options.page_cap)
        if self.options.told_total:
            # Whoever asks for a page by another name gets the first again, which is shorter than was asked for
            items = list(everything[: size // 2])
            body = {name: items, "paging": {"total": len(everything), "next_cursor": "abc"}}
            return Answer(200, body)
        items = list(everything[(page - 1) * size : page * size])
        if name == "users" and self.options.tag_objects:
            items = [{**one, "tags": [{"id": k, "name": tag} for k, tag in enumerate(one["tags"])]} for one in items]
        if name == "users" and self.options.nested:
            inside = self.options.nested
            items = [{"id": one["id"], inside: {k: v for k, v in one.items() if k != "id"}} for one in items]
        return Answer(200, items if self.options.bare_lists else {name: items})

    def ingest(self, call: Call, space: str, environment: str = "") -> Answer:
        """Adds the unknown users of a batch and updates the known, or refuses the batch as a whole."""
        self._check_place(space, environment)
        rows = self._rows_of(json_object(call))
        seen: set[str] = set()
        refused: dict[str, str] = {}
        for index, row in enumerate(rows):
            try:
                _check(row, index)
                if row["id"] in self.options.row_errors_of:
                    raise RefusedError(400, f"users[{index}] is refused")
            except RefusedError as refusal:
                if not self.options.row_errors or not isinstance(row, dict) or not isinstance(row.get("id"), str):
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
        answer: dict[str, Any] = {"accepted": len(rows) - len(refused)}
        if self.options.row_errors == "keyed":
            answer["errors"] = refused
        elif self.options.row_errors:
            answer["errors"] = [{"user": {"id": name}, "message": why} for name, why in refused.items()]
        return Answer(200 if self.options.row_errors else 202, answer)

    def _rows_of(self, body: dict[str, Any]) -> list[Any]:
        if self.options.bare_object:
            return [body]
        rows = body.get("users")
        if set(body) != {"users"} or not isinstance(rows, list) or not rows:
            raise RefusedError(400, "the body is an object with a list of users")
        if len(rows) > self.options.batch_cap:
            raise RefusedError(400, f"users may hold at most {self.options.batch_cap}")
        return rows


def _has(user: Mapping[str, Any], tag: str) -> bool:
    return any(own == tag or own.startswith(f"{tag}/") for own in user["tags"])


def _check(row: Any, index: int) -> None:
    if not isinstance(row, dict):
        raise RefusedError(400, f"users[{index}] is not an object")
    if not isinstance(row.get("id"), str) or not row["id"].strip():
        raise RefusedError(400, f"users[{index}].id is required and is a string")
    for name, value in row.items():
        if name == "tags":
            if not isinstance(value, list) or not all(_is_tag(tag) for tag in value):
                raise RefusedError(400, f"users[{index}].tags must be lower-case tags of at most {_LEVELS} levels")
        elif isinstance(value, (list, dict)):
            raise RefusedError(400, f"users[{index}].{name} must be a plain value")


def _is_tag(tag: object) -> bool:
    if not isinstance(tag, str) or tag != tag.lower() or tag != tag.strip():
        return False
    levels = tag.split("/")
    return len(levels) <= _LEVELS and all(level.strip() for level in levels)
