"""Canaille as a process: a real OpenID provider."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.foreign.environments import HERE, python_of
from tests.support.ports import free_port

CLIENT_ID: Final = "provisioner"
CLIENT_SECRET: Final = "a-client-secret-of-the-tests"
PASSWORD: Final = "a-password-of-the-tests"
_STARTS_WITHIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Canaille:
    """A provider that runs: who is called ada has two groups, vera one, and nora one that gives no role."""

    url: str

    def settings(self, **changes: Any) -> dict[str, Any]:
        """`web.oidc` for it."""
        return {
            "issuer": self.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "scopes": ["openid", "groups"],
            "roles": {"claim": "groups", "operator": ["access-admins"], "viewer": ["staff"]},
            **changes,
        }


@contextmanager
def canaille(page: str, log: Path) -> Iterator[Canaille]:
    """A provider that knows the page at an address as its only client."""
    python, port = python_of("canaille"), free_port()
    words = [str(port), f"{page}/sign-in/oidc/callback", f"{page}/sign-in"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, HERE / "canaille_server.py", *words],
            # Plain http is for this machine only; so Authlib says, and so do we
            env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"},
            stdout=output,
            stderr=output,
        )
        try:
            url = f"http://localhost:{port}"
            deadline = time.monotonic() + _STARTS_WITHIN
            while not _answers(f"{url}/.well-known/openid-configuration"):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield Canaille(url)
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False
