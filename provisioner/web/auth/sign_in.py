"""Signing in and out."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.runtime.audit import record
from provisioner.web import request_bodies
from provisioner.web.auth.access import (
    COOKIE,
    LASTS,
    SignedIn,
    Visitor,
    check_form,
    check_token,
    keep,
    new_session,
    safe_place,
)
from provisioner.web.problems import ProblemError
from provisioner.web.rendering import render
from provisioner.web.web_context import Deployed, OnSite, Site

router = APIRouter()


async def _form(request: Request, site: Site, place: str, status: int = 200, fault: str | None = None) -> Response:
    key, _ = await site.access.key()
    session, cookie = new_session(key, None)
    response = render(request, "sign_in.html", status, csrf=session.csrf, place=place, fault=fault)
    keep(request, response, cookie, session.expires - int(time.time()))
    return response


@router.get("/sign-in")
async def sign_in_form(request: Request, site: OnSite, session: Visitor) -> Response:
    """The form."""
    place = safe_place(request.query_params.get("next", "/"))
    if session is not None and session.user is not None:
        return RedirectResponse(place, 303)
    return await _form(request, site, place)


@router.post("/sign-in")
async def sign_in(request: Request, site: OnSite, dep: Deployed, session: Visitor) -> Response:
    """Takes a token, and hands out a session."""
    fields = dict(await request_bodies.form(request))
    place = safe_place(fields.get("next", "/"))
    if session is None:
        return await _form(request, site, place, 403, "This form was too old. Please try again.")
    check_form(request, session, fields.get("csrf", ""))
    try:
        user = await check_token(site, request, fields.get("token", "").strip())
    except ProblemError as exc:
        response = await _form(request, site, place, exc.status, exc.detail)
        response.headers.update({name: text for name, text in exc.headers.items() if name == "Retry-After"})
        return response
    if request.client:
        await site.access.right(request.client.host)
    await record(dep.audit, f"web:{user.name}", "signed in", facts={})
    key, _ = await site.access.key()
    _, cookie = new_session(key, user)
    response = RedirectResponse(place, 303)
    keep(request, response, cookie, LASTS)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, site: OnSite, dep: Deployed, session: SignedIn) -> Response:
    """Ends the session everywhere."""
    check_form(request, session, dict(await request_bodies.form(request)).get("csrf", ""))
    assert session.user is not None  # noqa: S101 - `SignedIn` saw to it
    await site.access.end_session(session.id, session.expires - int(time.time()))
    await record(dep.audit, f"web:{session.user.name}", "signed out", facts={})
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
