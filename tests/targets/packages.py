"""Packages as an installer would leave them, of which only the entry points matter."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from provisioner.settings.kinds import ENTRY_POINT_GROUP


def offer(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "a-package", **kinds: str) -> Path:
    """Put a package that offers these kinds first on the path.

    Args:
        folder: where it is to lie, in a folder of its own.
        name: of the package; one that is installed already is hidden by it.
        kinds: what its entry points name, by kind.

    Returns:
        The folder for its modules.
    """
    site = folder / "site"
    information = site / f"{name.replace('-', '_')}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"{kind} = {value}\n" for kind, value in kinds.items())
    (information / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{lines}", encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    return site
