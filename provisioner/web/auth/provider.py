"""The OpenID provider over HTTP: what it offers, its keys, and what it says of whoever signed in there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from provisioner.settings import OidcSettings
from provisioner.settings.place import shown
from provisioner.settings.sign_in import web_address
from provisioner.targets.http import new_client
from provisioner.web.auth.id_token import Claims, IdTokenError, UnknownKeyError, values_of, verified

#: Seconds for one request, from the first byte sent to the last one read.
_DEADLINE: Final = 10.0
#: Bytes of an answer.
_LONGEST: Final = 1024 * 1024
#: Requests under way at once, whoever asks for them.
_AT_ONCE: Final = 16
#: Seconds for which what the provider says of itself is believed, and its keys.
_OFFERED_FOR: Final = 300.0
_KEYS_FOR: Final = 3600.0
#: Seconds between two looks for newer keys: anybody may come with a token that names an unknown one.
_KEYS_AGAIN: Final = 30.0
_DISCOVERY: Final = "/.well-known/openid-configuration"


class ProviderError(Exception):
    """Nobody can be signed in by the provider; its text is a sentence for whoever wants to.

    `away`: the provider does not answer as it should, rather than refusing this sign-in.
    """

    def __init__(self, message: str, *, away: bool) -> None:
        self.away = away
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Offered:
    """What a provider says of itself: its addresses, each https or of this machine."""

    issuer: str
    authorize: str
    token: str
    keys: str
    userinfo: str | None
    end_session: str | None
    by_post: bool
    names_issuer: bool


@dataclass(frozen=True, slots=True)
class Identified:
    """Whom the provider named: who they are here, the values that decide on their role, and its proof of it.

    `values` is None where it sent no such claim.
    """

    subject: str
    values: frozenset[str] | None
    id_token: str


class Provider:
    """One OpenID provider, for one process. Nothing is asked before somebody wants to sign in."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._client: httpx.AsyncClient | None = None
        self._offered: tuple[float, Offered] | None = None
        self._keys: tuple[float, list[Any]] | None = None
        self._looking = asyncio.Lock()
        self._room = asyncio.Semaphore(_AT_ONCE)

    @property
    def host(self) -> str:
        """The provider as people know it."""
        return urlsplit(self.settings.issuer).netloc

    async def aclose(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()

    async def offered(self) -> Offered:
        """What it offers, no older than some minutes.

        Raises:
            ProviderError: it does not answer, or with something else.
        """
        async with self._looking:
            if self._offered is None or time.monotonic() - self._offered[0] > _OFFERED_FOR:
                address = self.settings.issuer.rstrip("/") + _DISCOVERY
                found = _offered(await self._json("GET", address), self.settings.issuer)
                self._offered = (time.monotonic(), found)
            return self._offered[1]

    async def authorization(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """Where to send a browser, for a code by PKCE.

        Raises:
            ProviderError: as `offered`.
        """
        offered = await self.offered()
        return str(
            prepare_grant_uri(
                offered.authorize,
                self.settings.client_id,
                "code",
                redirect_uri,
                list(self.settings.scopes),
                state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    async def identify(
        self, code: str, redirect_uri: str, *, nonce: str, verifier: str, issuer: str | None
    ) -> Identified:
        """Whom a code stands for.

        Args:
            issuer: who sent the code, if the answer says so (RFC 9207).

        Raises:
            ProviderError: it does not answer, takes the code for wrong, or sends what is not believed.
        """
        offered = await self.offered()
        if issuer != offered.issuer and (issuer is not None or offered.names_issuer):
            raise _refused("The answer came from another issuer than web.oidc.issuer")
        answer = await self._exchange(offered, code, redirect_uri, verifier)
        token, access = answer.get("id_token"), answer.get("access_token")
        access = access if isinstance(access, str) else None
        if not isinstance(token, str):
            raise _refused("It sent no ID token; the scope openid is needed")
        try:
            claims = await self._verified(offered, token, nonce, access)
        except IdTokenError as exc:
            raise _refused(f"Its ID token is not believed. {exc}") from None
        claims = await self._completed(offered, claims, access)
        subject = values_of(claims, self.settings.subject)
        if subject is None or len(subject) != 1:
            raise _refused(f"It sent no claim {self.settings.subject}, by which web.oidc.subject names people")
        values = values_of(claims, self.settings.roles.claim)
        return Identified(next(iter(subject)), values, token)

    async def end_session(self, id_token: str | None, leads_to: str) -> str | None:
        """Where to send a browser that signed out here, so that the provider ends its session as well; None: nowhere.

        Raises:
            ProviderError: as `offered`.
        """
        offered = await self.offered()
        if offered.end_session is None:
            return None
        wanted = {"client_id": self.settings.client_id, "post_logout_redirect_uri": leads_to}
        hint = {"id_token_hint": id_token} if id_token else {}
        return str(add_params_to_uri(offered.end_session, [*hint.items(), *wanted.items()]))

    async def published(self) -> int:
        """How many keys it publishes, read now.

        Raises:
            ProviderError: as `offered`.
        """
        return len(await self._read_keys(await self.offered()))

    async def _exchange(self, offered: Offered, code: str, redirect_uri: str, verifier: str) -> Mapping[str, object]:
        secret = self.settings.client_secret
        method = "none" if secret is None else "client_secret_post" if offered.by_post else "client_secret_basic"
        auth = ClientAuth(self.settings.client_id, secret.get_secret_value() if secret else "", method)
        body = prepare_token_request("authorization_code", "", redirect_uri, code=code, code_verifier=verifier)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        address, headers, body = auth.prepare("POST", offered.token, headers, body)
        return await self._json("POST", address, headers=headers, content=body)

    async def _verified(self, offered: Offered, token: str, nonce: str, access: str | None) -> Claims:
        """The claims of an ID token; newer keys are looked for once, where none that is known made it."""

        def look(keys: list[Any]) -> Claims:
            return verified(
                token,
                keys,
                issuer=offered.issuer,
                client_id=self.settings.client_id,
                nonce=nonce,
                access_token=access,
                now=int(time.time()),
            )

        read, keys = await self._known_keys(offered, _KEYS_FOR)
        try:
            return look(keys)
        except UnknownKeyError:
            again, keys = await self._known_keys(offered, _KEYS_AGAIN)
            if again == read:
                raise
            return look(keys)

    async def _known_keys(self, offered: Offered, oldest: float) -> tuple[float, list[Any]]:
        """(when they were read, the keys), read again if that is longer ago than `oldest` seconds."""
        async with self._looking:
            if self._keys is None or time.monotonic() - self._keys[0] > oldest:
                self._keys = (time.monotonic(), await self._read_keys(offered))
            return self._keys

    async def _read_keys(self, offered: Offered) -> list[Any]:
        answer = await self._json("GET", offered.keys)
        keys = answer.get("keys")
        if not isinstance(keys, list):
            raise ProviderError(f"{shown(offered.keys)} holds no keys.", away=True)
        return keys

    async def _completed(self, offered: Offered, claims: Claims, access: str | None) -> Claims:
        """The claims with those of the userinfo, where the ID token lacks what decides on the role."""
        needed = (self.settings.roles.claim, self.settings.subject)
        if offered.userinfo is None or access is None or all(values_of(claims, one) is not None for one in needed):
            return claims
        more = await self._json("GET", offered.userinfo, headers={"Authorization": f"Bearer {access}"})
        if more.get("sub") != claims["sub"]:
            raise _refused("Its userinfo is about somebody else than its ID token")
        return {**more, **claims}

    async def _json(
        self, method: str, address: str, *, headers: Mapping[str, str] | None = None, content: str | None = None
    ) -> Mapping[str, object]:
        """One request; the object that answers it."""
        if self._client is None:
            self._client = new_client()
        place = f"{self.host} ({shown(address)})"
        try:
            async with (
                self._room,
                asyncio.timeout(_DEADLINE),
                self._client.stream(method, address, headers=headers, content=content) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _LONGEST:
                        raise ProviderError(f"{place} answers with more than {_LONGEST} bytes.", away=True)
        except TimeoutError:
            raise ProviderError(f"{place} does not answer within {_DEADLINE:.0f} s.", away=True) from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise ProviderError(f"{place} cannot be reached ({type(exc).__name__}).", away=True) from None
        try:
            found = json.loads(bytes(body))
        except ValueError:
            found = None
        if answer.status_code != 200:
            code = found.get("error") if isinstance(found, dict) else None
            if method == "POST" and answer.status_code in (400, 401):
                raise ProviderError(_why_refused(code), away=False)
            raise ProviderError(f"{place} answers with status {answer.status_code}.", away=True)
        if not isinstance(found, dict):
            raise ProviderError(f"{place} answers with something else than a JSON object.", away=True)
        return found


def error_code(code: Any) -> str:
    """An error code of OAuth as it may be shown: who sends it may write anything."""
    known = isinstance(code, str) and 0 < len(code) <= 40 and code.isascii() and code.replace("_", "").isalnum()
    return code if known else "an unknown error"


def _why_refused(code: Any) -> str:
    if code == "invalid_grant":
        return "The provider takes the sign-in for too old or for used already (invalid_grant)."
    if code in ("invalid_client", "unauthorized_client"):
        return (
            f"The provider refuses this page ({code}); web.oidc.client_id and client_secret have to be those it knows."
        )
    return f"The provider refused the sign-in ({error_code(code)})."


def _refused(sentence: str) -> ProviderError:
    return ProviderError(sentence if sentence.endswith(".") else f"{sentence}.", away=False)


def _offered(document: Mapping[str, object], issuer: str) -> Offered:
    """What a discovery document says.

    Raises:
        ProviderError: it lacks something, is about another issuer, or names an address that no secret may go to.
    """

    def address(name: str) -> str | None:
        value = document.get(name)
        if value is None:
            return None
        try:
            parts = urlsplit(value if isinstance(value, str) else "")
            # It may have a query of its own
            web_address(parts._replace(query="").geturl(), path=True)
        except (ValueError, TypeError, AttributeError):
            raise ProviderError(f"The provider's {name} is no https address.", away=True) from None
        return str(value)

    def needed(name: str) -> str:
        found = address(name)
        if found is None:
            raise ProviderError(f"The provider's discovery document lacks {name}.", away=True)
        return found

    own = document.get("issuer")
    if not isinstance(own, str) or own.rstrip("/") != issuer.rstrip("/"):
        raise ProviderError("The provider calls itself by another issuer than web.oidc.issuer.", away=True)
    methods = document.get("token_endpoint_auth_methods_supported")
    methods = methods if isinstance(methods, list) else ["client_secret_basic"]
    challenges = document.get("code_challenge_methods_supported")
    if isinstance(challenges, list) and "S256" not in challenges:
        raise ProviderError("The provider offers no PKCE by S256.", away=True)
    return Offered(
        issuer=own,
        authorize=needed("authorization_endpoint"),
        token=needed("token_endpoint"),
        keys=needed("jwks_uri"),
        userinfo=address("userinfo_endpoint"),
        end_session=address("end_session_endpoint"),
        by_post="client_secret_basic" not in methods and "client_secret_post" in methods,
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )
