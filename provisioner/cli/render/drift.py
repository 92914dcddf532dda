"""What `drift` says: what changed in each target since we last wrote it, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.console import Console

from provisioner.cli.render.output import cells, local, plain, table

_THEN: Final = {"correct": "is corrected", "held": "is held", "report": "is only reported", "leave": "is left alone"}


def changes(out: Console, rows: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> None:
    """Tell the list, as `lists` has it."""
    if not rows:
        out.print("No drift when the targets were last read. What was changed there since, the next run lists.")
        return
    shown = table(
        "target", "person", "attribute", "we wrote", "there now", "roster wants", "what becomes of it", "since"
    )
    for row in rows:
        for one in _parts(row):
            said = _THEN.get(one["then"], "")
            if one["because"]:
                said = f"{said}: {one['because']}"
            shown.add_row(
                *cells(
                    row["target"],
                    row["person"],
                    one["attribute"],
                    _value(one["written"]),
                    _value(one["observed"]),
                    _value(one["wanted"]),
                    said,
                    local(one["first_seen"], zone),
                )
            )
    out.print(shown)
    last = max((row.get("last_seen") or "" for row in rows), default="")
    seen = f" Last seen {local(last, zone)}." if last else ""
    out.print(plain(f"{len(rows)} in all.{seen}"))


def _parts(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A row's attributes; a single row where the account is gone, or nothing is known of them."""
    attributes = row.get("attributes")
    if attributes:
        yield from attributes
        return
    yield {
        "attribute": row["message"],
        **dict.fromkeys(("written", "observed", "wanted"), ""),
        **{name: row.get(name) for name in ("then", "because", "first_seen")},
    }


def _value(value: Any) -> str:
    return "(empty)" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
