"""The service: who may call, lists in pages, users and groups with their versions."""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs
from uuid import NAMESPACE_URL, uuid5

from provisioner.sandbox.scim import definitions
from provisioner.sandbox.scim.bulk import carried_out
from provisioner.sandbox.scim.definitions import ERROR, GROUP, LIST, USER
from provisioner.sandbox.scim.filters import ScimRefusedError
from provisioner.sandbox.scim.lists import SCIM_TYPE, listed
from provisioner.sandbox.scim.options import ScimOptions
from provisioner.sandbox.scim.patches import operations_of, patched
from provisioner.sandbox.vendor import Vendor
from provisioner.sandbox.wire import Answer, Call, RefusedError, Route, json_object

SCIM_TOKEN = "sandbox-scim-token"  # noqa: S105 - published, opens nothing
SCIM_CLIENT = "sandbox-client"
SCIM_SECRET = "sandbox-scim-secret"  # noqa: S105 - published, opens nothing
GROUPS = ("Engineering", "Finance", "Managers", "People", "Sales", "Support")
"""Groups that there are at first."""
_TYPES = ("application/scim+json", "application/json")


class Scim(Vendor[ScimOptions]):
    """One service."""

    kind = "scim"
    key: ClassVar[str] = "id"
    listings: ClassVar[frozenset[str]] = frozenset({"/Users"})
    knows_405: ClassVar[bool] = True

    def __init__(self, name: str, options: ScimOptions) -> None:
        super().__init__(name, options)
        self._users: dict[str, dict[str, Any]] = {}
        self._groups: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, datetime] = {}
        self._names: dict[str, str] = {}
        self._memberships: dict[str, list[str]] | None = None
        self._made = 0
        for group in GROUPS:
            self._groups[_id(name, f"group {group}")] = {"displayName": group, "members": [], "_version": 1}

    @classmethod
    def defaults(cls) -> ScimOptions:
        return ScimOptions()

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/oauth/token", self.token),
            Route("GET", "/ServiceProviderConfig", self.config),
            Route("GET", "/Schemas", self.schemas),
            Route("GET", "/ResourceTypes", self.resource_types),
            Route("GET", "/Users", self.list_users),
            Route("POST", "/Users", self.create_user),
            Route("GET", "/Users/{id}", self.one_user),
            Route("PUT", "/Users/{id}", self.replace_user),
            Route("PATCH", "/Users/{id}", self.patch_user),
            Route("POST", "/Bulk", self.bulk),
            Route("GET", "/Groups", self.list_groups),
            Route("GET", "/Groups/{id}", self.one_group),
            Route("PUT", "/Groups/{id}", self.replace_group),
            Route("PATCH", "/Groups/{id}", self.patch_group),
        ]

    def admit(self, call: Call) -> None:
        if call.path == "/oauth/token":
            return
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        issued = self._tokens.get(token)
        good = token == (self.options.api_key or SCIM_TOKEN) or (issued is not None and issued > call.now)
        if scheme != "Bearer" or not good:
            raise ScimRefusedError(401, "Invalid token")
        content = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if call.method in ("POST", "PUT", "PATCH") and content not in _TYPES:
            raise ScimRefusedError(415, "Content-Type must be application/scim+json")

    def refusal(self, refusal: RefusedError) -> Answer:
        body = {"schemas": [ERROR], "status": str(refusal.status), "detail": refusal.reason}
        if isinstance(refusal, ScimRefusedError) and refusal.keyword:
            body["scimType"] = refusal.keyword
        return Answer(refusal.status, body, SCIM_TYPE)

    def rows(self, body: Any) -> int:
        if not isinstance(body, dict) or "Operations" not in body:
            return 1
        if any("data" in one for one in body["Operations"]):
            return len(body["Operations"])
        values = [one.get("value") for one in body["Operations"] if one.get("path") == "members"]
        return sum(len(value) for value in values if isinstance(value, list)) or 1

    def dump(self) -> Mapping[str, Any]:
        users = [self._user(key) for key in self._users]
        return {"accounts": users, "groups": [self._group(key) for key in self._groups]}

    def seed(self, accounts: Sequence[Mapping[str, Any]], now: datetime) -> int:
        for account in accounts:
            key = str(account.get("id") or "")
            if not key and not account.get("userName"):
                raise RefusedError(400, "every seeded account needs an id or a userName")
            key = key or _id(self.name, f"user {account['userName']}")
            blank = {"schemas": [USER], "_version": 0, "_made": now.isoformat()}
            held = self._users.setdefault(key, blank)
            self._names.pop(str(held.get("userName")).lower(), None)
            held.update({name: value for name, value in account.items() if name not in ("id", "meta", "groups")})
            held["_version"] += 1
            held["_changed"] = now.isoformat()
            self._names[str(held.get("userName") or key).lower()] = key
        return len(accounts)

    def act(self, action: str, given: Mapping[str, Any], now: datetime) -> Any:
        """`member`: somebody puts a user in or out of a group in the product; see `Vendor.act`."""
        if action != "member":
            return super().act(action, given, now)
        group = next((one for one in self._groups.values() if one["displayName"] == given.get("group")), None)
        if group is None or given.get("id") not in self._users:
            raise RefusedError(404, "no such group or user")
        others = [one for one in group["members"] if one["value"] != given["id"]]
        group["members"] = [*others, {"value": given["id"]}] if given.get("in", True) else others
        group["_version"] += 1
        self._memberships = None
        return {"members": len(group["members"])}

    def remove(self, key: str) -> None:
        gone = self._users.pop(key, None)
        if gone is None:
            raise ScimRefusedError(404, f"Resource {key} not found")
        self._names.pop(str(gone.get("userName")).lower(), None)
        self._memberships = None
        for group in self._groups.values():
            group["members"] = [one for one in group["members"] if one["value"] != key]

    # Discovery and tokens

    def token(self, call: Call) -> Answer:
        """OAuth 2.0, client credentials; the secret in HTTP Basic or in the form."""
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            pair = base64.b64decode(credentials).decode()
        else:
            pair = f"{form.get('client_id')}:{form.get('client_secret')}"
        if pair != f"{SCIM_CLIENT}:{SCIM_SECRET}":
            return Answer(401, {"error": "invalid_client"})
        if form.get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type"})
        token = f"issued-{len(self._tokens) + 1}"
        self._tokens[token] = call.now + timedelta(seconds=self.options.token_seconds)
        return Answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.options.token_seconds})

    def config(self, call: Call) -> Answer:
        own = self.options
        if own.discovery == "none":
            raise ScimRefusedError(404, f"{call.path} not found")
        body = definitions.config(
            patch=own.patch,
            filters=own.filters,
            etag=own.etag,
            cursor=own.paging == "cursor",
            index=own.paging != "cursor",
            page=own.page_cap or 200,
            bulk=own.bulk,
            bulk_bytes=own.bulk_bytes,
        )
        return Answer(200, body, SCIM_TYPE)

    def schemas(self, call: Call) -> Answer:
        return self._described(call, definitions.schemas())

    def resource_types(self, call: Call) -> Answer:
        return self._described(call, definitions.resource_types())

    def _described(self, call: Call, rows: Sequence[Mapping[str, Any]]) -> Answer:
        if self.options.discovery != "all":
            raise ScimRefusedError(501, f"{call.path} is not implemented")
        return Answer(200, {"schemas": [LIST], "totalResults": len(rows), "Resources": rows}, SCIM_TYPE)

    # Lists

    def list_users(self, call: Call) -> Answer:
        keys = [key for key in self._users if key not in self.unlisted]
        return listed(self.options, call.query, keys, self._user)

    def list_groups(self, call: Call) -> Answer:
        shown = self.options.members_shown == "all"
        return listed(self.options, call.query, list(self._groups), lambda key: self._group(key, shown=shown))

    # Users

    def one_user(self, call: Call, key: str) -> Answer:
        del call
        return self._shown(self._user(self._known(self._users, key)))

    def create_user(self, call: Call) -> Answer:
        user = definitions.checked_user(_body(call), text=self.options.text_booleans)
        self._hold_unique(user, "")
        self._made += 1
        key = _id(self.name, f"made {self._made}")
        now = call.now.isoformat()
        self._users[key] = {**user, "_version": 1, "_made": now, "_changed": now}
        self._names[str(user["userName"]).lower()] = key
        answer = self._shown(self._user(key))
        return Answer(201, answer.body, {**answer.headers, "Location": f"{call.base_url}/Users/{key}"})

    def bulk(self, call: Call) -> Answer:
        return carried_out(self.options, call, _body(call), self.create_user, self.refusal)

    def replace_user(self, call: Call, key: str) -> Answer:
        held = self._changeable(call, self._users, key)
        user = definitions.checked_user(_body(call), text=self.options.text_booleans)
        return self._save_user(call, key, held, user)

    def patch_user(self, call: Call, key: str) -> Answer:
        held = self._changeable(call, self._users, key)
        self._takes_patch()
        before = {name: value for name, value in held.items() if not name.startswith("_")}
        after = patched(before, _body(call), self.options.patch_form)
        after["schemas"] = [USER, *(name for name in after if name.startswith("urn:"))]
        return self._save_user(call, key, held, definitions.checked_user(after, text=self.options.text_booleans))

    def _save_user(self, call: Call, key: str, held: Mapping[str, Any], user: Mapping[str, Any]) -> Answer:
        self._hold_unique(user, key)
        own = {name: value for name, value in held.items() if name.startswith("_")}
        self._names.pop(str(held["userName"]).lower(), None)
        self._names[str(user["userName"]).lower()] = key
        self._users[key] = {**user, **own, "_version": own["_version"] + 1, "_changed": call.now.isoformat()}
        return Answer(204, None, {}) if self.options.silent else self._shown(self._user(key))

    def _hold_unique(self, user: Mapping[str, Any], key: str) -> None:
        holder = self._names.get(str(user["userName"]).lower(), key)
        if holder != key:
            raise ScimRefusedError(409, "userName is taken", "uniqueness")

    def _user(self, key: str) -> dict[str, Any]:
        held = self._users[key]
        user = {name: value for name, value in held.items() if not name.startswith("_")}
        if not self.options.show_active:
            user.pop("active", None)
        groups = [{"value": group, "display": self._groups[group]["displayName"]} for group in self._entered(key)]
        schemas = [USER, *(name for name in user if name.startswith("urn:"))]
        shown = {"schemas": schemas, "id": key, **user, "meta": self._meta("User", held)}
        return shown | ({"groups": groups} if groups else {})

    def _entered(self, key: str) -> Sequence[str]:
        """The groups that a user is in."""
        if self._memberships is None:
            self._memberships = {}
            for group, one in self._groups.items():
                for member in one["members"]:
                    self._memberships.setdefault(member["value"], []).append(group)
        return self._memberships.get(key, ())

    # Groups

    def one_group(self, call: Call, key: str) -> Answer:
        del call
        return self._shown(self._group(self._known(self._groups, key), shown=self.options.members_shown != "none"))

    def replace_group(self, call: Call, key: str) -> Answer:
        held = self._changeable(call, self._groups, key)
        body = _body(call)
        if GROUP not in body.get("schemas", []) or not body.get("displayName"):
            raise ScimRefusedError(400, "schemas and displayName are required", "invalidValue")
        return self._save_group(held, body.get("members") or [], body["displayName"], call.now)

    def patch_group(self, call: Call, key: str) -> Answer:
        held = self._changeable(call, self._groups, key)
        self._takes_patch()
        body = _body(call)
        if self.options.single_members:
            moved = [len(one["value"]) if isinstance(one.get("value"), list) else 1 for one in operations_of(body)]
            if sum(moved) > 1:
                raise ScimRefusedError(400, "One member at a time", "tooMany")
        members = self._named(self._begun_from(held, call.now))
        after = patched({"displayName": held["displayName"], "members": members}, body)
        return self._save_group(held, after.get("members", []), after["displayName"], call.now)

    def _begun_from(self, held: dict[str, Any], now: datetime) -> list[Any]:
        """The members that a PATCH of a group begins from."""
        lag = timedelta(seconds=self.options.group_lag_seconds)
        past: list[tuple[datetime, list[Any]]] = held.get("_past", []) if lag else []
        return next((members for since, members in reversed(past) if since <= now - lag), held["members"])

    def _save_group(self, held: dict[str, Any], members: Sequence[Any], name: str, now: datetime) -> Answer:
        new = [{"value": self._member(one)} for one in members]
        if self.options.group_lag_seconds:
            past = held.setdefault("_past", [(datetime.min.replace(tzinfo=UTC), held["members"])])
            past.append((now, new))
        held |= {"displayName": name, "members": new}
        held["_version"] += 1
        held["_second"] = now.replace(microsecond=0).isoformat()
        self._memberships = None
        key = next(key for key, one in self._groups.items() if one is held)
        if self.options.silent or self.options.members_shown == "none":
            return Answer(204, None, {})
        return self._shown(self._group(key))

    def _member(self, given: Any) -> str:
        """The id of a user whom a group is to hold."""
        value = given.get("value") if isinstance(given, dict) else None
        key = self._names.get(str(value).lower()) if self.options.members_by_name else value
        if key not in self._users:
            raise ScimRefusedError(400, "A member is no user", "invalidValue")
        return str(key)

    def _named(self, members: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Members as groups name them."""
        named = self.options.members_by_name
        return [{"value": self._users[one["value"]]["userName"] if named else one["value"]} for one in members]

    def _group(self, key: str, *, shown: bool = True) -> dict[str, Any]:
        held = self._groups[key]
        members = [{**one, "type": "User"} for one in self._named(held["members"])] if shown else []
        group = {"schemas": [GROUP], "id": key, "displayName": held["displayName"], "meta": self._meta("Group", held)}
        return group | ({"members": members} if members else {})

    # What both share

    def _takes_patch(self) -> None:
        if not self.options.patch:
            raise ScimRefusedError(501, "PATCH is not implemented")

    def _known(self, held: Mapping[str, Any], key: str) -> str:
        if key not in held:
            raise ScimRefusedError(404, f"Resource {key} not found")
        return key

    def _changeable(self, call: Call, all_held: Mapping[str, dict[str, Any]], key: str) -> dict[str, Any]:
        held = all_held[self._known(all_held, key)]
        wanted = call.headers.get("if-match")
        if self.options.etag_required and wanted is None:
            raise ScimRefusedError(428, "If-Match is required")
        if wanted is not None and wanted != self._version(held):
            raise ScimRefusedError(412, "It has changed")
        return held

    def _meta(self, type_: str, held: Mapping[str, Any]) -> dict[str, Any]:
        meta = {"resourceType": type_}
        if "_made" in held:
            meta |= {"created": held["_made"], "lastModified": held["_changed"]}
        return meta | ({"version": self._version(held)} if self.options.etag else {})

    def _version(self, held: Mapping[str, Any]) -> str:
        seconds = self.options.version_seconds
        return f'W/"{held.get("_second", held["_version"]) if seconds else held["_version"]}"'

    def _shown(self, resource: Mapping[str, Any]) -> Answer:
        version = resource["meta"].get("version")
        return Answer(200, resource, {**SCIM_TYPE, **({"ETag": version} if version else {})})


def _id(name: str, what: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{name} {what}"))


def _body(call: Call) -> dict[str, Any]:
    try:
        return json_object(call)
    except RefusedError as exc:
        raise ScimRefusedError(exc.status, exc.reason, "invalidSyntax") from exc
