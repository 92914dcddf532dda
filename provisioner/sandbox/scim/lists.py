"""Lists of the SCIM stand-in: filters, and pages by index or cursor (RFC 7644, 3.4.2; RFC 9865)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from provisioner.sandbox.scim.definitions import LIST
from provisioner.sandbox.scim.filters import ScimRefusedError, matches
from provisioner.sandbox.scim.options import ScimOptions
from provisioner.sandbox.wire import Answer

SCIM_TYPE = {"Content-Type": "application/scim+json"}


def listed(
    own: ScimOptions, query: Mapping[str, str], keys: Sequence[str], form: Callable[[str], dict[str, Any]]
) -> Answer:
    """The page that a query asks for; `form` shows the resource of a key."""
    known = {"filter", "excludedAttributes", "startIndex", "count", "cursor"}
    if set(query) - known or ("cursor" in query and own.paging == "index"):
        raise ScimRefusedError(400, "Unknown query parameter", "invalidValue")
    if "startIndex" in query and own.paging == "cursor":
        raise ScimRefusedError(400, "Only cursors are served", "invalidValue")
    if "filter" in query and not own.ignore_filters:
        if not own.filters:
            raise ScimRefusedError(400, "Filters are not served", "invalidFilter")
        keys = [key for key in keys if matches(form(key), query["filter"])]
    total = len(keys) + (0 if "filter" in query else own.short_total)
    body: dict[str, Any] = {"schemas": [LIST], "totalResults": total}
    if own.paging == "none":
        return Answer(200, body | {"Resources": [form(key) for key in keys]}, SCIM_TYPE)
    cap = own.page_cap or 200
    count = min(_whole(query.get("count", str(cap))), cap)
    if own.paging == "cursor":
        start = _cursor(query.get("cursor", ""))
        if start + count < len(keys) and "cursor" in query:
            body["nextCursor"] = f"after-{start + count}"
    else:
        start = max(_whole(query.get("startIndex", "1")), 1) - 1
        body["startIndex"] = start + 1
    page = [form(key) for key in keys[start : start + count]]
    if page or not total:
        body["itemsPerPage"] = len(page)
    # No resources at all are not shown as an empty list (RFC 7644, 3.4.2, leaves it open)
    return Answer(200, body | ({"Resources": page} if page else {}), SCIM_TYPE)


def _whole(text: str) -> int:
    try:
        return max(int(text), 0)
    except ValueError:
        raise ScimRefusedError(400, f"{json.dumps(text)} is no number", "invalidValue") from None


def _cursor(text: str) -> int:
    if not text:
        return 0
    if not text.startswith("after-"):
        raise ScimRefusedError(400, "The cursor is unknown", "invalidCursor")
    return _whole(text.removeprefix("after-"))
