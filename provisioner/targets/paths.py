"""Paths at a vendor. Parts from outside are quoted, and messages leave out the parts that may name a person."""

from __future__ import annotations

from urllib.parse import quote


class _Path(str):
    """A path that knows how it may be shown: without the parts that may name a person."""

    __slots__ = ("shown",)
    shown: str


def at(template: str, *parts: str) -> str:
    """The path of a template such as ``/papi/users/{}``, its parts quoted; messages show the template only.

    Raises:
        ValueError: a part is empty, which would make it the path of something else.
    """
    if not all(parts):
        raise ValueError(f"a part of {template} is empty")
    path = _Path(template.format(*map(_quoted, parts)))
    path.shown = template.replace("{}", "…")
    return path


def _quoted(part: str) -> str:
    # A bare dot segment would be resolved away, and the request would go elsewhere
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="", errors="replace")


def shown_path(path: str) -> str:
    """A path without the part that may name a person."""
    if isinstance(path, _Path):
        return path.shown
    parts = path.split("?")[0].split("/")
    return "/".join(
        part if part.replace("_", "").replace(".", "").isalnum() and len(part) < 24 else "…" for part in parts
    )
