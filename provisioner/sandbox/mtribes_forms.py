"""How mtribes' bodies are laid out, and what a row of an ingest must be. Pure."""

from collections.abc import Mapping
from typing import Any

from provisioner.sandbox.wire import RefusedError

_LEVELS = 3


def at(body: Any, path: str) -> Any:
    """What a body has under a path and besides which it has nothing.

    Raises `RefusedError` 400 where it has something else.
    """
    for name in path.split(".") if path and path != "path" else ():
        if not isinstance(body, dict) or set(body) != {name}:
            raise RefusedError(400, f"the body is an object with {path}")
        body = body[name]
    return body


def nested(path: str, value: Any) -> Any:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def has_tag(user: Mapping[str, Any], tag: str) -> bool:
    return any(own == tag or own.startswith(f"{tag}/") for own in user["tags"])


def check_row(row: Any, index: int) -> None:
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
