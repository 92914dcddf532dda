"""What lately changed in the shape of the vendors' answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from provisioner.model.check_result import Line
from provisioner.progress.vitals import ago
from provisioner.store.runs.answer_shapes import AnswerShapeStore

#: Seconds for which a change is shown, and how many of a target are.
_SHOWN_FOR: Final = 7 * 86_400.0
_NAMED: Final = 3


async def changed(store: AnswerShapeStore, targets: Iterable[str], now: float) -> list[Line]:
    """One line for each target whose answers changed.

    Args:
        now: epoch seconds.

    Raises:
        StoreError: Redis does not answer any more.
    """
    lines: list[Line] = []
    for target in targets:
        found = [one for one in await store.changes(target) if now - one["at"] <= _SHOWN_FOR]
        if not found:
            continue
        said = "; ".join(f"{one['endpoint']}: {one['change']} ({ago(now - one['at'])} ago)" for one in found[-_NAMED:])
        more = f", and {len(found) - _NAMED} more before" if len(found) > _NAMED else ""
        remedy = (
            f"See whether it matters: provisioner plan --target {target}. Ask the vendor, and correct the settings; "
            "`provisioner check --connect --record FILE` keeps the shapes."
        )
        lines.append(Line("answers", "warn", f"{target} answers otherwise than before: {said}{more}.", remedy))
    return lines
