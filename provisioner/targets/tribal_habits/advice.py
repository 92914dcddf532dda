"""What to do about the codes that only Tribal Habits' outcomes have."""

from __future__ import annotations

from collections.abc import Mapping

_NOT_AS_PUBLISHED = (
    "The target, or what is in front of it, does not answer as its vendor says. Check base_url, then ask the vendor."
)

ADVICE: Mapping[str, str] = {
    "no_code": "The target has nothing of that name. Make it there, or fix the mapping, then retry.",
    "unclear_knowledge": "Look in the target whether it was done, then retry.",
    "rows_unaccounted": _NOT_AS_PUBLISHED,
    "unknown_row": _NOT_AS_PUBLISHED,
}
