"""Keeps the accounts of an organisation's people in step with one roster."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str | None:
    """The version that is installed, from the package's metadata; None when the sources run uninstalled."""
    try:
        return version("provisioner")
    except PackageNotFoundError:
        return None
