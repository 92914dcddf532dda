"""Builds the source archive from the tracked files, and the wheel from that archive; repeatable with one Python.

Beside them it writes what they need: a CycloneDX document (.cdx.json) and the list of licences (-licences.csv).

scripts/make_dist.py [FOLDER]     FOLDER is dist/ by default
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: Where there is no git, the sources are an unpacked archive, in which these may have been made since.
_MADE: Final = (
    ".venv",
    "build",
    "dist",
    "*.egg-info",
    "PKG-INFO",
    "setup.cfg",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
)
_UMASK: Final = 0o022
_BUILD_ARCHIVE: Final = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
_BUILD_WHEEL: Final = ("-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation")


def _run(command: list[str], **options: Any) -> str:
    """What a command prints; if it fails, everything ends with what it said."""
    done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - our own command
        command, check=False, capture_output=True, text=True, **options
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _git(*words: str) -> str | None:
    """What git prints; None where the sources are no checkout."""
    if not (ROOT / ".git").exists():
        return None
    return _run(["git", "-C", str(ROOT), *words])


def _export(folder: Path) -> None:
    """Copy what belongs to the project: so no secret or leftover of a working folder gets into an archive."""
    tracked = _git("ls-files", "-z")
    if tracked is None:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_MADE))
    else:
        for name in filter(None, tracked.split("\0")):
            if (source := ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / name)
                (folder / name).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    for line in (_git("status", "--porcelain") or "").splitlines():
        state = "left out, since git does not track it" if line.startswith("??") else "not committed"
        sys.stderr.write(f"{line[3:]}: {state}\n")


def _epoch() -> int:
    """Epoch seconds of the last commit; an archive's files carry those of the commit that it was made from."""
    given = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    return int(given or (ROOT / "pyproject.toml").stat().st_mtime)


def _built(command: list[str], source: Path, into: Path, epoch: int) -> Path:
    """The file that a build leaves in `into`, by the build backend that is installed here; nothing is downloaded."""
    into.mkdir()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
    _run([sys.executable, *command], cwd=source, env=environment, umask=_UMASK)
    (path,) = into.iterdir()
    return path


def _repeatable(archive: Path, epoch: int) -> None:
    """Write the archive again without what differs from one build to the next: times, owners, order."""
    packed = io.BytesIO()
    with (
        tarfile.open(archive) as old,
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    archive.write_bytes(packed.getvalue())


def make(folder: Path) -> list[Path]:
    """Build both into a folder, and return their paths there; files of other versions stay where they are."""
    epoch = _epoch()
    with tempfile.TemporaryDirectory(prefix="provisioner-dist-") as name:
        work = Path(name)
        tree, archives, wheels = (work / part for part in ("tree", "archives", "wheels"))
        _export(tree)
        archive = _built(["-c", _BUILD_ARCHIVE, str(archives)], tree, archives, epoch)
        _repeatable(archive, epoch)
        wheel = _built([*_BUILD_WHEEL, "--wheel-dir", str(wheels), str(archive)], work, wheels, epoch)
        folder.mkdir(parents=True, exist_ok=True)
        made = [Path(shutil.copyfile(path, folder / path.name)) for path in (archive, wheel)]
        said = _run([sys.executable, str(ROOT / "scripts" / "sbom.py"), str(folder), str(epoch)])
        return [*made, *map(Path, said.splitlines())]


def main() -> None:
    """Build, and name what was made."""
    parser = argparse.ArgumentParser(description="Build the source archive and the wheel, with what they need.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist/")
    for made in make(parser.parse_args().folder):
        print(made)


if __name__ == "__main__":
    main()
