"""What to do about the codes that only habitate's outcomes have."""

from __future__ import annotations

from collections.abc import Mapping

_NO_SUCH_NAME = "The target has nothing of that name. Make it there, or fix the mapping, then retry."

ADVICE: Mapping[str, str] = {
    "bad_username": "The target refused a value. Fix it in the roster or the mapping, then sync again.",
    "deleted_account": "A deleted member is in the way. Restore them in the product, or have them erased there.",
    "unknown_board": _NO_SUCH_NAME,
    "unknown_role": _NO_SUCH_NAME,
    "unknown_name": _NO_SUCH_NAME,
    "roles_unknown": _NO_SUCH_NAME,
    "create_unclear": "Look in the target whether it was done, then retry.",
}
