"""Signing in and out."""

from __future__ import annotations

import time
from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.logs import get_logger
from provisioner.runtime.audit import record
from provisioner.web import request_bodies
from provisioner.web.auth.access import (
    COOKIE,
    LASTS,
    SignedIn,
    Visitor,
    address_of_page,
    check_form,
    check_token,
    keep,
    new_session,
    safe_place,
    users_of,
)
from provisioner.web.auth.provider import Provider, ProviderError
from provisioner.web.problems import ProblemError
from provisioner.web.rendering import render
from provisioner.web.web_context import Deployed, OnSite, site_of

log = get_logger(__name__)
router = APIRouter()


def provider_of(request: Request) -> Provider | None:
    """The OpenID provider by which people may sign in, if there is one."""
    return cast("Provider | None", request.app.state.provider)


async def sign_in_page(
    request: Request, place: str, status: int = 200, *, fault: str | None = None, provider_fault: str | None = None
) -> Response:
    """The form for a token, and the way to the provider.

    Args:
        place: where to lead to afterwards.
        fault: what was wrong with a token.
        provider_fault: why the provider did not sign somebody in.
    """
    site, provider = site_of(request), provider_of(request)
    session, cookie = new_session(await site.access.key(), None)
    response = render(
        request,
        "sign_in.html",
        status,
        csrf=session.csrf,
        place=place,
        fault=fault,
        provider=provider.host if provider else None,
        provider_fault=provider_fault,
        tokens=bool(users_of(site.settings)),
    )
    keep(request, response, cookie, session.expires - int(time.time()))
    return response


@router.get("/sign-in")
async def sign_in_form(request: Request, session: Visitor) -> Response:
    """The form."""
    place = safe_place(request.query_params.get("next", "/"))
    if session is not None and session.user is not None:
        return RedirectResponse(place, 303)
    if session is None and request.headers.get("sec-fetch-site") == "cross-site":
        # The browser keeps a session back where another site led here; a page of ours leads here with it
        return render(request, "onwards.html", place=place)
    return await sign_in_page(request, place)


@router.post("/sign-in")
async def sign_in(request: Request, site: OnSite, dep: Deployed, session: Visitor) -> Response:
    """Takes a token, and hands out a session."""
    fields = dict(await request_bodies.form(request))
    place = safe_place(fields.get("next", "/"))
    if session is None:
        return await sign_in_page(request, place, 403, fault="This form was too old. Please try again.")
    check_form(request, session, fields.get("csrf", ""))
    try:
        user = await check_token(site, request, fields.get("token", "").strip())
    except ProblemError as exc:
        response = await sign_in_page(request, place, exc.status, fault=exc.detail)
        response.headers.update({name: text for name, text in exc.headers.items() if name == "Retry-After"})
        return response
    if request.client:
        await site.access.right(request.client.host)
    await record(dep.audit, f"web:{user.name}", "signed in", facts={})
    _, cookie = new_session(await site.access.key(), user)
    response = RedirectResponse(place, 303)
    keep(request, response, cookie, LASTS)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, site: OnSite, dep: Deployed, session: SignedIn) -> Response:
    """Ends the session everywhere."""
    check_form(request, session, dict(await request_bodies.form(request)).get("csrf", ""))
    assert session.user is not None  # noqa: S101 - `SignedIn` saw to it
    by = (await site.access.session(session.id)).by
    await site.access.end_session(session.id, session.expires - int(time.time()))
    await record(dep.audit, f"web:{session.user.name}", "signed out", facts={})
    provider = provider_of(request)
    response: Response = RedirectResponse("/sign-in", 303)
    if provider is not None and by is not None:
        response = await _signed_out(request, provider, by.id_token, response)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


async def _signed_out(request: Request, provider: Provider, id_token: str, otherwise: Response) -> Response:
    """A page that leads on to the end of the provider's session, which no redirect of a form may do."""
    request.state.session = None
    try:
        leads_to = await provider.end_session(id_token, f"{address_of_page(request)}/sign-in")
    except ProviderError as exc:
        log.warning("sign_out_not_passed_on", reason=str(exc))
        return render(request, "signed_out.html", provider=provider.host, leads_to=None)
    if leads_to is None:
        return otherwise
    return render(request, "signed_out.html", provider=provider.host, leads_to=leads_to)
