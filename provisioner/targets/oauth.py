"""Access tokens by OAuth 2.0 client credentials, asked for when they are needed and again before they end.

authlib prepares the request and reads the answer; it leaves by the same HTTP client as everything else, so that TLS,
deadlines and refused redirects hold. A token request changes nothing at the vendor: a plan may make one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from authlib.oauth2.rfc6749.wrappers import OAuth2Token
from pydantic import Field, SecretStr, field_validator

from provisioner.model.outcome import Permanent, Temporary, Unauthorised
from provisioner.settings.attribute_rule import Section
from provisioner.settings.place import is_loopback
from provisioner.targets.responses import NOT_JSON, Failure, parsed, retry_after_seconds, sentence

#: Seconds before its end from which on a token is not used any more: longer than a request may take.
LEEWAY: Final = 60
#: Seconds that a token request may take, and bytes that its answer may have.
_DEADLINE: Final = 30.0
_MAX_ANSWER: Final = 1024 * 1024


class OAuthSettings(Section):
    """How an access token is asked for: OAuth 2.0, client credentials (RFC 6749, 4.4)."""

    token_url: str = Field(description="Address of the token endpoint; https, loopback aside.")
    client_id: str = Field(min_length=1, description="Who asks.")
    client_secret: SecretStr = Field(min_length=1, description="The client's secret.")
    scope: str | None = Field(None, description="Scopes to ask for, separated by spaces.")
    send_secret: Literal["header", "body"] = Field(
        "header", description="Where the secret goes: header is HTTP Basic, body is the form itself."
    )

    @field_validator("token_url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        loopback = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or loopback):
            raise ValueError("token_url must be an https address")
        if parts.username or parts.password or parts.fragment:
            raise ValueError("token_url must hold no credentials")
        return value


class ClientCredentials:
    """The token of one target: asked for once, shared by all requests of this process, renewed before it ends."""

    def __init__(self, settings: OAuthSettings) -> None:
        self._settings = settings
        self._token: OAuth2Token | None = None
        # Many requests find it ended at once; one asks, the others use what it got
        self._asking = asyncio.Lock()

    async def headers(self, client: httpx.AsyncClient) -> Mapping[str, str] | Failure:
        """The header of a request that is sent now; else why there is none. Nothing was sent to the vendor then."""
        async with self._asking:
            if self._token is None or self._token.is_expired(leeway=LEEWAY):
                found = await self._ask(client)
                if not isinstance(found, OAuth2Token):
                    return found
                self._token = found
            return {"Authorization": f"Bearer {self._token['access_token']}"}

    def refused(self, headers: Mapping[str, str]) -> None:
        """Forget the token of these headers: the vendor refused it, so it may have been withdrawn."""
        if self._token is not None and headers.get("Authorization") == f"Bearer {self._token['access_token']}":
            self._token = None

    async def _ask(self, client: httpx.AsyncClient) -> OAuth2Token | Failure:
        own = self._settings
        body = prepare_token_request("client_credentials", "", scope=own.scope)
        auth = ClientAuth(own.client_id, own.client_secret.get_secret_value(), _METHODS[own.send_secret])
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
        url, headers, body = auth.prepare("POST", own.token_url, headers, body)
        try:
            async with asyncio.timeout(_DEADLINE):
                status, answered, content = await _exchange(client, url, headers, body)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL):
            # Their texts may repeat an address with credentials
            return Temporary("token_unavailable", "the token endpoint gave no answer", unreached=True)
        answer = parsed(content)
        if status == 429 or status >= 500:
            why = f"the token endpoint is not ready ({status})"
            return Temporary("token_unavailable", why, retry_after_seconds(answered))
        if status != 200:
            said = "" if answer is NOT_JSON else sentence(answer)
            return Unauthorised(f"the token endpoint refused ({status}){f': {said}' if said else ''}")
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            return Permanent("malformed_answer", "the token endpoint answered no access token; check oauth.token_url")
        try:
            return OAuth2Token.from_dict(_plain(answer))
        except (TypeError, ValueError):
            return OAuth2Token.from_dict({"access_token": token})


_METHODS: Final = {"header": "client_secret_basic", "body": "client_secret_post"}


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("access_token", "expires_in", "expires_at") if answer.get(name) is not None}


async def _exchange(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: str
) -> tuple[int, Mapping[str, str], bytes]:
    request = client.build_request("POST", url, content=body.encode(), headers=dict(headers))
    response = await client.send(request, stream=True)
    received = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            received += chunk
            if len(received) > _MAX_ANSWER:
                break
    finally:
        await response.aclose()
    return response.status_code, {name.lower(): text for name, text in response.headers.items()}, bytes(received)
