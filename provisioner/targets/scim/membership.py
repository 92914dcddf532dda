"""What groups hold, and how a user's change: values. Pure.

Source: RFC 7643, 4.2 (members) and 4.1.2 (a user's `groups`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.model.attributes import Type, canonical, members
from provisioner.model.unconfirmed import parted
from provisioner.targets.scim.attributes import elements, plain
from provisioner.targets.scim.paths import get
from provisioner.targets.scim.requests import id_of


@dataclass(frozen=True, slots=True)
class Group:
    """One group: its id, its display name and the ids of its members, None where it does not show any."""

    id: str
    name: str
    members: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Memberships:
    """Who is in which group; `by_user` is None where the users themselves say it."""

    names: Mapping[str, str]
    by_user: Mapping[str, Sequence[str]] | None
    notes: tuple[str, ...] = ()
    member_value: str = "id"

    def of(self, account: str, user: Mapping[str, Any]) -> str | None:
        """The names of a user's groups, as a canonical set."""
        if self.by_user is not None:
            member = account if self.member_value == "id" else str(get(user, self.member_value))
            return canonical(list(self.by_user.get(member, ())), Type.SET)
        held = elements(get(user, "groups"))
        named = (self.names.get(plain(one)) for one in held if is_direct(one))
        return canonical([name for name in named if name], Type.SET)


@dataclass(frozen=True, slots=True)
class Change:
    """The groups that one user is to enter and to leave, by name. `member` is what groups call the user."""

    account: str
    member: str
    enter: tuple[str, ...]
    leave: tuple[str, ...]


def change_of(account: str, before: str | None, after: str | None) -> Change:
    """The difference of two canonical sets of group names; whoever is perhaps in one enters or leaves it again.

    Groups call the user by the id; see `dialect.member_value`.
    """
    sure, unsure = parted(before)
    new = {name.lower(): name for name in members(after)}
    return Change(
        account,
        account,
        tuple(name for key, name in new.items() if key not in sure),
        tuple(name for key, name in {**sure, **unsure}.items() if key not in new),
    )


def group_of(resource: Mapping[str, Any]) -> Group:
    """A group resource as a group."""
    held = get(resource, "members")
    ids = None if held is None else frozenset(plain(one) for one in elements(held) if _is_user(one))
    return Group(str(id_of(resource)), str(get(resource, "displayName") or "").strip(), ids)


def _is_user(member: Any) -> bool:
    return not isinstance(member, Mapping) or str(get(member, "type") or "User").lower() != "group"


def is_direct(membership: Any) -> bool:
    """Whether a user is in a group itself, not in one that is nested in it."""
    return not isinstance(membership, Mapping) or str(get(membership, "type") or "direct").lower() != "indirect"


def why_unusable(group: Group, groups: Sequence[Group]) -> str | None:
    """Why a group cannot be named by the mapping, None if it can."""
    if not group.name:
        return "it has no display name"
    if ";" in group.name:
        return "its name holds a semicolon, which separates names in the mapping"
    if sum(other.name.lower() == group.name.lower() for other in groups) > 1:
        return "another group has the same name"
    return None
