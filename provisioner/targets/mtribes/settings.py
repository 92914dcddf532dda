"""The settings of a target of kind `mtribes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, SecretStr, model_validator

from provisioner.settings.attribute_rule import Section
from provisioner.settings.targets import GuardLimit, TargetSettings

#: Settings of the contract that were there before `dialect`, and may stand in it under their own names.
_OLDER: Final = (
    "api_version",
    "auth_scheme",
    "environment",
    "envelope",
    "fields",
    "ignore",
    "page_param",
    "page_size_param",
    "paths",
)
#: Levels below which names are those of attributes, which may hold dots.
_NAMES_OF_ATTRIBUTES: Final = (("fields",), ("ingest", "fields"))


class MtribesPaths(Section):
    """Paths of the assumed mtribes contract; {api_version}, {space_id} and {tribe_id} are filled in."""

    users: str = "/{api_version}/spaces/{space_id}/users"
    ingest: str = "/{api_version}/spaces/{space_id}/users"
    tribes: str = "/{api_version}/spaces/{space_id}/tribes"
    tribe_users: str = "/{api_version}/spaces/{space_id}/tribes/{tribe_id}/users"
    orgs: str = "/{api_version}/orgs"
    spaces: str = "/{api_version}/orgs/{org_id}/spaces"


class AuthDialect(Section):
    """How the token is shown."""

    header: str = Field("Authorization", pattern=r"^[A-Za-z][A-Za-z0-9-]*$", description="Header of the token.")


class IdDialect(Section):
    """Where ids are, and what they are."""

    at: str = Field("id", min_length=1, description="Where an object of a list shows its id.")
    numbers: bool = Field(False, description="Ids are numbers, and are sent as numbers.")


class ListDialect(Section):
    """How lists are read."""

    at: str | None = Field(
        None, description="Where the list is in an answer, such as data.items; none: a bare array, or the only one."
    )
    first: int = Field(1, ge=0, le=1, description="Number of the first page.")
    offset: str = Field("", description="Query parameter of how many are skipped, in place of a page number.")
    cursor: str = Field("", description="Query parameter of the cursor that `list.next` gives.")
    next: str = Field(
        "", description="Where an answer names the next page: a cursor, an address or a page number; empty at the end."
    )


class IngestDialect(Section):
    """How users are sent."""

    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="Method of an ingest.")
    id: str = Field("id", min_length=1, description="Where a sent user has the id.")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Attribute: where it is sent, such as name: attributes.name; tags: tags[].name sends objects.",
    )
    results: str = Field(
        "", description="Where an answer has an entry for each user, in the order sent or with their ids."
    )
    status: str = Field(
        "status", min_length=1, description="What of such an entry says how it went: a number, a word, true or false."
    )


class TagDialect(Section):
    """An endpoint of their own for the tags of one user."""

    path: str = Field("", description="Its path, with {user_id}; empty: tags are sent with the user.")
    method: Literal["PUT", "POST", "PATCH"] = Field("PUT", description="Method that replaces all tags of the user.")
    envelope: str = Field("tags", description="Key of the tags in its body and its answer; empty: a bare array.")


class MtribesDialect(Section):
    """Whatever about mtribes' API is otherwise than assumed.

    Each name may be written with its levels nested or with dots between them.
    """

    auth: AuthDialect = Field(default_factory=AuthDialect, description="The token.")
    ids: IdDialect = Field(default_factory=IdDialect, description="Ids.")
    list: ListDialect = Field(default_factory=ListDialect, description="Lists.")
    ingest: IngestDialect = Field(default_factory=IngestDialect, description="Sending of users.")
    tags: TagDialect = Field(default_factory=TagDialect, description="Tags by an endpoint of their own.")


class MtribesSettings(TargetSettings):
    """mtribes, personalisation, Platform API v1.0 (partly assumed, so everything about it can be set)."""

    default_base_url: ClassVar[str | None] = "https://api.mtribes.com"
    credentials: ClassVar[tuple[str, ...]] = ("access_token", "space_id")
    same_account: ClassVar[tuple[str, ...]] = ("space_id",)
    # What an ingest does to fields that we do not know of is not published
    overwrites: ClassVar[GuardLimit | None] = GuardLimit(percent=0, absolute=0)

    access_token: SecretStr | None = Field(None, description="Personal access token.")
    space_id: str | None = Field(None, description="UUID of the Space; `check --connect` lists them.")
    environment: str | None = Field(None, description="Environment key for the v2 form of the paths.")
    api_version: str = Field("v1.0", description="Version segment of the paths.")
    auth_scheme: str = Field("Bearer", description="Word before the token in its header; may be empty.")
    paths: MtribesPaths = Field(default_factory=MtribesPaths, description="Paths, should the assumed ones be wrong.")
    envelope: str | None = Field(
        "users",
        description="Key of the list in an ingest, dots between levels; empty: a bare array; null: one bare object, "
        "batch 1.",
    )
    page_param: str = Field("page", description="Query parameter of the page number.")
    page_size_param: str = Field("page_size", description="Query parameter of the page size.")

    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Attribute: where a listed user shows it, dots between levels, such as tags: tags.name.",
    )
    ignore: tuple[str, ...] = Field(
        (), description="Keys besides a list that say nothing of its pages, though they look like it."
    )
    dialect: MtribesDialect = Field(
        default_factory=MtribesDialect,
        description="What else may be otherwise; the settings from `environment` to `ignore` may be in it too.",
    )

    @model_validator(mode="before")
    @classmethod
    def _dialect_in_one_block(cls, value: Any) -> Any:
        """Dotted names become levels, and what has a setting of its own goes there."""
        if not isinstance(value, dict) or not isinstance(value.get("dialect"), Mapping):
            return value
        dialect = _levels(value["dialect"])
        older = {name: dialect.pop(name) for name in _OLDER if name in dialect}
        twice = next((name for name in older if name in value), None)
        if twice is not None:
            raise ValueError(f"{twice} is given twice: by itself and in dialect")
        return {**value, **older, "dialect": dialect}

    @model_validator(mode="before")
    @classmethod
    def _one_at_a_time(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        dialect = _levels(value["dialect"]) if isinstance(value.get("dialect"), Mapping) else {}
        settings = {**dialect, **value}
        paths = settings.get("paths")
        addressed = isinstance(paths, Mapping) and "{user_id}" in str(paths.get("ingest"))
        bare = "envelope" in settings and settings["envelope"] is None
        return {**value, "batch_size": 1} if bare or addressed else value

    @model_validator(mode="after")
    def _leads_on(self) -> MtribesSettings:
        pages = self.dialect.list
        if pages.cursor and not pages.next:
            raise ValueError("dialect.list.cursor needs dialect.list.next: where an answer has the cursor")
        if self.dialect.tags.path and "{user_id}" not in self.dialect.tags.path:
            raise ValueError("dialect.tags.path needs {user_id}: it is about one user")
        return self


def _levels(block: Mapping[Any, Any]) -> dict[str, object]:
    """A block in which `a.b: 1` is `a: {b: 1}`.

    Raises:
        ValueError: a name is both a value and a level, or is there twice.
    """
    found: dict[str, object] = {}
    for path, value in _leaves(block, ()):
        level: Any = found
        for part in path[:-1]:
            level = level.setdefault(part, {})
            if not isinstance(level, dict):
                raise ValueError(f"dialect.{'.'.join(path)}: {part} is a value already")
        if path[-1] in level:
            raise ValueError(f"dialect.{'.'.join(path)} is given twice")
        level[path[-1]] = value
    return found


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for names in _NAMES_OF_ATTRIBUTES:
        if path[: len(names)] == names and len(path) > len(names):
            yield (*names, ".".join(path[len(names) :])), value
            return
    if not isinstance(value, Mapping):
        yield path, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, (*path, *str(name).split(".")))
