"""Who asks: tokens for programs, signed sessions for people, and what their role lets them do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import Response

from provisioner.errors import StoreError
from provisioner.settings import UNGUESSABLE, OidcSettings, Settings
from provisioner.store.admin.web_sessions import Known
from provisioner.web.problems import ProblemError
from provisioner.web.web_context import Site, site_of

Role = Literal["viewer", "operator"]

COOKIE: Final = "provisioner_session"
#: Seconds that a session lasts.
LASTS: Final = 12 * 3600
#: Seconds in which a sign-in form can be sent.
_FORM_LASTS: Final = 3600
#: What the operator of `web.token` is called.
_OPERATOR: Final = "operator"
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="provisioner"'}


@dataclass(frozen=True, slots=True)
class User:
    """Someone with a token, or whom the OpenID provider knows. `mark` says by what, for the time of a session."""

    name: str
    role: Role
    mark: str

    @property
    def acts(self) -> bool:
        """Whether they may do more than look."""
        return self.role == "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """A visit with a browser: `user` None before they signed in. `id` names it, `csrf` proves that a form is ours."""

    id: str
    expires: int
    csrf: str
    user: User | None = None


def users_of(settings: Settings) -> list[tuple[bytes, User]]:
    """Everybody who has a token, by its digest."""
    if not settings.web.has_page:
        return []
    own = settings.web.token
    known = [] if own is None else [(own.get_secret_value(), _OPERATOR, "operator")]
    known += [(user.token.get_secret_value(), user.name, user.role) for user in settings.web.users]
    found: list[tuple[bytes, User]] = []
    for token, name, role in known:
        digest = hashlib.sha256(token.encode()).digest()
        found.append((digest, User(name, "operator" if role == "operator" else "viewer", digest.hex()[:16])))
    return found


def user_of_token(settings: Settings, token: str) -> User | None:
    """Whose token it is; takes equally long for all."""
    digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
    found = None
    for other, user in users_of(settings):
        if hmac.compare_digest(digest, other) and found is None:
            found = user
    return found


async def check_token(site: Site, request: Request, token: str) -> User:
    """Whose token it is. A right one is taken at any time, unless it is so short that it could be guessed.

    Raises:
        ProblemError: 401 nobody's, 429 this address tried too many wrong ones.
    """
    address = request.client.host if request.client else ""
    user = user_of_token(site.settings, token)
    if user is not None and len(token) >= UNGUESSABLE:
        # Nobody finds it by trying, so the tries of others at the same address must not keep its owner out
        return user
    wait = await site.access.wait(address)
    if wait:
        raise _too_many(wait)
    if user is None:
        await site.access.wrong(address)
        raise ProblemError(
            401,
            "This token opens nothing here.",
            code="unauthorised",
            remedy="Use web.token of the settings, or the token of one of web.users.",
            headers=_CHALLENGE,
        )
    return user


def _too_many(wait: int) -> ProblemError:
    return ProblemError(
        429,
        f"Too many wrong tokens came from this address; it has to wait for {wait} s.",
        code="too_many_tries",
        remedy=f"Use the right token: one of {UNGUESSABLE} characters or more is taken at once. A shorter one has to "
        "wait as well.",
        headers={"Retry-After": str(wait)},
    )


async def bearer(request: Request, site: Annotated[Site, Depends(site_of)]) -> User:
    """The program that asks, by its token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ProblemError(
            401,
            "This needs a token.",
            code="unauthorised",
            remedy="Send it in the header `Authorization: Bearer <token>`.",
            headers=_CHALLENGE,
        )
    return await check_token(site, request, token.strip())


async def acting_bearer(user: Annotated[User, Depends(bearer)]) -> User:
    """The same, where looking is not enough."""
    return _may_act(user)


def _may_act(user: User) -> User:
    if not user.acts:
        raise ProblemError(
            403,
            f"{user.name} may look, but not act.",
            code="forbidden",
            remedy="Ask an operator, or for that role in web.users or web.oidc.roles.",
        )
    return user


Reader = Annotated[User, Depends(bearer)]
Actor = Annotated[User, Depends(acting_bearer)]


def sign(key: bytes, purpose: str, text: str) -> str:
    """What only who knows the key can make of a text, for one purpose: 64 hexadecimal digits."""
    return hmac.new(key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def mark_of(oidc: OidcSettings) -> str:
    """A digest of what decides on who is who by the provider: if it changes, everybody signs in once more."""
    decides = oidc.model_dump_json(include={"issuer", "client_id", "roles", "subject"})
    return f"oidc:{hashlib.sha256(decides.encode()).hexdigest()[:16]}"


def provider_user(oidc: OidcSettings, subject: str, role: Role) -> User:
    """Somebody whom the provider named; no user of a token is called so."""
    return User(f"oidc:{''.join(filter(str.isprintable, subject))}", role, mark_of(oidc))


def new_session(key: bytes, user: User | None) -> tuple[Session, str]:
    """A new session, and the cookie that says so."""
    lasts = LASTS if user else _FORM_LASTS
    expires = int(time.time()) + lasts
    name = secrets.token_hex(12)
    body = json.dumps({"i": name, "e": expires, "m": user.mark if user else None})
    text = base64.urlsafe_b64encode(body.encode()).decode()
    return Session(name, expires, sign(key, "form", name), user), f"{text}.{sign(key, 'session', text)}"


def read_session(settings: Settings, known: Known, cookie: str) -> Session | None:
    """The session of a cookie; None if it is forged, over, or its user has no token or role any more."""
    key = known.key
    text, _, signature = cookie.partition(".")
    if not hmac.compare_digest(sign(key, "session", text).encode(), signature.encode(errors="replace")):
        return None
    body = json.loads(base64.urlsafe_b64decode(text))
    if known.over or body["e"] < time.time():
        return None
    user = None
    if body["m"] is not None:
        by, oidc = known.by, settings.web.oidc
        if by is not None and oidc is not None and by.made_by == body["m"] == mark_of(oidc):
            user = provider_user(oidc, by.subject, "operator" if by.role == "operator" else "viewer")
        else:
            user = next((user for _, user in users_of(settings) if user.mark == body["m"]), None)
        if user is None:
            return None
    return Session(body["i"], body["e"], sign(key, "form", body["i"]), user)


def named_in(cookie: str) -> str | None:
    """The name that a cookie claims for its session, before anything of it is believed."""
    text, _, signature = cookie.partition(".")
    try:
        name = json.loads(base64.urlsafe_b64decode(text))["i"]
    except (ValueError, KeyError, TypeError):
        return None
    return name if signature and isinstance(name, str) and name.isalnum() and len(name) <= 64 else None


async def visit(request: Request, site: Annotated[Site, Depends(site_of)]) -> Session | None:
    """The session of a visitor with a browser, or None."""
    cookie = request.cookies.get(COOKIE, "")
    name = named_in(cookie)
    if name is None:
        return None
    return read_session(site.settings, await site.access.session(name), cookie)


async def recognise(request: Request) -> None:
    """Note the session of a visitor who signed in, where a page is for everybody; without Redis nobody is known."""
    try:
        session = await visit(request, site_of(request))
    except StoreError:
        return
    if session is not None and session.user is not None:
        request.state.session = session


async def signed_in(request: Request, session: Annotated[Session | None, Depends(visit)]) -> Session:
    """The session of somebody who signed in; who has not is led to the form."""
    if session is None or session.user is None:
        where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = f"/sign-in?next={quote(where)}" if request.method == "GET" and where != "/" else "/sign-in"
        raise ProblemError(
            303, "Sign in first.", code="unauthorised", headers={"Location": target, "Cache-Control": "no-store"}
        )
    request.state.session = session
    return session


async def acting(session: Annotated[Session, Depends(signed_in)]) -> Session:
    """The same, where looking is not enough."""
    assert session.user is not None  # noqa: S101 - `signed_in` saw to it
    _may_act(session.user)
    return session


Visitor = Annotated[Session | None, Depends(visit)]
SignedIn = Annotated[Session, Depends(signed_in)]
Acting = Annotated[Session, Depends(acting)]


def check_form(request: Request, session: Session, given: str) -> None:
    """Return if a form is ours.

    Raises:
        ProblemError: 403, it came from elsewhere, or is too old.
    """
    foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if foreign or not hmac.compare_digest(session.csrf.encode(), given.encode(errors="replace")):
        raise ProblemError(
            403,
            "This form did not come from this page, or it is too old. Nothing was done.",
            code="foreign_form",
            remedy="Go back, load the page again, and send it once more.",
        )


def keep(request: Request, response: Response, cookie: str, seconds: int) -> None:
    """Hand a session's cookie out; no script reads it, and no other site sends it."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def address_of_page(request: Request) -> str:
    """Where the visitor's browser reaches the page, without a path: by the settings, else by the request."""
    return site_of(request).settings.web.public_url or f"{request.url.scheme}://{request.url.netloc}"


def safe_place(text: str) -> str:
    """A place on this site that one may be led to after signing in."""
    local = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if local and not text.startswith("/sign-") else "/"
