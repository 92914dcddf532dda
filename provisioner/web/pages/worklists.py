"""The pages of what a person looks after: orphans, drift, to-dos, rejected rows, settings, the audit trail."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from provisioner.admin.worklists import NOTHING, lists, table_rows, to_do
from provisioner.model.run_document import RejectedRow
from provisioner.model.worklists import TableRow, WorklistRow
from provisioner.settings import Settings
from provisioner.store.people.snapshots import FrameStore
from provisioner.web.auth.access import SignedIn
from provisioner.web.pages.settings_view import shown
from provisioner.web.rendering import render
from provisioner.web.run_requests import known_run
from provisioner.web.web_context import Deployed

router = APIRouter()
_PAGE: Final = 100
_TO_DO: Final = ("to do",)
#: A cell that a spreadsheet would take for a formula is kept from being one.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def offset_of(request: Request) -> int:
    """How many rows of a list come before those that are asked for; what is no number is none."""
    text = request.query_params.get("offset", "0")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0


async def labels_of(frames: FrameStore, settings: Settings, people: Iterable[str]) -> dict[str, str]:
    """How `roster.label` shows people, by key."""
    return await frames.labels(set(people)) if settings.roster.label is not None else {}


async def _page(request: Request, dep: Any, template: str, names: tuple[str, ...], **context: Any) -> Response:
    targets = tuple(name for name in dep.settings.targets if request.query_params.get("target") in (None, "", name))
    rows: Sequence[TableRow | WorklistRow]
    if names == _TO_DO:
        rows = table_rows(await to_do(dep, targets))
    else:
        rows = [row for name in names for row in await lists(dep, name, targets)]
    offset = offset_of(request)
    page = rows[offset : offset + _PAGE]
    return render(
        request,
        template,
        rows=page,
        labels=await labels_of(dep.frames, dep.settings, (person for row in page if (person := row.get("person")))),
        total_rows=len(rows),
        offset=offset,
        next=offset + _PAGE if offset + _PAGE < len(rows) else None,
        before=max(0, offset - _PAGE) if offset else None,
        targets=list(dep.settings.targets),
        target=request.query_params.get("target", ""),
        **context,
    )


@router.get("/orphans")
async def orphans(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """Accounts that belong to nobody on the roster."""
    del session
    return await _page(
        request,
        dep,
        "list.html",
        ("orphans",),
        title="Orphans",
        lead="Accounts that belong to nobody on the roster. They are never touched; close them in the target, "
        "or give their person a row.",
        nothing="No orphans: every account has a person.",
    )


@router.get("/drift")
async def drift(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """Accounts that were changed behind our back."""
    del session
    return await _page(
        request,
        dep,
        "drift.html",
        ("drift",),
        title="Drift",
        lead="What somebody changed in a target since we last wrote it, as the newest run about everybody saw it, and "
        "what becomes of it.",
        nothing="No drift when the targets were last read. What was changed there since, the next run lists.",
    )


@router.get("/todos")
async def todos(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """What only a person can settle."""
    del session
    return await _page(
        request,
        dep,
        "list.html",
        _TO_DO,
        title="To-dos",
        lead="What only a person can settle: leavers who still have an account, rejections that hold good, conflicts "
        "between people and accounts, and what we may not change. Who vanished from the roster is listed, too.",
        nothing=NOTHING,
    )


@router.get("/rejected")
async def rejected(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """The rows of a roster that were not believed; of the newest one, unless a run is named."""
    del session
    run, rows = request.query_params.get("run", ""), []
    if run:
        await known_run(dep.runs, run)
        rows = await dep.runs.rejects(run)
    else:
        for one in await dep.runs.recent(20):
            if await dep.runs.get(one, "roster"):
                run, rows = one, await dep.runs.rejects(one)
                break
    if request.query_params.get("form") == "csv":
        return Response(
            _csv(rows),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="rejected-{run or "none"}.csv"'},
        )
    labels = await labels_of(dep.frames, dep.settings, (key for row in rows[:500] if (key := row["key"])))
    return render(request, "rejected.html", run=run, rows=rows[:500], total_rows=len(rows), labels=labels)


def _csv(rows: list[RejectedRow]) -> str:
    columns: tuple[Literal["line", "key", "column", "value", "reason"], ...]
    columns = ("line", "key", "column", "value", "reason")
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        cells = ["" if row.get(name) is None else str(row[name]) for name in columns]
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return buffer.getvalue()


@router.get("/settings")
async def settings(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """All settings; secrets stay hidden."""
    del session
    return render(request, "settings.html", groups=shown(dep.settings))


@router.get("/audit")
async def trail(request: Request, session: SignedIn, dep: Deployed) -> Response:
    """What people did, the newest first."""
    del session
    before = request.query_params.get("before", "")
    known = before.replace("-", "", 1)
    rows = await dep.audit.newest(
        _PAGE + 1, before if known.isascii() and known.isdecimal() and len(known) < 30 else None
    )
    return render(request, "audit.html", rows=rows[:_PAGE], older=rows[_PAGE - 1]["id"] if len(rows) > _PAGE else None)
