"""`backup` and `restore`: what cannot be found out again, in one file.

The file is gzipped lines of JSON: a head with format, layout and time, the records of
`provisioner.store.admin.backup`, and an end that counts them, so that half a file is known for one. It holds
personal data and is readable by its owner only.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import structlog

from provisioner import installed_version
from provisioner.dispatch.redis_loss import QUIET
from provisioner.errors import StoreError, UsageError
from provisioner.runtime.clock import Clock
from provisioner.runtime.context import Deployment
from provisioner.store.admin.backup import BackupStore
from provisioner.store.admin.mark import MarkStore
from provisioner.store.runs.documents import moment

log = structlog.get_logger(__name__)

_FORMAT: Final = "provisioner-backup"
#: The layout of what lies in Redis.
VERSION: Final = BackupStore.LAYOUT


@dataclass(frozen=True, slots=True)
class Saved:
    """A backup: its file, the layout and the time (ISO, UTC) of what it holds, and entries by what they are of."""

    file: str
    schema: int
    made_at: str | None
    entries: Mapping[str, int]


async def backup(dep: Deployment, path: Path) -> Saved:
    """Write everything that a lost Redis could not be asked for again. The file is whole or not there.

    Workers may go on meanwhile: each entry is whole, and what changes after it was read belongs to the next backup.

    Raises:
        UsageError: the file cannot be written.
        StoreError: Redis does not answer.
    """
    made_at = moment(await dep.clock.now())
    head = {"format": _FORMAT, "schema": VERSION, "made_at": made_at, "made_by": _program()}
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    counts: Counter[str] = Counter()
    try:
        file = await asyncio.to_thread(_private, fresh)
        try:
            with file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                _write(packed, head)
                async for record in dep.backups.dump():
                    counts[record["key"].partition(":")[0]] += _size(record)
                    await asyncio.to_thread(_write, packed, record)
                _write(packed, {"end": dict(counts)})
                packed.close()
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            await asyncio.to_thread(_publish, fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as exc:
        raise UsageError(
            f"The backup {path} cannot be written ({exc.strerror}).", remedy="Choose another place."
        ) from exc
    log.info("backup_made", entries=dict(counts))
    return Saved(str(path), VERSION, made_at, dict(counts))


async def restore(dep: Deployment, path: Path, *, force: bool = False) -> Saved:
    """Put a backup's content in place of what there is; all of it or nothing. Runs and operations stay as they are.

    What was done since the backup is not in it, so from now on whatever leaves no trace in a listing is looked up
    before it is sent, as after a loss of Redis.

    Args:
        force: also over links that are there; they are lost.

    Raises:
        UsageError: the file cannot be read, is no whole backup, or is of another layout; or there are links already.
        StoreError: Redis does not answer, or work is under way.
    """
    head = await asyncio.to_thread(_checked, path)
    there = await dep.backups.links()
    if there and not force:
        raise UsageError(
            f"The ledger is not empty: it has {there} links, which a restore would replace.",
            remedy="If that is what you want, ask again with --force.",
        )
    restless = await dep.backups.restless()
    if restless is not None:
        raise StoreError(f"Nothing was restored: {restless}.", remedy="Stop the workers and beat first.")
    with _opened(path) as lines:
        counts = await dep.backups.load(_content(lines, path))
    await dep.pushed_people.make_index()
    await _doubt(dep.mark, dep.clock)
    log.warning("backup_restored", made_at=head["made_at"], entries=dict(counts), replaced=there)
    return Saved(str(path), int(head["schema"]), head["made_at"], dict(counts))


async def _doubt(mark: MarkStore, clock: Clock) -> None:
    """Note what `redis_loss` would have noted of a Redis that lost its data."""
    await mark.note_loss(secrets.token_hex(8), await clock.now() + QUIET)


def _checked(path: Path) -> Mapping[str, Any]:
    """The head of a file that was read to its end."""
    with _opened(path) as lines:
        head = _head(lines, path)
        counts: Counter[str] = Counter()
        for record in _records(lines, path):
            if "end" in record:
                if record["end"] != dict(counts):
                    break
                return head
            counts[str(record.get("key", "")).partition(":")[0]] += _size(record)
    raise _torn(path)


def _content(lines: gzip.GzipFile, path: Path) -> Iterator[Mapping[str, Any]]:
    _head(lines, path)
    for record in _records(lines, path):
        if "end" in record:
            return
        yield record


def _opened(path: Path) -> gzip.GzipFile:
    try:
        return gzip.open(path, "rb")
    except OSError as exc:
        raise UsageError(f"The backup {path} cannot be read ({exc.strerror}).", remedy="Check its path.") from exc


def _head(lines: gzip.GzipFile, path: Path) -> Mapping[str, Any]:
    head: dict[str, Any] = {}
    try:
        head = json.loads(lines.readline())
        found = int(head["schema"]) if head["format"] == _FORMAT else None
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        found = None
    if found is None:
        raise UsageError(f"{path} is no backup of provisioner.", remedy="Name a file that `provisioner backup` wrote.")
    if found != VERSION:
        raise UsageError(
            f"The backup {path} has layout {found}, made by {head.get('made_by', 'an unknown version')}; this version "
            f"restores layout {VERSION} only.",
            remedy="Restore it with the version that made it, then upgrade."
            if found < VERSION
            else "Restore it with that version or a newer one.",
        )
    return head


def _records(lines: gzip.GzipFile, path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        for line in lines:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise _torn(path)
            yield record
    except (OSError, EOFError, ValueError) as exc:
        raise _torn(path) from exc


def _torn(path: Path) -> UsageError:
    return UsageError(f"The backup {path} is damaged or not whole.", remedy="Use an earlier one.")


def _size(record: Mapping[str, Any]) -> int:
    return len(record.get("fields") or record.get("members") or record.get("names") or record.get("entries") or (1,))


def _private(path: Path) -> IO[bytes]:
    """A new file for the owner only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _write(file: gzip.GzipFile, document: Mapping[str, Any]) -> None:
    file.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def _publish(fresh: Path, path: Path) -> None:
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _program() -> str:
    number = installed_version()
    return f"provisioner {number}" if number else "provisioner, from its sources"
