"""Which class serves a kind of target: the four of this package, and those that others add by entry point."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from provisioner.errors import ConfigurationError
from provisioner.settings import TargetSettings
from provisioner.settings.kinds import ENTRY_POINT_GROUP, known_kinds
from provisioner.settings.nearest import nearest
from provisioner.targets.base import Target

#: Kind → module and class; imported when first asked for.
_BUILT_IN: Mapping[str, tuple[str, str]] = {
    "tribal_habits": ("provisioner.targets.tribal_habits", "TribalHabits"),
    "habitate": ("provisioner.targets.habitate", "Habitate"),
    "traitly": ("provisioner.targets.traitly", "Traitly"),
    "mtribes": ("provisioner.targets.mtribes", "Mtribes"),
}


def kinds() -> tuple[str, ...]:
    """The names of all kinds that can be made, in a stable order."""
    return known_kinds()


def target_class(kind: str) -> type[Target[Any]]:
    """The class that serves a kind.

    Raises:
        ConfigurationError: there is no such kind, or the package that offers it cannot be loaded.
    """
    if kind in _BUILT_IN:
        module, name = _BUILT_IN[kind]
        return _checked(kind, getattr(import_module(module), name))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == kind:
            try:
                found = point.load()
            except Exception as exc:
                raise ConfigurationError(
                    f"kind {kind!r}: its package cannot be loaded ({type(exc).__name__}: {exc}).",
                    remedy="Mend or remove that package.",
                ) from exc
            return _checked(kind, found)
    raise ConfigurationError(f"kind {kind!r} is unknown{nearest(kind, kinds())}.")


def _checked(kind: str, found: object) -> type[Target[Any]]:
    if isinstance(found, type) and issubclass(found, Target):
        return found
    raise ConfigurationError(
        f"kind {kind!r}: its entry point does not name a target class.",
        remedy="Point it at a subclass of provisioner.targets.base.Target.",
    )


def make(name: str, settings: TargetSettings) -> Target[Any]:
    """The target of that name, by the kind in its settings; the settings are not checked against the vendor here.

    Raises:
        ConfigurationError: the kind is unknown or cannot be loaded.
    """
    return target_class(settings.kind)(name, settings)
