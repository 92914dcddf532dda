"""A run's part together with the run that planned its overtaken people again: one set of figures that adds up.

What was overtaken counts as waiting until it is planned again, and from then on as whatever becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisioner.model.operation import Kind, Status

#: Kinds that change an account which is linked already.
_CHANGING: Final = (Kind.UPDATE, Kind.ROLE, Kind.LEAVE, Kind.REJOIN)
#: Stages in which a part has no plan yet.
UNPLANNED: Final = frozenset({"", "queued", "planning"})


def awaits(fields: Mapping[str, str]) -> bool:
    """Whether people of this part still are to be planned again; `fields` as `with_follow` left them."""
    return fields.get("awaits") == "1"


def with_follow(own: Mapping[str, str], follow: Mapping[str, str] | None) -> dict[str, str]:
    """The raw fields of a part, with those of the part that plans its overtaken people again (None: not asked yet)."""
    if not int(own.get("again", 0)) and follow is None:
        return dict(own)
    fields = dict(own)
    planned = follow is not None and follow.get("stage", "") not in UNPLANNED
    if follow is None or not planned or awaits(follow):
        fields["awaits"] = "1"
    unchanged = _number(own, "unchanged")
    for kind in Kind:
        count = _number(own, f"overtaken:{kind}")
        _add(fields, f"n:{Status.SUPERSEDED}:{kind}", -count)
        if not planned or follow is None:
            _add(fields, f"n:{Status.WAITING}:{kind}", count)
            continue
        _add(fields, f"why:overtaken:{kind}", -count)
        _add(fields, f"planned:{kind}", _number(follow, f"planned:{kind}") - count)
        for status in Status:
            _add(fields, f"n:{status}:{kind}", _number(follow, f"n:{status}:{kind}"))
        for name in ("overtaken", "newer_plan", "no_longer_leaving"):
            _add(fields, f"why:{name}:{kind}", _number(follow, f"why:{name}:{kind}"))
        if kind in _CHANGING:
            unchanged += count - _number(follow, f"planned:{kind}")
    if planned and follow is not None:
        unchanged -= _number(follow, "todo") + _number(follow, "conflicts")
        for name in ("todo", "conflicts", "requests", "leavers_left", "left_out"):
            _add(fields, name, _number(follow, name))
        # Those whose account came about meanwhile are linked now
        _add(fields, "linked", max(0, -unchanged))
        fields["unchanged"] = str(max(0, unchanged))
        for name in ("error", "outcome", "fault", "guards"):
            if follow.get(name) not in (None, "", "[]"):
                fields[name] = follow[name]
        if follow.get("stage") in ("refused", "skipped"):
            fields["stage"] = follow["stage"]
    return fields


def _number(fields: Mapping[str, str], name: str) -> int:
    return int(fields.get(name) or 0)


def _add(fields: dict[str, str], name: str, count: int) -> None:
    if count:
        fields[name] = str(_number(fields, name) + count)
