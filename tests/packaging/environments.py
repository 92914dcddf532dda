"""Empty environments to install into."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path


def run(*command: str | Path) -> str:
    """Returns what a command prints. Fails the test, with the end of its output, where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def empty_environment(folder: Path, pip: str) -> Path:
    """Makes an environment with that pip and nothing else; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "uninstall", "--yes", "setuptools")
    run(python, "-m", "pip", "install", "--quiet", "--no-input", "--upgrade", pip)
    return python
