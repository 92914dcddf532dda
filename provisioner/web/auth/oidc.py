"""Signing in by OpenID Connect: to the provider, and back with a code.

What has to be known when the browser comes back is in a signed cookie of its own, which other sites may lead back to;
nonce and verifier are made from its state and our key, so no browser and no Redis holds them.
"""

from __future__ import annotations

import hmac
import secrets
import time
from typing import Final
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from provisioner.logs import get_logger
from provisioner.runtime.audit import record
from provisioner.store.admin.web_sessions import SignedInBy
from provisioner.web.auth.access import (
    LASTS,
    address_of_page,
    keep,
    mark_of,
    new_session,
    provider_user,
    safe_place,
    sign,
)
from provisioner.web.auth.provider import Identified, Provider, ProviderError, error_code
from provisioner.web.auth.sign_in import provider_of, sign_in_page
from provisioner.web.problems import ProblemError
from provisioner.web.web_context import Deployed, OnSite

log = get_logger(__name__)
router = APIRouter()

BEGIN: Final = "/sign-in/oidc"
#: What the provider has to know as redirect URI, after the address of the page.
CALLBACK: Final = "/sign-in/oidc/callback"
#: Seconds that somebody has at the provider, second factors included.
_WITHIN: Final = 900
#: Characters of a place to lead to afterwards, and of what comes back.
_LONGEST_PLACE: Final = 1000
_LONGEST_STATE, _LONGEST_CODE = 64, 4096


@router.get(BEGIN)
async def begin(request: Request, site: OnSite) -> Response:
    """Sends the browser to the provider."""
    provider = _provider(request)
    place = safe_place(request.query_params.get("next", "/"))
    place = place if len(place) <= _LONGEST_PLACE else "/"
    key = await site.access.key()
    state = secrets.token_urlsafe(24)
    try:
        leads_to = await provider.authorization(
            f"{address_of_page(request)}{CALLBACK}",
            state=state,
            nonce=_nonce(key, state),
            verifier=_verifier(key, state),
        )
    except ProviderError as exc:
        return await _refused(request, place, exc)
    response = RedirectResponse(leads_to, 303)
    response.set_cookie(
        _cookie(state),
        _flow(key, state, place),
        max_age=_WITHIN,
        path=BEGIN,
        httponly=True,
        # The provider's page leads here, so a strict one would not come along
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.get(CALLBACK)
async def callback(request: Request, site: OnSite, dep: Deployed) -> Response:
    """Takes what the provider sends back with the browser, and hands out a session."""
    provider, query = _provider(request), request.query_params
    key = await site.access.key()
    state = query.get("state", "")[:_LONGEST_STATE]
    place = _place(key, state, request.cookies.get(_cookie(state), ""))
    if place is None or not await site.access.take_answer(state):
        minutes = _WITHIN // 60
        sentence = f"This sign-in did not begin in this browser, took more than {minutes} minutes, or is over already."
        return await _refused(request, "/", ProviderError(sentence, away=False), state)
    try:
        if "error" in query:
            raise ProviderError(f"The provider refused the sign-in ({error_code(query['error'])}).", away=False)
        code = query.get("code", "")
        if not 0 < len(code) <= _LONGEST_CODE:
            raise ProviderError("The provider sent no code.", away=False)
        who = await provider.identify(
            code,
            f"{address_of_page(request)}{CALLBACK}",
            nonce=_nonce(key, state),
            verifier=_verifier(key, state),
            issuer=query.get("iss"),
        )
    except ProviderError as exc:
        return await _refused(request, place, exc, state)
    settings = provider.settings
    role = settings.roles.role_of(who.values or frozenset())
    if role is None:
        raise _no_role(provider, who, state)
    user = provider_user(settings, who.subject, role)
    # Another session than any that this browser had before
    session, cookie = new_session(key, user)
    by = SignedInBy(who.subject, role, mark_of(settings), who.id_token)
    await site.access.begin_session(session.id, by, session.expires - int(time.time()))
    await record(dep.audit, f"web:{user.name}", "signed in", facts={})
    response = RedirectResponse(place, 303)
    keep(request, response, cookie, LASTS)
    _forget(response, state)
    return response


def _provider(request: Request) -> Provider:
    found = provider_of(request)
    assert found is not None  # noqa: S101 - these paths are served with a provider only
    return found


async def _refused(request: Request, place: str, exc: ProviderError, state: str | None = None) -> Response:
    """The sign-in page with what went wrong."""
    log.warning("sign_in_failed", reason=str(exc))
    response = await sign_in_page(request, place, 503 if exc.away else 400, provider_fault=str(exc))
    if state is not None:
        _forget(response, state)
    return response


def _no_role(provider: Provider, who: Identified, state: str) -> ProblemError:
    claim = provider.settings.roles.claim
    log.warning("sign_in_without_role", claim=claim, sent=who.values is not None)
    found = (
        f"no value of its claim {claim} gives a role here" if who.values else f"it sent no value in the claim {claim}"
    )
    return ProblemError(
        403,
        f"{provider.host} knows you, but {found}.",
        code="forbidden",
        remedy="Ask whoever runs this page for a role (web.oidc.roles of the settings), then sign in again.",
        headers={"Set-Cookie": f"{_cookie(state)}=; Max-Age=0; Path={BEGIN}; HttpOnly; SameSite=lax"},
    )


def _nonce(key: bytes, state: str) -> str:
    return sign(key, "oidc nonce", state)


def _verifier(key: bytes, state: str) -> str:
    return sign(key, "oidc verifier", state)


def _cookie(state: str) -> str:
    """The name of a sign-in's cookie: each has its own, so that two windows do not disturb each other."""
    tail = "".join(filter(str.isalnum, state[:12])) if state.isascii() else ""
    return f"provisioner_oidc_{tail}"


def _flow(key: bytes, state: str, place: str) -> str:
    text = f"{int(time.time()) + _WITHIN}.{quote(place, safe='')}"
    return f"{text}.{sign(key, 'oidc flow', f'{state}.{text}')}"


def _place(key: bytes, state: str, cookie: str) -> str | None:
    """Where to lead to after a sign-in that this browser began; None: it did not, or too long ago."""
    text, _, signature = cookie.rpartition(".")
    if not text or not hmac.compare_digest(
        sign(key, "oidc flow", f"{state}.{text}").encode(), signature.encode(errors="replace")
    ):
        return None
    expires, _, place = text.partition(".")
    return safe_place(unquote(place)) if int(expires) >= time.time() else None


def _forget(response: Response, state: str) -> None:
    response.delete_cookie(_cookie(state), path=BEGIN, httponly=True, samesite="lax")
