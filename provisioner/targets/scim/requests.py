"""Reading what SCIM services answer: resources, lists in pages, and errors.

Source: RFC 7644, 3.4 (lists) and 3.12 (errors); RFC 9865 (cursors).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from provisioner.errors import ListingError, MalformedAnswerError
from provisioner.targets.http import Http
from provisioner.targets.responses import Answer
from provisioner.targets.scim.paths import get

#: Pages that a list may have: far more than there are people, and not for ever.
_MOST_PAGES: Final = 1_000_000
Paging = Literal["index", "cursor", "none"]


def resource_of(target: str, answer: Answer, path: str) -> dict[str, Any]:
    """The resource of an answer.

    Raises:
        MalformedAnswerError: it is none, or has no id.
    """
    if isinstance(answer.json, dict) and id_of(answer.json):
        return answer.json
    raise MalformedAnswerError(target, f"GET {path} answered no resource with an id.")


def id_of(resource: Mapping[str, Any]) -> str | None:
    """The id of a resource; a number is taken for its text."""
    found = get(resource, "id")
    return str(found) if isinstance(found, (str, int)) and not isinstance(found, bool) and str(found) else None


def version_of(answer: Answer) -> str | None:
    """The version of the resource in an answer: its ETag, else `meta.version`."""
    if answer.headers.get("etag"):
        return answer.headers["etag"]
    meta = get(answer.json, "meta") if isinstance(answer.json, Mapping) else None
    version = get(meta, "version") if isinstance(meta, Mapping) else None
    return version if isinstance(version, str) and version.isprintable() and version.isascii() else None


def scim_type(answer: Answer) -> str:
    """The detail error keyword of an answer in lower case, empty if it says none."""
    found = get(answer.json, "scimType") if isinstance(answer.json, Mapping) else None
    return str(found or "").lower()


async def each_resource(
    http: Http,
    path: str,
    paging: Paging,
    size: int,
    query: Mapping[str, str | int] | None = None,
) -> list[dict[str, Any]]:
    """All resources of a list, one per id. A page may be smaller than asked for, and nothing else ends a list than
    that its total is reached.

    Raises:
        ListingError: it changed on the way, shows fewer than it counts, or repeats itself.
        MalformedAnswerError: it is no list.
        TargetError: any other failure.
    """
    if paging == "cursor":
        return await _by_cursor(http, path, size, query or {})
    return await _by_index(http, path, size if paging == "index" else None, query or {})


async def _by_index(http: Http, path: str, size: int | None, query: Mapping[str, str | int]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    shown, total = 0, None
    for _ in range(_MOST_PAGES):
        params = dict(query) if size is None else {**query, "startIndex": shown + 1, "count": size}
        answer = await http.read(path, params)
        counted, rows = list_of(http.target, answer, path)
        if counted is None:
            raise MalformedAnswerError(http.target, f"GET {path}: the list does not say its totalResults.")
        if total is not None and counted != total:
            raise _changed(http.target, path, f"it counted {total} at first, and then {counted}")
        total, before = counted, len(found)
        found |= _by_id(http.target, path, rows)
        shown += len(rows)
        if shown >= total:
            break
        if size is None or len(found) == before:
            raise _short(http.target, path, len(found), total)
    if len(found) != total:
        raise _short(http.target, path, len(found), total or 0)
    return list(found.values())


async def _by_cursor(http: Http, path: str, size: int, query: Mapping[str, str | int]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    cursors, cursor, total = set[str](), "", None
    for _ in range(_MOST_PAGES):
        answer = await http.read(path, {**query, "cursor": cursor, "count": size}, accept=(400,))
        if answer.status == 400:
            raise _changed(http.target, path, f"its cursor was refused ({scim_type(answer) or 'no reason given'})")
        counted, rows = list_of(http.target, answer, path)
        if counted is not None and total is not None and counted != total:
            raise _changed(http.target, path, f"it counted {total} at first, and then {counted}")
        total = counted if counted is not None else total
        found |= _by_id(http.target, path, rows)
        following = get(answer.json, "nextCursor")
        if following in (None, ""):
            break
        cursor = str(following)
        if cursor in cursors:
            raise _changed(http.target, path, "a cursor led back to a page that was read")
        cursors.add(cursor)
    # A service need not count what it shows by cursor; where it does, the count holds
    if total is not None and len(found) != total:
        raise _short(http.target, path, len(found), total)
    return list(found.values())


def first_page(paging: Paging, size: int) -> dict[str, str | int]:
    """The query of a list's first page."""
    if paging == "index":
        return {"startIndex": 1, "count": size}
    return {"cursor": "", "count": size} if paging == "cursor" else {}


def list_of(target: str, answer: Answer, path: str) -> tuple[int | None, Sequence[Mapping[str, Any]]]:
    """The total and the resources of a page; no resources at all need no list (RFC 7644, 3.4.2).

    Raises:
        MalformedAnswerError: it is no list of objects.
    """
    body = answer.json
    if not isinstance(body, Mapping):
        raise MalformedAnswerError(target, f"GET {path} answered no list.")
    total, rows = get(body, "totalResults"), get(body, "Resources")
    if isinstance(total, str) and total.isdecimal():
        total = int(total)
    counted = total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None
    rows = [] if rows is None and counted is not None else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise MalformedAnswerError(target, f"GET {path}: Resources is no list of objects.")
    return counted, rows


def _by_id(target: str, path: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    by_id = {id_of(row): dict(row) for row in rows}
    if None in by_id:
        raise MalformedAnswerError(target, f"GET {path}: a resource has no id.")
    return {str(key): row for key, row in by_id.items()}


def _changed(target: str, path: str, why: str) -> ListingError:
    return ListingError(
        target, f"GET {path}: the list changed while it was read: {why}.", remedy="The next run tries again."
    )


def _short(target: str, path: str, shown: int, total: int) -> ListingError:
    return ListingError(
        target,
        f"GET {path}: {shown} of {total} were shown, so the list is not believed.",
        remedy="If it stays so, see targets.<name>.dialect.paging, and which resources the credentials may see.",
    )
