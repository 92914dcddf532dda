"""Keeps the accounts of an organisation's people in step with one roster."""

from __future__ import annotations


def installed_version() -> str | None:
    """The version that is installed, from the package's metadata; None when the sources run uninstalled."""
    # Slow to import, and only `--version` and the page ask
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("provisioner")
    except PackageNotFoundError:
        return None
