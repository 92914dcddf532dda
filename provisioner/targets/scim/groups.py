"""Groups by their display name: who is in them, and changing it.

Source: RFC 7643, 4.2; RFC 7644, 3.5.2 (members are added and removed by PATCH).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from provisioner.errors import TargetError
from provisioner.model.outcome import Permanent, Temporary, Unclear
from provisioner.model.scim_names import SCIM_PATCH_OP
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.responses import Answer, Failure, as_outcome, sentence
from provisioner.targets.scim.attributes import elements, plain
from provisioner.targets.scim.discovery import LASTING, Discovery
from provisioner.targets.scim.membership import Change, Group, Memberships, group_of, is_direct, why_unusable
from provisioner.targets.scim.paths import get, literal
from provisioner.targets.scim.requests import each_resource, resource_of, scim_type, version_of
from provisioner.targets.scim.settings import ScimSettings
from provisioner.targets.sharing import AT_ONCE
from provisioner.targets.turns import Turn

#: Seconds after which a name that is not found is worth another reading.
_SOON: Final = 30.0
#: Tries of one change that somebody else's change overtakes.
TRIES: Final = 3


#: Code of a change that the service does not serve in this form.
UNSERVED: Final = "method_not_allowed"


class UnknownGroupError(Exception):
    """A group of that name cannot be used; the message says why and which there are."""


@dataclass(slots=True)
class _Wanted:
    """What becomes of one group: who enters and who leaves."""

    group: Group
    enter: list[str] = field(default_factory=list)
    leave: list[str] = field(default_factory=list)


class Groups:
    """The groups of one service."""

    def __init__(self, target: str, settings: ScimSettings, discovery: Discovery) -> None:
        self._target = target
        self._settings = settings
        self._discovery = discovery
        self._known: tuple[float, Sequence[Group]] | None = None
        # Many operations ask at once; one reads, the others find what it read
        self._reading = asyncio.Lock()
        self._shows_members = False
        # By id: one change of a group after the other, since services read whole groups and write them back
        self._changing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def all(self, http: Http, *, age: float = LASTING) -> Sequence[Group]:
        """All groups, read at most `age` seconds ago; their members may be as old.

        Raises:
            TargetError: they cannot be read.
        """
        async with self._reading:
            if self._known is None or time.monotonic() - self._known[0] > age:
                self._known = time.monotonic(), await self._read(http)
            return self._known[1]

    async def _read(self, http: Http) -> Sequence[Group]:
        features = await self._discovery.features(http)
        paging, size = features.paging(self._settings.dialect), features.page_size(self._settings.page_size)
        found = await each_resource(http, self._settings.paths.groups, paging, size)
        return [group_of(one) for one in found]

    async def memberships(self, http: Http, *, users: bool) -> Memberships:
        """Who is in which group now. A name that two groups share, or that holds a `;`, names none.

        Args:
            users: whether the service has any.

        Where no group of the list shows a member, each is read by itself, since many services leave members out of
        lists. Where none is shown then either, the users' own `groups` are believed: without them a leaver would seem
        to be in no group, and stay in it.

        Raises:
            TargetError: the groups cannot be read.
        """
        groups = await self.all(http, age=0)
        usable = {group.id: group.name for group in groups if why_unusable(group, groups) is None}
        notes = tuple(
            f"The group {group.name!r} is left alone: {why}."
            for group in groups
            if (why := why_unusable(group, groups)) is not None
        )
        if self._settings.dialect.memberships == "users":
            return Memberships(usable, None, notes)
        if users and not any(group.members for group in groups):
            groups = await each(groups, lambda group: self._by_itself(http, group), limit=AT_ONCE)
            if not any(group.members for group in groups):
                return Memberships(usable, None, notes)
        by_user: dict[str, list[str]] = {}
        for group in groups:
            for member in (group.members or ()) if group.id in usable else ():
                by_user.setdefault(member, []).append(group.name)
        return Memberships(usable, by_user, notes, self._settings.dialect.member_value)

    async def _by_itself(self, http: Http, group: Group) -> Group:
        template = f"{self._settings.paths.groups}/{{}}"
        answer = await http.read(at(template, group.id), accept=(404, 410))
        if answer.status in (404, 410):
            return replace(group, members=None)
        return group_of(resource_of(self._target, answer, at(template, "…")))

    async def named(self, http: Http, name: str) -> Group:
        """The group of that name, whose case does not matter.

        Raises:
            UnknownGroupError: there is no such group, or more than one.
            TargetError: they cannot be read.
        """
        groups: Sequence[Group] = ()
        found: list[Group] = []
        for age in (LASTING, _SOON):
            groups = await self.all(http, age=age)
            found = [group for group in groups if group.name.lower() == name.lower()]
            if len(found) == 1:
                return found[0]
        names = ", ".join(sorted(group.name for group in groups)[:50]) or "none"
        raise UnknownGroupError(
            f"there {'are several groups' if found else 'is no group'} named {name!r}; its groups: {names}"
        )

    async def write(self, http: Http, changes: Sequence[Change]) -> Mapping[str, Mapping[str, Failure]]:
        """Carry out changes, all members of a group together.

        Returns:
            By account the groups (in lower case) whose change failed, and why; empty for those with whom all went
            well. To leave a group that is gone is no failure.
        """
        failed: dict[str, dict[str, Failure]] = {one.account: {} for one in changes}
        accounts = {one.member: one.account for one in changes}
        wanted: dict[str, _Wanted] = {}
        for one in changes:
            for name, enters in (*((name, True) for name in one.enter), *((name, False) for name in one.leave)):
                try:
                    group = await self.named(http, name)
                except UnknownGroupError as exc:
                    if enters:
                        failed[one.account][name.lower()] = Permanent("unknown_group", str(exc))
                except TargetError as exc:
                    failed[one.account][name.lower()] = as_outcome(exc)
                else:
                    part = wanted.setdefault(group.id, _Wanted(group))
                    (part.enter if enters else part.leave).append(one.member)
        for part in wanted.values():
            for member, failure in (await self._in_turn(http, part)).items():
                failed[accounts[member]][part.group.name.lower()] = failure
        return failed

    async def _in_turn(self, http: Http, part: _Wanted) -> Mapping[str, Failure]:
        """Change a group while nobody else of this deployment does."""
        group = part.group
        async with self._changing[group.id], http.turn(f"group {group.id}") as turn:
            if turn is not None:
                return await self._write(http, part, turn)
        busy = Temporary("overtaken", f"another process changes the group {group.name!r}, or died while it did")
        return dict.fromkeys([*part.enter, *part.leave], busy)

    async def _write(self, http: Http, part: _Wanted, turn: Turn) -> Mapping[str, Failure]:
        features = await self._discovery.features(http)
        if not features.updates_by_patch(self._settings.dialect):
            failure = await self._replace(http, part, turn)
            return dict.fromkeys([*part.enter, *part.leave], failure) if failure is not None else {}
        single = self._settings.dialect.members == "single"
        failed = await self._patch_all(http, part.group, part.enter, part.leave, size=1 if single else 0)
        unserved = any(isinstance(one, Permanent) and one.code == UNSERVED for one in failed.values())
        if not unserved or self._settings.dialect.update != "auto" or features.patch:
            return failed
        self._discovery.cannot_patch()
        return await self._write(http, part, turn)

    async def _patch_all(
        self, http: Http, group: Group, enter: Sequence[str], leave: Sequence[str], *, size: int
    ) -> Mapping[str, Failure]:
        """Members in and out; what is refused as a whole is halved, so that one bad member is alone."""
        both = [*((account, True) for account in enter), *((account, False) for account in leave)]
        most = size or self._settings.batch_size
        failed: dict[str, Failure] = {}
        for start in range(0, len(both), most):
            failed |= await self._patch_some(http, group, both[start : start + most])
        return failed

    async def _patch_some(self, http: Http, group: Group, some: Sequence[tuple[str, bool]]) -> Mapping[str, Failure]:
        enter = [account for account, enters in some if enters]
        leave = [account for account, enters in some if not enters]
        failure = await self._patch(http, group, enter, leave)
        if isinstance(failure, Unclear):
            # The same twice is the same once
            failure = await self._patch(http, group, enter, leave)
        if failure is None:
            return {}
        if not isinstance(failure, Permanent) or failure.code in ("forbidden", UNSERVED) or len(some) == 1:
            return {account: failure for account, _ in some}
        middle = len(some) // 2
        first = await self._patch_some(http, group, some[:middle])
        return {**first, **await self._patch_some(http, group, some[middle:])}

    async def _patch(self, http: Http, group: Group, enter: Sequence[str], leave: Sequence[str]) -> Failure | None:
        operations: list[dict[str, Any]] = []
        if enter:
            operations.append({"op": "add", "path": "members", "value": [self._member(one) for one in enter]})
        if leave and self._settings.dialect.remove_member == "value":
            operations.append({"op": "remove", "path": "members", "value": [{"value": one} for one in leave]})
        elif leave:
            operations += [{"op": "remove", "path": f"members[value eq {literal(one)}]"} for one in leave]
        body = {"schemas": [SCIM_PATCH_OP], "Operations": operations}
        path = at(f"{self._settings.paths.groups}/{{}}", group.id)
        headers: dict[str, str] = {}
        for _ in range(TRIES):
            answer = await http.send("PATCH", path, body, headers=headers, accept=(400, 404, 405, 412, 428, 501))
            if not isinstance(answer, Answer):
                return answer
            if answer.status < 300:
                return _not_kept(answer, group, enter, leave)
            if answer.status == 404 and not enter:
                return None
            if answer.status == 400 and scim_type(answer) == "notarget" and not enter:
                # Who is not in the group need not leave it
                return None if len(leave) == 1 else Permanent("refused", "a member was not in the group")
            if answer.status not in (412, 428):
                return _refused(answer, group)
            try:
                shown = await http.read(path)
            except TargetError as exc:
                return as_outcome(exc)
            version = version_of(shown)
            headers = {"If-Match": version} if version else {}
        return _overtaken(group)

    async def _hides(self, http: Http, group: Group, shown: Sequence[Any]) -> bool:
        """Whether a group has members though it shows none: to put it back would take all of them out.

        Asked until one was seen that shows some.

        Raises:
            TargetError: the users cannot be read.
        """
        self._shows_members = self._shows_members or bool(shown)
        if self._shows_members:
            return False
        features = await self._discovery.features(http)
        size = features.page_size(self._settings.page_size)
        users = await each_resource(http, self._settings.paths.users, features.paging(self._settings.dialect), size)
        return any(plain(one) == group.id for user in users for one in elements(get(user, "groups")) if is_direct(one))

    def _member(self, member: str) -> dict[str, str]:
        if not self._settings.dialect.member_ref:
            return {"value": member}
        path = at(f"{self._settings.paths.users}/{{}}", member)
        return {"value": member, "$ref": f"{self._settings.base_url}{path}"}

    async def _replace(self, http: Http, part: _Wanted, turn: Turn) -> Failure | None:
        """The whole group with its members as they are to be, read right before.

        Without a version to hold it to, a request that got no answer may still take everybody else out of the group
        whom the next one brings in. So nobody changes the group before it must be over.
        """
        path = at(f"{self._settings.paths.groups}/{{}}", part.group.id)
        for _ in range(TRIES):
            try:
                answer = await http.read(path, accept=(404,))
                if answer.status == 404:
                    return None if not part.enter else Permanent("unknown_group", f"{part.group.name!r} is gone")
                shown = resource_of(self._target, answer, f"{self._settings.paths.groups}/…")
            except TargetError as exc:
                return as_outcome(exc)
            before = elements(get(shown, "members"))
            try:
                hidden = await self._hides(http, part.group, before)
            except TargetError as exc:
                return as_outcome(exc)
            if hidden:
                return Permanent("members_hidden", f"{part.group.name!r} has members and shows none to be put back")
            there = {plain(one) for one in before}
            stay = [one for one in before if plain(one) not in part.leave]
            new = [*stay, *(self._member(one) for one in part.enter if one not in there)]
            if {plain(one) for one in new} == there:
                return None
            body = {name: value for name, value in shown.items() if name.lower() not in ("members", "meta")}
            version = version_of(answer) if self._settings.dialect.etag == "auto" else None
            sent = await http.send(
                "PUT",
                path,
                {**body, "members": new},
                headers={"If-Match": version} if version else {},
                accept=(400, 404, 412, 428),
            )
            if not isinstance(sent, Answer):
                if isinstance(sent, Unclear) and sent.code != "server_error" and not version:
                    turn.keep()
                return sent
            if sent.status < 300:
                return _not_kept(sent, part.group, part.enter, part.leave)
            if sent.status not in (412, 428):
                return _refused(sent, part.group)
        return _overtaken(part.group)


def _not_kept(answer: Answer, group: Group, enter: Sequence[str], leave: Sequence[str]) -> Failure | None:
    """Whether the answer itself shows that the members were not changed; many answers show none."""
    shown = get(answer.json, "members") if isinstance(answer.json, Mapping) else None
    if not isinstance(shown, list):
        return None
    there = {plain(one) for one in shown}
    if there.issuperset(enter) and there.isdisjoint(leave):
        return None
    return Permanent("members_unchanged", f"accepted, but the answer shows other members of {group.name!r}")


def _refused(answer: Answer, group: Group) -> Failure:
    said = f": {sentence(answer.json)}" if sentence(answer.json) else ""
    codes = {404: "unknown_group", 405: UNSERVED, 501: UNSERVED}
    code = codes.get(answer.status, "bad_request")
    return Permanent(code, f"the group {group.name!r} was not changed ({answer.status}){said}")


def _overtaken(group: Group) -> Failure:
    return Temporary("overtaken", f"the group {group.name!r} was changed by others, again and again")
