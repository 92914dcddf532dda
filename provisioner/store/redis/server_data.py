"""Which server can open the data folder of `up`: what its files are, and which server wrote them.

Servers differ in where they look for their append-only file. Up to 6.2 it is one file, `appendonly.aof`. From 7.0 on,
and in every Valkey, it is a folder, `appendonlydir`, into which they move such a file. A 6.2 server ignores that folder
and starts empty. All of them refuse a file of a newer format, but a command with an argument that they do not know
is skipped, with a line in the log. So only a server at least as new as the last one that wrote there opens a folder.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from provisioner.errors import StoreError
from provisioner.store.redis.server_version import ServerVersion

_SINGLE: Final = "appendonly.aof"
_PARTS: Final = "appendonlydir"
_MANIFEST: Final = "appendonly.aof.manifest"
#: The version of the server that wrote there last, as one line.
_RECORD: Final = "written_by"
#: Bytes that hold a data file's format and its writer's version.
_HEADER: Final = 96
#: The first server that looks into `appendonlydir`.
_FIRST_WITH_PARTS: Final = ServerVersion("Redis", "7.0")


def writers(folder: Path) -> tuple[ServerVersion, ...]:
    """The servers that wrote a folder's data, as far as its files say; the last one comes last. Empty without data.

    Only a server that reads what each of them wrote may open the folder.

    Raises:
        StoreError: it holds two sets of data, of which any server would open one and hide the other.
        OSError: its files cannot be read.
    """
    single = folder / _SINGLE
    manifest = folder / _PARTS / _MANIFEST
    parts = _base_and_rest(manifest)
    if parts is None:
        if not _filled(single):
            return ()
        return _known(_written(single), recorded(folder))
    base, rest = parts
    inside = folder / _PARTS / base
    # A server died while it moved the file; the next one goes on with that
    moving = base == _SINGLE and not rest and not inside.exists()
    if _filled(single) and not moving:
        raise StoreError(
            f"data_dir: {folder} holds two sets of data: {_SINGLE}, which Redis 6.2 writes, and {_PARTS}, which newer "
            "servers write. A server would open one and hide the other.",
            remedy=f"Find out which one is current (by the times of {single} and of the files in {manifest.parent}), "
            "move the other one out of the folder, and keep it.",
        )
    return _known(_FIRST_WITH_PARTS, _written(single if moving else inside), recorded(folder))


def recorded(folder: Path) -> ServerVersion | None:
    """The server that was noted by `record` last, if any."""
    with suppress(FileNotFoundError):
        return ServerVersion.of_name((folder / _RECORD).read_text(encoding="utf-8", errors="replace").strip())
    return None


def record(folder: Path, server: ServerVersion | None) -> None:
    """Note which server writes there from now on; None: none ever did."""
    place = folder / _RECORD
    if server is None:
        place.unlink(missing_ok=True)
        return
    fresh = place.with_suffix(".new")
    fresh.write_text(f"{server}\n", encoding="utf-8")
    fresh.replace(place)


def manifest_files(text: str) -> tuple[str | None, tuple[str, ...]]:
    """The base file and the files after it that a manifest names, one a line: `file NAME seq N type b`."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    named = [(dict(zip(words[::2], words[1::2], strict=False))) for words in lines]
    base = [one["file"] for one in named if one.get("type") == "b" and "file" in one]
    return (base[0] if base else None), tuple(one["file"] for one in named if one.get("type") == "i" and "file" in one)


def _base_and_rest(manifest: Path) -> tuple[str, tuple[str, ...]] | None:
    """What a manifest names; None if there is none. Without a base, the first file is taken as one."""
    try:
        base, rest = manifest_files(manifest.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    return (base, rest) if base is not None else (rest[0] if rest else "", rest[1:])


def _filled(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _written(file: Path) -> ServerVersion | None:
    """The server that wrote a data file, where its header says so."""
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        return ServerVersion.of_header(opened.read(_HEADER))


def _known(*found: ServerVersion | None) -> tuple[ServerVersion, ...]:
    return tuple(server for server in found if server is not None)
