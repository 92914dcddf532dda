"""Fields of runs and operations in Redis as the documents that they are read as. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, cast

from provisioner.model.operation import Kind
from provisioner.model.operation_document import FailedTry, OperationDocument, StatusName
from provisioner.model.run_document import PartStatus, RunPart
from provisioner.model.wording import counted
from provisioner.store.runs.counters import counts, differences, guard_sentences

_Told: TypeAlias = Literal["error", "notes", "blocked"]
_AS_JSON: Final[tuple[_Told, ...]] = ("error", "notes", "blocked")


def moment(seconds: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC, with a Z."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def target_document(fields: Mapping[str, str]) -> RunPart:
    """A run's part for one target as its JSON."""
    status = cast("PartStatus", fields.get("status", "running"))
    document: RunPart = {
        "status": status,
        "observed": int(fields.get("observed", 0)),
        "linked": int(fields.get("linked", 0)),
        "adopted": int(fields.get("adopted", 0)),
        "orphans": int(fields.get("orphans", 0)),
        "conflicts": int(fields.get("conflicts", 0)),
        "todo": int(fields.get("todo", 0)),
        "unchanged": int(fields.get("unchanged", 0)),
        "planned": {kind.value: int(fields.get(f"planned:{kind.value}", 0)) for kind in Kind},
        "succeeded": counts(fields, "succeeded"),
        "failed": counts(fields, "failed"),
        "held": counts(fields, "held"),
        "waiting": counts(fields, "waiting"),
        "superseded": counts(fields, "superseded"),
        "rejected": counts(fields, "rejected"),
        "requests": int(fields.get("requests", 0)),
    }
    if fields.get("fault") or status in ("quarantined", "unreachable", "paused"):
        # What was still to be sent waits for the target with the rest
        for kind, count in [*counts(fields, "pending").items(), *counts(fields, "sending").items()]:
            document["waiting"][kind] = document["waiting"].get(kind, 0) + count
    if int(fields.get("leavers_left") or 0):
        document["leavers_left"] = int(fields["leavers_left"])
    if int(fields.get("left_out") or 0):
        document["left_out"] = int(fields["left_out"])
    if fields.get("fault"):
        document["error"] = json.loads(fields["fault"])
    for name in _AS_JSON:
        if text := fields.get(name):
            document[name] = json.loads(text)
    if remarked := int(fields.get("remarked") or 0):
        document["notes"] = [*document.get("notes", []), _remarked(remarked)]
    if "guards" in fields:
        document["guards"] = guard_sentences(fields)
    if fields.get("predicted"):
        document["predicted"] = json.loads(fields["predicted"])
        document["actual"] = {"operations": counts(fields, "succeeded"), "requests": document["requests"]}
        document["differences"] = differences(fields, document["predicted"]["operations"])
    return document


def _remarked(count: int) -> str:
    changes = counted(count, "change was done with a remark", "changes were done with a remark")
    return f"{changes}: see `provisioner show RUN --operations`."


def operation_document(row: Mapping[str, str]) -> OperationDocument | None:
    """An operation as its JSON, from its fields in Redis; None if it is no longer kept, or was never installed."""
    if "doc" not in row or "status" not in row:
        return None
    doc = json.loads(row["doc"])
    doc |= json.loads(row.get("shown") or "{}")
    error = json.loads(row["error"]) if row.get("error") else None
    if error is None and row.get("status") == "held" and doc.get("hold"):
        error = {"code": "held", "message": doc["hold"]}
    tries = [{**one, "at": moment(one["at"])} for one in json.loads(row.get("tries") or "[]")]
    document: OperationDocument = {
        "id": doc["id"],
        "target": doc["target"],
        "person": doc["person"],
        "kind": doc["kind"],
        "account": row.get("account") or doc.get("account"),
        "before": doc["before"],
        "after": doc["after"],
        "drift": bool(doc.get("drift")),
        "status": cast("StatusName", row["status"]),
        "attempts": int(row.get("attempts") or 0),
        "tries": cast("list[FailedTry]", tries),
        "error": error,
        "reason": doc.get("reason", ""),
        "changed_at": moment(float(row["changed"])) if row.get("changed") else None,
    }
    if row.get("note"):
        document["note"] = row["note"]
    return document
