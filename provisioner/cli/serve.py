"""`worker`, `beat`, `web`, `sandbox`: one process of each; `up`: the first three in one command; `demo`."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Annotated, Final
from urllib.parse import quote

import typer

from provisioner.cli.session import ANSWERS_WITHIN, log, settings_and_logs
from provisioner.cli.supervisor import LONGEST_DELAY, Children
from provisioner.errors import ConfigurationError, StoreError, UsageError
from provisioner.settings import UNGUESSABLE, Settings
from provisioner.store.admin.mark import MarkStore
from provisioner.store.redis.address import RedisAddress
from provisioner.store.redis.connection import connect, ping
from provisioner.store.redis.embedded import EmbeddedRedis

_SHARED: Final = (
    "Another `provisioner up` runs here, and this one helps it: one beat acts, and its web begins when the port "
    "is free. When the other ends, this one takes over."
)
#: Started in this order, ended in the reverse one: first nothing new begins, last the worker finishes what it has.
PROCESSES: Final = ("worker", "web", "beat")


def worker(
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="Processes that work; else one a core.")
    ] = None,
) -> int:
    """Run a worker: carries out runs."""
    from provisioner.worker.processes import run_worker

    settings = settings_and_logs(level="info")
    asyncio.run(_answering(settings))
    return run_worker(settings, concurrency=concurrency)


def beat() -> int:
    """Run beat: begins runs on schedule, and watches the roster."""
    from provisioner.worker.beat import run_beat

    settings = settings_and_logs(level="info")
    asyncio.run(_answering(settings))
    return run_beat(settings)


def web() -> int:
    """Run the web server: health, and the control page."""
    from provisioner.web.app import run_web

    return run_web(settings_and_logs(level="info"))


def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0: any free one.")] = 8700,
) -> int:
    """Run stand-ins of all four vendors, under /<kind>."""
    from provisioner.sandbox import serve

    try:
        serve(port=port)
    except OSError as exc:
        raise UsageError(f"--port: {port} cannot be used ({exc.strerror}).", remedy="Choose another port.") from None
    return 0


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, and print the page's address.")] = False,
) -> int:
    """Show everything on this machine, with no Redis and no accounts."""
    from provisioner.cli import demo as shown

    return shown.run(keep)


def up() -> int:
    """Run worker, beat and web, and Redis if none is set."""
    settings = settings_and_logs(level="info")
    environment = dict(os.environ)
    if settings.web.token is None:
        environment["PROVISIONER_WEB__TOKEN"] = _token(settings.data_dir / "web-token")
    if settings.web.port:
        sys.stdout.write(f"The page: {address_of_page(settings)}\n")
    sys.stdout.flush()
    embedded = EmbeddedRedis(settings.data_dir) if settings.redis_url is None else None
    children = Children(environment, quiet=False)
    with _stopping_on_signals(children), embedded or nullcontext(), children:
        if embedded is not None:
            environment["PROVISIONER_REDIS_URL"] = f"unix://{quote(embedded.address.path or '')}?db=0"
            if embedded.reused:
                log.warning("redis_shared", folder=str(embedded.log.parent), remedy=_SHARED)
        asyncio.run(_answering(settings))
        for name in PROCESSES:
            children.start(name)
        children.watch(_Mender(embedded).look if embedded is not None else None)
    return 0


def _token(path: Path) -> str:
    """The operator's token, kept in a file that nobody else reads. It is printed when it is made, and not again: what a
    service prints is kept in a journal.

    Raises:
        ConfigurationError: the file cannot be made or read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            sys.stdout.write(f"The operator's token is in {path}\n")
            token = path.read_text(encoding="ascii").strip()
            if len(token) >= UNGUESSABLE:
                return token
            path.unlink()
            return _token(path)
        token = secrets.token_urlsafe(32)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token)
    except (OSError, ValueError) as exc:
        raise ConfigurationError(
            f"The operator's token cannot be kept in {path} ({type(exc).__name__}).", remedy="Set web.token."
        ) from None
    sys.stdout.write(f"The operator's token, also in {path}: {token}\n")
    return token


def address_of_page(settings: Settings) -> str:
    """Where a browser on this machine finds the control page."""
    host = settings.web.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{settings.web.port}/" if ":" in host else f"http://{host}:{settings.web.port}/"


#: Seconds between looks at the Redis server.
_LOOK_EVERY: Final = 0.5


class _Mender:
    """Starts the Redis server again when it died, after a delay that grows as long as it fails.

    A second `up` on the same folder uses the server of the first. When that ends, it starts one of its own.
    """

    def __init__(self, server: EmbeddedRedis) -> None:
        self._server = server
        self._next = self._due = 0.0
        self._delay = 1.0

    def look(self) -> None:
        """One look."""
        now = time.monotonic()
        if now < self._next or now < self._due:
            return
        self._next = now + _LOOK_EVERY
        if self._server.running():
            return
        if self._server.reused:
            log.warning("redis_taken_over", folder=str(self._server.log.parent))
        else:
            log.error("redis_died", log=str(self._server.log))
        try:
            self._server.start()
        except StoreError as exc:
            self._due, self._delay = now + self._delay, min(self._delay * 2, LONGEST_DELAY)
            log.error("redis_not_started", error=str(exc), again_in=self._delay)
        else:
            self._due, self._delay = 0.0, 1.0


@contextmanager
def _stopping_on_signals(children: Children) -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM end the children in order; a second one while they end changes nothing."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is signal's
        if children.stopping:
            return
        children.stopping = True
        if not children.begun:
            # Redis may take minutes to read its file, and there is nothing yet to end in order
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _answering(settings: Settings) -> None:
    """Return if Redis answers and is the one of `data_dir`: better one clear sentence than a library's endless tries.

    Raises:
        StoreError: it does not, or is not.
    """
    # It imports the targets, which --help need not wait for
    from provisioner.dispatch.redis_loss import other_deployment

    address = RedisAddress.of(settings)
    client = connect(address, within=ANSWERS_WITHIN)
    try:
        await ping(client, address)
        if (other := await other_deployment(MarkStore(client), settings.data_dir)) is not None:
            raise other
    finally:
        await client.aclose()
