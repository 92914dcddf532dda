"""A whole deployment on this machine, for a browser to look at: Redis, the sandbox, worker, beat and web."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

from provisioner.sandbox import SandboxServer, Switchboard
from provisioner.settings import load
from provisioner.worker.wakeups import workers
from tests.cli.calling import command, environment
from tests.support.harness import raise_limits, settings_document, write_settings
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

TOKEN: Final = "operator-token-0123456789"
VIEWER: Final = "viewer-token-0123456789"
START_SECONDS: Final = 60.0
#: Debian's own; Playwright brings none.
CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)


@dataclass(frozen=True, slots=True)
class LiveSite:
    """One deployment that runs."""

    url: str
    roster: Path
    switchboard: Switchboard
    redis_url: str
    config: Path

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the HTTP API; what it answers, as JSON."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = Request(f"{self.url}{path}", content, headers, method=method)  # noqa: S310
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def sync(self) -> dict[str, Any]:
        """A run from request to end; its JSON."""
        run = self.api("POST", "/api/runs", {})["run"]
        return self.wait_for(run)

    def wait_for(self, run: str) -> dict[str, Any]:
        """A run's JSON once it is over."""
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self.api("GET", f"/api/runs/{run}"))
            return bool(found["status"] != "running")

        until(over, f"run {run} is over")
        return found


def until(true: Callable[[], bool], what: str) -> None:
    """Return once something is so."""
    deadline = time.monotonic() + START_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


@contextmanager
def live_site(
    folder: Path,
    *,
    only: tuple[str, ...],
    targets: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    password: str | None = None,
    port: int | None = None,
    web: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Iterator[LiveSite]:
    """A deployment with some of the example's targets, whose processes log into files of the folder.

    Args:
        targets: change their settings, as `changes` do the others.
        variables: the processes' environment besides.
        password: of Redis.
        port: of the page; None: any free one.
        web: further settings of it.
        reading: further settings of the roster.
    """
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        redis_url = server.require(password) if password else server.url
        sandbox = stack.enter_context(SandboxServer())
        raise_limits(sandbox.switchboard)
        roster = folder / "roster.csv"
        document = settings_document(sandbox.url, redis_url, roster, folder, **changes)
        document["schedule"] = dict.fromkeys(("sync", "full", "watch_roster"))
        document["roster"]["gate"] = {"max_leaving": "100%", "max_shrink": "100%", "max_age": "3650d"}
        document["roster"] |= reading or {}
        document["targets"] = {name: document["targets"][name] for name in only}
        for name, own in (targets or {}).items():
            document["targets"][name] |= own
        port = port or free_port()
        users = [{"name": "vera", "token": VIEWER, "role": "viewer"}]
        document["web"] = {"host": "127.0.0.1", "port": port, "token": TOKEN, "users": users, **(web or {})}
        config = write_settings(folder, document)
        for name in ("worker", "beat", "web"):
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            words = (name, "--concurrency", "4") if name == "worker" else (name,)
            process = subprocess.Popen(
                command(*words),
                env=environment(PROVISIONER_CONFIG=str(config), **(variables or {})),
                stdout=log,
                stderr=log,
            )
            stack.callback(_end, process)
        site = LiveSite(f"http://127.0.0.1:{port}", roster, sandbox.switchboard, redis_url, config)
        until(lambda: _answers(f"{site.url}/readyz"), "the web server answers")
        settings = load(config, environ={}).settings
        until(lambda: workers(settings, timeout=0.5) > 0, "a worker answers")
        yield site


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
