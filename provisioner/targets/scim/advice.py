"""What to do about the codes that only outcomes of SCIM services have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[str, str]] = {
    "unknown_group": "The target has no group of that name. Make it there, or fix the mapping, then retry.",
    "no_outcome": "Nobody knows whether it was done. It is looked up, and then tried again by itself. If it keeps on "
    "where users are made in bulk, set dialect.bulk to no.",
    "create_unclear": "Look in the target whether it was done, then retry.",
    "members_unchanged": "The target accepts it and does not do it. See dialect.update and dialect.remove_member.",
    "members_hidden": "Give the credentials the right to read members, or change memberships there by hand.",
    "overtaken": "Others change the same account or group. It is tried again by itself. If it never ends, the versions "
    "of the target are wrong: see dialect.etag.",
}
