"""The page of what a run holds: one row a person over all targets, a filter, and the decision about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from provisioner.admin import decisions
from provisioner.admin.decisions import Choice, Decided, Verdict, decide_about
from provisioner.admin.held import HeldFilter, fingerprint, held_people, operations_of
from provisioner.errors import UsageError
from provisioner.model.held_document import HeldDocument, HeldPerson
from provisioner.model.operation_document import RunOperation
from provisioner.model.run_document import KINDS, RunDocument
from provisioner.runtime.context import Deployment
from provisioner.web.auth.access import Acting, SignedIn
from provisioner.web.pages.forms import Fields, every, fields_of, first, sent_by
from provisioner.web.problems import ProblemError, unusable
from provisioner.web.rendering import render
from provisioner.web.run_requests import known_run
from provisioner.web.web_context import Deployed, OnSite, Site

router = APIRouter()
#: People whom one page lists.
PEOPLE_SHOWN: Final = 100
_LONGEST_REASON: Final = 2000
_LONGEST_FILTER: Final = 200
_VERDICTS: Final[dict[str, Verdict]] = {"approve": "approved", "reject": "rejected"}
#: What a button that decides about all whom the filter lets pass says after its verdict.
_THESE: Final = "_these"


@router.get("/runs/{run}/approval")
async def approval(request: Request, run: str, session: SignedIn, dep: Deployed) -> Response:
    """Who would be affected, before → after; to choose from."""
    del session
    document = await known_run(dep.runs, run)
    query = request.query_params
    return await _listed(request, dep, run, document, _filter(document, query.get("target", ""), query.get("kind", "")))


@router.post("/runs/{run}/held")
async def filtered(request: Request, run: str, session: SignedIn, dep: Deployed) -> Response:
    """The same, filtered. By POST, so that no address has a name or an email in it."""
    fields = await fields_of(request, session)
    document = await known_run(dep.runs, run)
    text = first(fields, "offset")
    offset = int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0
    return await _listed(request, dep, run, document, _filter_in(document, fields), offset)


async def _listed(
    request: Request, dep: Deployment, run: str, document: RunDocument, wanted: HeldFilter, offset: int = 0
) -> Response:
    found = await held_people(dep, run, document, wanted)
    offset = offset if offset < len(found["people"]) else 0
    end = offset + PEOPLE_SHOWN
    return render(
        request,
        "approval.html",
        run=document,
        held=found,
        wanted=wanted,
        people=found["people"][offset:end],
        columns=_columns(found["people"][offset:end], found),
        offset=offset,
        next=end if end < len(found["people"]) else None,
        before=max(0, offset - PEOPLE_SHOWN) if offset else None,
    )


def _columns(people: Sequence[HeldPerson], held: HeldDocument) -> list[str]:
    """The targets in which somebody listed has something that is held."""
    return [one["target"] for one in held["targets"] if any(one["target"] in person["operations"] for person in people)]


def _filter(document: RunDocument, target: str, kind: str, text: str = "") -> HeldFilter:
    return HeldFilter(
        target if target in document["targets"] else "", kind if kind in KINDS else "", text.strip()[:_LONGEST_FILTER]
    )


def _filter_in(document: RunDocument, fields: Fields) -> HeldFilter:
    return _filter(document, first(fields, "target"), first(fields, "kind"), first(fields, "text"))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a form means: people with those of their held operations that the filter lets pass, and whole targets."""

    people: list[HeldPerson]
    whole: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many operations."""
        return len(operations_of(self.people)) + sum(self.whole.values())

    @property
    def confirmed(self) -> str:
        """What has to come back with the confirmation."""
        return fingerprint(operations_of(self.people), self.whole)


def _chosen(fields: Fields, held: HeldDocument, *, these: bool) -> _Chosen:
    named, asked = set(every(fields, "who")), set(every(fields, "all"))
    whole = {one["target"]: one["count"] for one in held["targets"] if one["target"] in asked}
    people: list[HeldPerson] = []
    for one in held["people"]:
        if these or one["person"] in named:
            rest = {target: rows for target, rows in one["operations"].items() if target not in whole}
            if rest:
                people.append({**one, "operations": rest})
    return _Chosen(people, whole)


@router.post("/runs/{run}/approval")
async def decide(request: Request, run: str, session: Acting, site: OnSite, dep: Deployed) -> Response:
    """Approve or reject: what was chosen is shown once more, and done when that is confirmed."""
    fields = await fields_of(request, session)
    document = await known_run(dep.runs, run)
    asked, reason = first(fields, "act"), first(fields, "reason").strip()[:_LONGEST_REASON]
    act, these = asked.removesuffix(_THESE), asked.endswith(_THESE)
    if act not in _VERDICTS:
        raise unusable("Say whether to approve or to reject.", "Go back, and use one of the buttons.")
    wanted = _filter_in(document, fields)
    held = await held_people(dep, run, document, wanted)
    chosen = _chosen(fields, held, these=these)
    if not chosen.count:
        raise ProblemError(
            409, "Nothing that is held was chosen.", code="nothing_chosen", remedy="Go back, and tick somebody."
        )
    if first(fields, "confirmed") != chosen.confirmed:
        shown = chosen.people[:PEOPLE_SHOWN]
        return render(
            request,
            "confirm.html",
            run=document,
            act=act,
            asked=asked,
            reason=reason,
            wanted=wanted,
            who=[] if these else [one["person"] for one in chosen.people],
            whole=chosen.whole,
            count=chosen.count,
            confirmed=chosen.confirmed,
            people=shown,
            more=len(chosen.people) - len(shown),
            columns=_columns(shown, held),
            changed=bool(first(fields, "confirmed")),
        )
    decided = await _decide(site, dep, run, _VERDICTS[act], chosen, by=sent_by(session), reason=reason)
    if not decided.done:
        why = "; ".join(sorted({one.reason for one in decided.refused}))
        raise ProblemError(409, f"Nothing could be {_VERDICTS[act]}: {why}.", code="nothing_done")
    return render(request, "decided.html", run=document, act=_VERDICTS[act], decided=decided)


async def _decide(
    site: Site, dep: Deployment, run: str, verdict: Verdict, chosen: _Chosen, *, by: str, reason: str
) -> Decided:
    """Carry a decision out in each target; of people exactly the operations that were confirmed."""
    ids: dict[str, set[str]] = {}
    for row in operations_of(chosen.people):
        ids.setdefault(row["target"], set()).add(row["id"])
    choices = [Choice(target) for target in chosen.whole]
    choices += [Choice(target, ids=frozenset(some)) for target, some in ids.items()]
    done: list[RunOperation] = []
    refused: list[decisions.Refused] = []
    for choice in choices:
        try:
            part = await decide_about(dep, run, verdict, choice, by=by, reason=reason)
        except UsageError as exc:
            raise ProblemError(409, str(exc), code="nothing_done") from exc
        done += part.done
        refused += part.refused
    decided = Decided(tuple(done), tuple(refused))
    if verdict != "rejected":
        await site.nudge_targets(decided.targets)
    return decided
