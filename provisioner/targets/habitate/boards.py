"""Membership of private boards: many members of one board change in one request.

Source: page "Modify private board members". Members cannot be listed, so the changes come from the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provisioner.errors import TargetError
from provisioner.model.attributes import members
from provisioner.model.outcome import Permanent, Unclear
from provisioner.model.unconfirmed import parted
from provisioner.targets.habitate.directory import Directory, UnknownNameError
from provisioner.targets.habitate.members import send
from provisioner.targets.http import Http
from provisioner.targets.paths import at
from provisioner.targets.responses import Answer, Failure, as_outcome


@dataclass(frozen=True, slots=True)
class Change:
    """The private boards that one member is to enter and to leave, by name."""

    msid: str
    enter: tuple[str, ...]
    leave: tuple[str, ...]


def change(msid: str, before: str | None, after: str | None) -> Change:
    """The difference of two canonical sets of board names; a member perhaps in a board enters or leaves it again."""
    sure, unsure = parted(before)
    new = {name.lower(): name for name in members(after)}
    return Change(
        msid,
        tuple(name for key, name in new.items() if key not in sure),
        tuple(name for key, name in {**sure, **unsure}.items() if key not in new),
    )


async def write(
    http: Http, directory: Directory, changes: Sequence[Change], *, at_once: int
) -> Mapping[str, Mapping[str, Failure]]:
    """Carry out changes, grouped by board and at most `at_once` members in a request.

    Returns:
        By msid the boards (in lower case) whose change failed, and why; empty for those with whom all went well.
        To leave a board that is gone is no failure.
    """
    failed: dict[str, dict[str, Failure]] = {one.msid: {} for one in changes}
    wanted: dict[str, tuple[str, dict[str, bool]]] = {}
    for one in changes:
        for name, granted in (*((name, True) for name in one.enter), *((name, False) for name in one.leave)):
            try:
                board = await directory.board(http, name)
            except UnknownNameError as exc:
                if granted:
                    failed[one.msid][name.lower()] = Permanent("unknown_board", str(exc))
            except TargetError as exc:
                failed[one.msid][name.lower()] = as_outcome(exc)
            else:
                wanted.setdefault(board.id, (name.lower(), {}))[1][one.msid] = granted
    for board_id, (name, by_msid) in wanted.items():
        msids = list(by_msid)
        for start in range(0, len(msids), at_once):
            part = {msid: by_msid[msid] for msid in msids[start : start + at_once]}
            for msid, failure in (await _send(http, board_id, part)).items():
                failed[msid][name] = failure
    return failed


async def _send(http: Http, board_id: str, changes: Mapping[str, bool]) -> Mapping[str, Failure]:
    """One request; where it is refused as a whole it is halved, so that one bad member is alone."""
    path, body = at("/api/v1/boards/{}/members", board_id), {"member_changes": dict(changes)}
    result = await send(http, "PUT", path, body)
    if isinstance(result, Unclear):
        # The same twice is the same once, and so many members would have to be looked up for want of an answer
        result = await send(http, "PUT", path, body)
    if isinstance(result, Answer):
        return {}
    if not isinstance(result, Permanent) or result.code == "forbidden" or len(changes) == 1:
        return dict.fromkeys(changes, result)
    msids = list(changes)
    middle = len(msids) // 2
    first = await _send(http, board_id, {msid: changes[msid] for msid in msids[:middle]})
    second = await _send(http, board_id, {msid: changes[msid] for msid in msids[middle:]})
    return {**first, **second}
