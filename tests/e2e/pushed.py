"""A deployment whose people are pushed: the settings, the processes, and a client of few words."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.site import BY_HAND, Process, Site, deployment, eventually
from tests.scim.conftest import ROSTER, TOKEN, WEB_TOKEN
from tests.support.harness import raise_limits, write_settings
from tests.support.ports import free_port


class Pushed:
    """A deployment with web, worker and beat, whose people are pushed."""

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.root = f"http://127.0.0.1:{port}"
        self.worker: Process = site.start_worker()
        self.web: Process = site.start("web")

    @property
    def url(self) -> str:
        """The address of the service."""
        return f"{self.root}/scim/v2"

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and document of an answer; status 0 where nobody answers."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}
        request = urllib.request.Request(f"{self.url}{path}", content, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                text = answer.read()
                return answer.status, json.loads(text) if text else {}
        except urllib.error.HTTPError as exc:
            return exc.code, json.loads(exc.read() or b"{}")
        except OSError:
            return 0, {}

    def push(self, body: Mapping[str, Any]) -> str:
        """Push somebody new; their id."""
        status, document = self.ask("POST", "/Users", body)
        assert status == 201, document
        return str(document["id"])

    def patch(self, id_: str, value: Mapping[str, Any]) -> None:
        """Change somebody."""
        status, document = self.ask("PATCH", f"/Users/{id_}", {"Operations": [{"op": "replace", "value": value}]})
        assert status == 200, document

    def accounts(self) -> dict[str, bool]:
        """Who has an account in Tribal Habits, and whether it is active."""
        return {one["user_name"]: one["active"] for one in self.site.switchboard.accounts("tribal_habits")}

    def come_to(self, look: Callable[[], bool]) -> None:
        """Wait until something holds."""
        eventually(look, within=90, why=lambda: f"{self.accounts()} {self.worker.said()[-3000:]}")


@contextmanager
def pushed(folder: Path, *, append_only: bool = False, **changes: Any) -> Iterator[Pushed]:
    """Such a deployment; `changes` replace sections of the settings."""
    port = free_port()
    roster = {**ROSTER, **changes.pop("reading", {})}
    web = {"port": port, "token": WEB_TOKEN}
    with ExitStack() as stack:
        site = stack.enter_context(deployment(folder, append_only=append_only, web=web, schedule=BY_HAND, **changes))
        document = yaml.safe_load(site.config.read_text(encoding="utf-8"))
        write_settings(folder, {**document, "roster": roster})
        # Whom a test pushes is all that there is
        site.switchboard.reset()
        raise_limits(site.switchboard)
        made = Pushed(site, port)
        stack.callback(lambda: made.worker.stop())
        stack.callback(lambda: made.web.stop())
        stack.enter_context(site.running("beat"))
        eventually(lambda: made.ask("GET", "/ServiceProviderConfig")[0] == 200)
        yield made
