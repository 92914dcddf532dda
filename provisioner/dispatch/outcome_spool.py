"""Outcomes that could not be recorded because Redis did not answer, kept in a file until it does.

The target has acknowledged them, so they must not be forgotten: each is one line of JSON, on disk before anything else
happens, readable by the owner only since it holds what the ledger would. They are recorded before new work is begun;
recording one twice changes nothing. Each machine keeps its own in its `data_dir`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from msgspec import convert, to_builtins

from provisioner.model.operation import Operation
from provisioner.planning.guards import COVERS
from provisioner.runtime.faults import is_fault, log_fault
from provisioner.store.queue.entries import guard_of
from provisioner.store.queue.operations import Claim, End, QueueStore

log = structlog.get_logger(__name__)

_NAME: Final = "outcomes.jsonl"
_REFUSED: Final = "refused-outcomes.jsonl"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A success (`error` None) with what the ledger learns by it, or a lasting failure, of one claimed operation.

    `refused`: nothing of it was done. `note` is a remark about the success.
    """

    claim: Claim
    patch: Mapping[str, Any]
    account: str | None
    error: Mapping[str, str] | None = None
    refused: bool = False
    note: str = ""

    @property
    def end(self) -> End:
        """What the queue is to record."""
        if self.error is not None:
            return End.failed(self.claim, self.error, self.patch, refused=self.refused)
        operation = self.claim.operation
        guard = guard_of(operation.kind, COVERS) if operation.counted and not operation.hold else ""
        return End.done(self.claim, self.patch, self.account, guard, self.note)

    def to_line(self) -> bytes:
        """One line of the file."""
        claim = self.claim
        document = {
            "run": claim.run,
            "token": claim.token,
            "attempts": claim.attempts,
            "unclear": claim.unclear,
            "since": claim.since,
            "claimed": claim.claimed,
            "operation": to_builtins(claim.operation),
            "patch": dict(self.patch),
            "account": self.account,
            "error": dict(self.error) if self.error is not None else None,
            "refused": self.refused,
            "note": self.note,
        }
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Spooled:
        """The inverse of `to_line`.

        Raises:
            ValueError, KeyError, TypeError: it is no such line.
        """
        document = json.loads(line)
        claim = Claim(
            operation=convert(document["operation"], Operation),
            **{name: document[name] for name in ("run", "token", "attempts", "unclear", "since", "claimed")},
        )
        # A line of an earlier version does not say whether it was
        refused, note = document.get("refused", False), document.get("note", "")
        return cls(claim, document["patch"], document["account"], document["error"], refused, note)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a spool holds: outcomes to be recorded, those that Redis refused, and when the oldest file was last written
    (epoch seconds; None: nothing is to be recorded)."""

    outcomes: int
    refused: int
    since: float | None


class Spool:
    """The file of one `data_dir`; processes may share it."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir
        self._path = data_dir / _NAME

    def add(self, outcome: Spooled) -> None:
        """Put an outcome on disk; it is there when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            place = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(place, fcntl.LOCK_EX)
                if not self._is_current(place):
                    # It was set aside for recording between our opening and our lock
                    continue
                size = os.fstat(place).st_size
                torn = size > 0 and os.pread(place, 1, size - 1) != b"\n"
                os.write(place, (b"\n" if torn else b"") + outcome.to_line())
                os.fsync(place)
            finally:
                os.close(place)
            self._sync_folder()
            return

    def _is_current(self, place: int) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(place)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be recorded."""
        return next(iter(self._files()), None) is None

    def look(self) -> Waiting | None:
        """What waits to be recorded; None if nothing does.

        Raises:
            OSError: its files cannot be read.
        """
        files = self._files()
        refused = self._folder / _REFUSED
        if not files and not refused.exists():
            return None
        oldest = min((path.stat().st_mtime for path in files), default=None)
        return Waiting(sum(map(_lines, files)), _lines(refused) if refused.exists() else 0, oldest)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"{_NAME}*") if path.stat().st_size)

    def _set_aside(self) -> None:
        try:
            place = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
            if self._is_current(place) and os.fstat(place).st_size:
                self._path.rename(self._folder / f"{_NAME}.{secrets.token_hex(4)}")
        finally:
            os.close(place)

    async def replay(self, queue: QueueStore) -> int:
        """Record what was kept; how many there were.

        Raises:
            StoreError: Redis does not answer yet; nothing is lost.
        """
        if self.empty:
            return 0
        self._set_aside()
        count = 0
        for path in self._files():
            if path == self._path:
                continue
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                for line in file:
                    count += await self._record(queue, line)
                path.unlink(missing_ok=True)
        if count:
            log.info("spooled_outcomes_recorded", count=count)
        return count

    async def _record(self, queue: QueueStore, line: bytes) -> int:
        try:
            outcome = Spooled.from_line(line)
        except (ValueError, KeyError, TypeError):
            # Only the last line before a crash can be torn: its operation is unclear, and looked up
            log.warning("spooled_outcome_torn", length=len(line))
            return 0
        try:
            await queue.record([outcome.end], outcome.claim.run, outcome.claim.operation.target)
        except BaseException as exc:
            if not is_fault(exc, stopping=True):
                raise
            # It must not keep the others from being recorded: its operation is unclear, and looked up
            operation = outcome.claim.operation
            log_fault("spooled_outcome_refused", exc, target=operation.target, person=operation.person)
            self._refuse(line)
            return 0
        return 1

    def _refuse(self, line: bytes) -> None:
        """Keep what cannot be recorded apart, for a person to look at."""
        place = os.open(self._folder / _REFUSED, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(place, line)
            os.fsync(place)
        finally:
            os.close(place)


def _lines(path: Path) -> int:
    """The lines of a file; 0 if it is gone since."""
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
