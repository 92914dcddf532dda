"""The mapping playground: one person's row, an expression, what it gives and what it would change. Writes nothing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from provisioner.admin.playground import LONGEST, try_expression
from provisioner.errors import UsageError
from provisioner.model.trial import Trial
from provisioner.runtime.context import Deployment
from provisioner.web.auth.access import Acting
from provisioner.web.pages.forms import fields_of, first
from provisioner.web.rendering import render
from provisioner.web.web_context import Deployed

router = APIRouter()


@router.get("/playground")
async def empty(request: Request, session: Acting, dep: Deployed) -> Response:
    """Where to begin; with a person, a target and an attribute, from the settings' own expression."""
    del session
    query = request.query_params
    key, target, attribute = (query.get(name, "").strip() for name in ("key", "target", "attribute"))
    return await _shown(request, dep, key, target, attribute, None)


@router.post("/playground")
async def tried(request: Request, session: Acting, dep: Deployed) -> Response:
    """What an expression gives. By POST, so that no address has it."""
    fields = await fields_of(request, session)
    target, _, attribute = first(fields, "of").partition(" ")
    return await _shown(request, dep, first(fields, "key").strip(), target, attribute, first(fields, "sql").strip())


async def _shown(
    request: Request, dep: Deployment, key: str, target: str, attribute: str, expression: str | None
) -> Response:
    if target and not attribute:
        target = ""
    rule = dep.specs[target].settings.attributes.get(attribute) if target in dep.specs else None
    given = rule.from_ if expression is None and rule is not None else expression or ""
    trial: Trial | None = None
    fault = remedy = None
    if key:
        try:
            # A person alone shows the row to write for
            trial = await try_expression(dep, key, given or "NULL", target, attribute)
        except UsageError as exc:
            fault, remedy = exc.message, exc.remedy
    return render(
        request,
        "playground.html",
        422 if fault else 200,
        key=key,
        chosen=f"{target} {attribute}".strip(),
        sql=given,
        trial=trial,
        fault=fault,
        remedy=remedy,
        attributes=[(name, list(spec.settings.attributes)) for name, spec in dep.specs.items()],
        longest=LONGEST,
    )
