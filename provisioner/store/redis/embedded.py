"""The Redis server of `provisioner up` and `demo`: a real one, on a socket in a private folder, and nowhere else.

One server per `data_dir`: the server itself holds a lock there for as long as it lives, so that a second `up` finds and
uses it instead of starting another on the same files. Which server is started depends on who wrote these files, so that
none of them is lost or hidden.
"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from provisioner.errors import StoreError
from provisioner.store.redis import server_data
from provisioner.store.redis.address import LONGEST_SOCKET_PATH, RedisAddress, socket_path, socket_record
from provisioner.store.redis.server_choice import choose
from provisioner.store.redis.server_version import ServerVersion
from provisioner.store.redis.tied import tied_to_us

log = structlog.get_logger(__name__)

_START_SECONDS: Final = 30.0
#: Reading or rewriting a large append-only file takes a while, in which the server already answers that it is loading.
_LOAD_SECONDS: Final = 900.0
_STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.02
#: Where a socket goes if the folder for temporary files is too deep for one.
_SHORT_FOLDERS: Final = ("/tmp", "/var/tmp")  # noqa: S108 - short folders for a socket whose name is random
#: What a server writes to its log when it drops the end of its file.
_CUT: Final = b"Truncating the AOF"


class EmbeddedRedis:
    """The server of one `data_dir`.

    Attributes:
        address: how to reach it.
        log: the server's own log.
        reused: whether it was already there, started by someone else, who also stops it.
    """

    def __init__(self, data_dir: Path, *, append_only: bool = True) -> None:
        """
        Args:
            data_dir: its files go to the folder `redis` in there, for the owner only.
            append_only: whether the data outlive the server.
        """
        self._data_dir = data_dir.resolve()
        self._folder = self._data_dir / "redis"
        self._append_only = append_only
        self._process: subprocess.Popen[bytes] | None = None
        self.log: Final = self._folder / "redis.log"
        self.reused = False

    @property
    def address(self) -> RedisAddress:
        """How to reach it; as `RedisAddress.of` finds it from the settings."""
        return RedisAddress(scheme="unix", path=str(socket_path(self._data_dir)), own=True)

    def running(self) -> bool:
        """Whether there is a server: the process that we started, or that of another, which holds the folder."""
        if not self.reused:
            return self._process is not None and self._process.poll() is None
        with self._lock() as held:
            return held is None

    def start(self) -> None:
        """Return when the server answers; may be called again after it died.

        Call it from the main thread: there only, the server is tied to this process, so that it ends in order even if
        this process is killed.

        Raises:
            StoreError: there is no server, none that can open the data, its folder cannot be used, or it does not
                start; the log says more.
        """
        path = self._prepare()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with self._lock() as held:
                if held is not None:
                    path.unlink(missing_ok=True)
                    self.reused = False
                    self._start_own(path, held)
                    return
            if _state(path) == "ready":
                self.reused = True
                return
            if time.monotonic() > deadline:
                raise self._failed("another server holds its folder but does not answer")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the server in order if we started it, by force if it does not end."""
        process, self._process = self._process, None
        self.reused = False
        if process is None:
            return
        path = socket_path(self._data_dir)
        if process.poll() is None:
            # It closes the connection instead of answering
            with suppress(RedisError, OSError), _client(path) as client:
                client.shutdown()
        _end(process)
        with self._lock() as held:
            # Who waited for the folder may have its own socket there by now
            if held is not None:
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> Path:
        """Make the private folder, and a short one where its path is too long for a socket; return the socket."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            usual, path = self._folder / "redis.sock", socket_path(self._data_dir)
            too_long = len(os.fsencode(usual)) > LONGEST_SOCKET_PATH
            if too_long and (path == usual or not _private(path.parent)):
                record = socket_record(self._data_dir)
                folder = _short_folder()
                if folder is None:
                    raise self._failed(
                        f"{path} is too long for a socket, and so is a folder in {tempfile.gettempdir()}"
                    )
                fresh = record.with_suffix(".new")
                fresh.write_text(str(folder), encoding="utf-8")
                fresh.replace(record)
                path = socket_path(self._data_dir)
        except OSError as exc:
            raise self._failed(str(exc)) from exc
        return path

    @contextmanager
    def _lock(self) -> Iterator[int | None]:
        """The folder's lock, or None if a server holds it. Who inherits it keeps it for life."""
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield handle
        finally:
            os.close(handle)

    def _start_own(self, path: Path, lock: int) -> None:
        """Start the server that can open the folder, and note it there; as before, if it does not come to answer."""
        if not self._append_only:
            self._process = self._spawn(choose().path, path, lock)
            self._await_ready(self._process, path)
            return
        try:
            server = choose(server_data.writers(self._folder), self._folder)
            before = server_data.recorded(self._folder)
            # Before it takes the first change: whatever ends this process then, the note is there
            server_data.record(self._folder, server.version)
        except OSError as exc:
            raise self._failed(str(exc)) from exc
        log_size = self.log.stat().st_size if self.log.exists() else 0
        try:
            self._process = self._spawn(server.path, path, lock)
            self._await_ready(self._process, path)
        except (StoreError, OSError):
            self._unrecord(before)
            raise
        self._rewrite_if_cut(path, log_size)

    def _rewrite_if_cut(self, path: Path, log_size: int) -> None:
        """Have the file written as a whole where the server found its end cut off, as by a power failure.

        A file that ends within a transaction is cut in the wrong place by Redis up to 8 and Valkey up to 9.0: what
        follows is lost at the next start, or that start fails.

        Args:
            log_size: of the server's log, in bytes, before it started.
        """
        with self.log.open("rb") as written:
            written.seek(log_size)
            if _CUT not in written.read():
                return
        log.warning("redis_file_cut", log=str(self.log))
        deadline = time.monotonic() + _LOAD_SECONDS
        try:
            with _client(path) as client:
                client.bgrewriteaof()
                while (state := client.info("persistence"))["aof_rewrite_in_progress"] or state[
                    "aof_rewrite_scheduled"
                ]:
                    if time.monotonic() > deadline:
                        raise self._failed("it did not rewrite its file in time")
                    time.sleep(_POLL_SECONDS)
        except RedisError as exc:
            raise self._failed(f"it did not rewrite its file: {exc}") from exc
        if state["aof_last_bgrewrite_status"] != "ok":
            raise self._failed("it could not rewrite its file, whose end was cut off")

    def _unrecord(self, before: ServerVersion | None) -> None:
        # The error that is under way says more
        with suppress(OSError):
            server_data.record(self._folder, before)

    def _spawn(self, server: Path, path: Path, lock: int) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "logfile": str(self.log),
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            # Operations take two fifths less so. This is its older name, which any server knows
            "hash-max-ziplist-value": "2048",
            "daemonize": "no",
        }
        command = [str(server), *(word for name, value in options.items() for word in (f"--{name}", value))]
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a server that the settings or the package name
                tied_to_us(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                # Ctrl-C at the terminal is for `up`, which stops the workers before the server
                start_new_session=True,
            )

    def _await_ready(self, process: subprocess.Popen[bytes], path: Path) -> None:
        started = time.monotonic()
        while (state := _state(path)) != "ready":
            if process.poll() is not None:
                self._process = None
                raise self._failed("it ended while it started")
            if time.monotonic() - started > (_LOAD_SECONDS if state == "loading" else _START_SECONDS):
                self._process = None
                _end(process)
                raise self._failed("it did not answer in time")
            time.sleep(_POLL_SECONDS)

    def _failed(self, reason: str) -> StoreError:
        return StoreError(
            f"data_dir: the Redis server in {self._folder} cannot be used ({reason}).",
            remedy=f"See {self.log}, or set redis_url to a server elsewhere.",
        )


def _short_folder() -> Path | None:
    """A new private folder for a socket; None where every folder for temporary files is too deep for one."""
    for parent in (tempfile.gettempdir(), *_SHORT_FOLDERS):
        try:
            folder = Path(tempfile.mkdtemp(prefix="provisioner-", dir=parent))
        except OSError:
            continue
        if len(os.fsencode(folder / "redis.sock")) <= LONGEST_SOCKET_PATH:
            return folder
        folder.rmdir()
    return None


def _private(folder: Path) -> bool:
    """Whether a folder is there, ours, and closed to everyone else."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _client(path: Path) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(path), socket_timeout=_STOP_SECONDS, protocol=2, retry=Retry(NoBackoff(), 0)
    )


def _state(path: Path) -> str:
    try:
        with _client(path) as client:
            client.ping()
    except BusyLoadingError:
        return "loading"
    except (RedisError, OSError):
        return "absent"
    return "ready"


def _end(process: subprocess.Popen[bytes]) -> None:
    for last_resort in (process.terminate, process.kill):
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            last_resort()
        else:
            return
    process.wait()
