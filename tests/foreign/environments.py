"""An environment for each server that others wrote, made once by its pins."""

from __future__ import annotations

import fcntl
import hashlib
import sys
import venv
from pathlib import Path
from typing import Final

from tests.packaging.environments import run

HERE: Final = Path(__file__).parent
_FOLDER: Final = HERE.parents[1] / "build" / "foreign"


def python_of(name: str, *options: str) -> Path:
    """The Python of an environment that holds what the pins of that name say; the package index is asked once.

    Args:
        options: of `pip install`, besides.
    """
    pins = HERE / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = _FOLDER / f"{name}-{digest}"
    python, whole = folder / "bin" / "python", folder / "whole"
    _FOLDER.mkdir(parents=True, exist_ok=True)
    # Several test processes may want it at once
    with (_FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            venv.create(folder, with_pip=True, clear=True)
            install: tuple[str | Path, ...] = (
                "install",
                "--quiet",
                "--no-input",
                "--require-hashes",
                "--requirement",
                pins,
                *options,
            )
            run(python, "-m", "pip", *install)
            whole.touch()
    return python
