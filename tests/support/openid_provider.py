"""A small OpenID provider that is strict about its client, and shows every fault that a real one may have.

It signs everybody in at once. It refuses another redirect URI than the registered one, a secret that is wrong, a code
that is not of this client or was used already, and a PKCE verifier that does not fit, all with the errors of RFC 6749.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import JWKRegistry, Key, OctKey

CLIENT_ID: Final = "provisioner"
CLIENT_SECRET: Final = "a-client-secret-of-the-tests"


@dataclass
class Faults:
    """What the provider does otherwise than a good one; all of it can be changed while it runs.

    Attributes:
        clock: seconds by which its clock is ahead.
        lifetime: seconds that an ID token is valid.
        claims: laid over those of the ID token; None takes one away.
        algorithm: of the signature; `none` leaves it out.
        forged: signs with a key that it does not publish, under the name of one that it does.
        codes_expire: refuses every code.
        document: laid over the discovery document; None takes an address away.
        answers: path → (status, body) instead of the right answer.
        delay: seconds before every answer.
        authorization: laid over what goes back with the browser.
    """

    clock: float = 0.0
    lifetime: float = 300.0
    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    forged: bool = False
    codes_expire: bool = False
    document: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    delay: float = 0.0
    authorization: dict[str, str] = field(default_factory=dict)


_KINDS: Final[dict[str, tuple[str, str | int]]] = {"ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}


def _key_for(algorithm: str) -> Key:
    """A new key, by which the algorithm can sign."""
    kind, size = _KINDS.get(algorithm, ("RSA", 2048))
    return JWKRegistry.generate_key(kind, size, {"kid": secrets.token_hex(4)})


class OpenIdProvider:
    """A provider that runs in a thread.

    `asked` are the paths of the requests that came, `redirects` the redirect URIs that are registered, `ended` the
    queries of those who signed out.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.user: dict[str, Any] = {"sub": "u-4711", "groups": ["staff", "access-admins"], "name": "Ada Byron"}
        self.userinfo: dict[str, Any] = {}
        self.redirects: set[str] = set()
        self.asked: list[str] = []
        self.ended: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._keys = [_key_for(self.faults.algorithm)]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Go away: nobody listens any more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def rotate(self, algorithm: str) -> None:
        """Sign by a new key from now on, and publish it alone."""
        self._keys = [_key_for(algorithm)]

    def _published(self) -> list[dict[str, Any]]:
        return [{**key.as_dict(private=False), "use": "sig"} for key in self._keys]

    def _id_token(self, code: dict[str, str]) -> str:
        now = int(time.time() + self.faults.clock)
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + int(self.faults.lifetime),
            "nonce": code["nonce"],
            **self.user,
            **self.faults.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.faults.algorithm, "kid": self._keys[0].kid}
        if self.faults.algorithm == "none":
            return f"{_segment({'alg': 'none'})}.{_segment(claims)}."
        key = self._keys[0]
        if self.faults.algorithm.startswith("HS"):
            key = OctKey.import_key(CLIENT_SECRET)
        elif self.faults.forged:
            key = _key_for(self.faults.algorithm)
        return jwt.encode(header, claims, key, algorithms=[self.faults.algorithm])

    def _discovery(self) -> dict[str, Any]:
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            **self.faults.document,
        }
        return {name: value for name, value in document.items() if value is not None}

    def _authorize(self, query: dict[str, str]) -> tuple[int, str]:
        """(status, address) to lead the browser to."""
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "code_challenge_method": "S256"}
        wrong = [name for name, value in wanted.items() if query.get(name) != value]
        wrong += [name for name in ("state", "nonce", "code_challenge") if not query.get(name)]
        wrong += [] if query.get("redirect_uri") in self.redirects else ["redirect_uri"]
        wrong += [] if "openid" in query.get("scope", "").split() else ["scope"]
        if wrong:
            return 400, f"wrong: {', '.join(wrong)}"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        answer = {"code": code, "state": query["state"], **self.faults.authorization}
        return 303, f"{query['redirect_uri']}?{urlencode({name: text for name, text in answer.items() if text})}"

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        by_post = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if authorization != f"Basic {basic}" and not by_post:
            return 401, {"error": "invalid_client"}
        code = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            self.faults.codes_expire
            or form.get("grant_type") != "authorization_code"
            or code is None
            or code["redirect_uri"] != form.get("redirect_uri")
            or code["code_challenge"] != challenge
        ):
            return 400, {"error": "invalid_grant", "error_description": "no such code of ada@example.com"}
        return 200, {"access_token": "an-access-token", "token_type": "Bearer", "id_token": self._id_token(code)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                if self._went_wrong(parts.path):
                    return
                pages: dict[str, Callable[[], Any]] = {
                    "/.well-known/openid-configuration": provider._discovery,
                    "/keys": lambda: {"keys": provider._published()},
                    "/userinfo": lambda: {"sub": provider.user["sub"], **provider.userinfo},
                }
                if parts.path in pages:
                    self._answer(200, json.dumps(pages[parts.path]()))
                elif parts.path == "/authorize":
                    status, leads_to = provider._authorize(query)
                    self._answer(status, leads_to, leads_to if status == 303 else None)
                elif parts.path == "/logout":
                    provider.ended.append(query)
                    self._answer(303, "", query["post_logout_redirect_uri"])
                else:
                    self._answer(404, "{}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                if not self._went_wrong(urlsplit(self.path).path):
                    form = {name: values[0] for name, values in parse_qs(body).items()}
                    status, answer = provider._token(form, self.headers.get("Authorization", ""))
                    self._answer(status, json.dumps(answer))

            def _went_wrong(self, path: str) -> bool:
                provider.asked.append(path)
                time.sleep(provider.faults.delay)
                if path in provider.faults.answers:
                    self._answer(*provider.faults.answers[path])
                return path in provider.faults.answers

            def _answer(self, status: int, body: str, location: str | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body.encode())))
                if location is not None:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature is http.server's
                pass

        return Handler


def _segment(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()
