"""Making a target of its settings: the class comes from the entry point of its kind."""

from __future__ import annotations

from typing import Any

from provisioner.errors import ConfigurationError
from provisioner.settings import TargetSettings, kinds
from provisioner.settings.nearest import nearest
from provisioner.targets.base import Target


def target_class(kind: str) -> type[Target[Any]]:
    """The class that serves a kind.

    Raises:
        ConfigurationError: there is no such kind, or the package that offers it cannot be loaded.
    """
    found = kinds.target_class(kind)
    if found is None:
        raise ConfigurationError(f"kind {kind!r} is unknown{nearest(kind, kinds.known_kinds())}.")
    if not issubclass(found, Target):
        raise ConfigurationError(
            f"kind {kind!r}: its entry point names {found.__qualname__}, which is not a target class.",
            remedy="Point it at a subclass of provisioner.targets.base.Target.",
        )
    return found


def make(name: str, settings: TargetSettings) -> Target[Any]:
    """The target of that name, by the kind in its settings; the settings are not checked against the vendor here.

    Raises:
        ConfigurationError: the kind is unknown or cannot be loaded.
    """
    return target_class(settings.kind)(name, settings)
