"""What the SCIM stand-in says of itself, and the shape that it holds users and groups to (RFC 7643)."""

from collections.abc import Mapping
from typing import Any

from provisioner.sandbox.scim.filters import ScimRefusedError

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"
_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"

_TEXTS = (
    "userName", "externalId", "displayName", "nickName", "profileUrl", "title", "userType", "preferredLanguage",
    "locale", "timezone",
)  # fmt: skip
_NAME = ("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix")
_ADDRESS = ("formatted", "streetAddress", "locality", "region", "postalCode", "country", "type", "primary")
_VALUED = ("value", "display", "type", "primary")
_PLURAL: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("emails", "phoneNumbers", "roles", "entitlements"), _VALUED),
    "addresses": _ADDRESS,
}
_ENTERPRISE = ("employeeNumber", "costCenter", "organization", "division", "department")
#: What a client may send and the service sets itself.
READ_ONLY = ("id", "meta", "groups")


def _attribute(name: str, type_: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name, "type": type_, "multiValued": False, "required": False, "caseExact": False,
        "mutability": "readWrite", "returned": "default", "uniqueness": "none", **more,
    }  # fmt: skip


def schemas() -> list[dict[str, Any]]:
    """The schemas of users, groups and the extension."""
    user = [_attribute(name) for name in _TEXTS]
    user[0] |= {"required": True, "uniqueness": "server"}
    user += [
        _attribute("name", "complex", subAttributes=[_attribute(one) for one in _NAME]),
        _attribute("active", "boolean"),
        *(
            _attribute(name, "complex", multiValued=True, subAttributes=[_attribute(one) for one in subs])
            for name, subs in _PLURAL.items()
        ),
    ]
    shown = [_attribute(name, mutability="readOnly") for name in ("value", "display")]
    user.append(_attribute("groups", "complex", multiValued=True, mutability="readOnly", subAttributes=shown))
    manager = _attribute("manager", "complex", subAttributes=[_attribute("value"), _attribute("displayName")])
    extension = [*(_attribute(name) for name in _ENTERPRISE), manager]
    members = [_attribute(one, mutability="immutable") for one in ("value", "$ref", "type")]
    group = [
        _attribute("displayName", required=True),
        _attribute("members", "complex", multiValued=True, subAttributes=members),
    ]
    return [
        {"schemas": [_SCHEMA], "id": urn, "name": urn.rpartition(":")[2], "attributes": attributes}
        for urn, attributes in ((USER, user), (ENTERPRISE, extension), (GROUP, group))
    ]


def resource_types() -> list[dict[str, Any]]:
    """The resource types."""
    extensions = [{"schema": ENTERPRISE, "required": False}]
    return [
        {"schemas": [_TYPE], "id": "User", "name": "User", "endpoint": "/Users", "schema": USER,
         "schemaExtensions": extensions},
        {"schemas": [_TYPE], "id": "Group", "name": "Group", "endpoint": "/Groups", "schema": GROUP},
    ]  # fmt: skip


def config(
    *, patch: bool, filters: bool, etag: bool, cursor: bool, index: bool, page: int, bulk: int, bulk_bytes: int
) -> dict[str, Any]:
    """The ServiceProviderConfig."""
    return {
        "schemas": [_CONFIG],
        "patch": {"supported": patch},
        "bulk": {"supported": bulk > 0, "maxOperations": bulk, "maxPayloadSize": bulk_bytes if bulk else 0},
        "filter": {"supported": filters, "maxResults": page},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": etag},
        "pagination": {"cursor": cursor, "index": index, "maxPageSize": page},
        "authenticationSchemes": [],
    }


def checked_user(given: Mapping[str, Any], *, text: bool) -> dict[str, Any]:
    """A user as it may be written, without what only the service writes; empty values are left out."""
    user = {name: value for name, value in given.items() if name not in READ_ONLY and value not in (None, [], {})}
    named = user.pop("schemas", None)
    if not isinstance(named, list) or USER not in named:
        raise ScimRefusedError(400, "schemas does not name the User schema", "invalidSyntax")
    for name, value in user.items():
        if name == ENTERPRISE:
            if ENTERPRISE not in named:
                raise ScimRefusedError(400, f"{ENTERPRISE} is not among the schemas", "invalidSyntax")
            _members(value, name, (*_ENTERPRISE, "manager"))
        elif name in _TEXTS:
            _text(value, name)
        elif name == "name":
            _members(value, name, _NAME)
        elif name == "active":
            _boolean(value, name, text=text)
        elif name in _PLURAL:
            _elements(value, name, text=text)
        else:
            raise ScimRefusedError(400, f"{name} is no attribute of a user", "invalidSyntax")
    if not str(user.get("userName") or "").strip():
        raise ScimRefusedError(400, "userName is required", "invalidValue")
    return user


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise ScimRefusedError(400, f"{name} must be a string", "invalidValue")


def _boolean(value: Any, name: str, *, text: bool) -> None:
    if value not in ("True", "False") if text else not isinstance(value, bool):
        raise ScimRefusedError(400, f"{name} must be a boolean", "invalidValue")


def _members(value: Any, name: str, known: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise ScimRefusedError(400, f"{name} must be an object", "invalidValue")
    for key, one in value.items():
        if key not in known:
            raise ScimRefusedError(400, f"{name} has no {key}", "invalidSyntax")
        if key != "manager":
            _text(one, f"{name}.{key}")


def _elements(value: Any, name: str, *, text: bool) -> None:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ScimRefusedError(400, f"{name} must be a list of objects", "invalidValue")
    for one in value:
        for key, held in one.items():
            if key not in _PLURAL[name]:
                raise ScimRefusedError(400, f"{name} has no {key}", "invalidSyntax")
            if key == "primary":
                _boolean(held, f"{name}.primary", text=text)
            else:
                _text(held, f"{name}.{key}")
        if name == "emails" and "@" not in one.get("value", ""):
            raise ScimRefusedError(400, "An email has no @", "invalidValue")
    if sum(one.get("primary") in (True, "True") for one in value) > 1:
        raise ScimRefusedError(400, f"{name} has more than one primary value", "invalidValue")
