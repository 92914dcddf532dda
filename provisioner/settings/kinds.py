"""Which kinds of target there are: the four of this package, and those that others add by entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

from provisioner.errors import ConfigurationError
from provisioner.settings.targets import (
    HabitateSettings,
    MtribesSettings,
    TargetSettings,
    TraitlySettings,
    TribalHabitsSettings,
)

ENTRY_POINT_GROUP = "provisioner.targets"

_BUILT_IN: dict[str, type[TargetSettings]] = {
    "tribal_habits": TribalHabitsSettings,
    "habitate": HabitateSettings,
    "traitly": TraitlySettings,
    "mtribes": MtribesSettings,
}


def known_kinds() -> tuple[str, ...]:
    """The names of all kinds that can be configured, in a stable order."""
    added = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP) if point.name not in _BUILT_IN)
    return (*_BUILT_IN, *added)


def settings_model(kind: str) -> type[TargetSettings] | None:
    """The settings of a kind, or None if there is no such kind.

    A third party's entry point names its target class, whose `settings_model` this is.

    Raises:
        ConfigurationError: the entry point exists but cannot be loaded.
    """
    if kind in _BUILT_IN:
        return _BUILT_IN[kind]
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == kind:
            try:
                model: type[TargetSettings] = point.load().settings_model
            except Exception as exc:
                raise ConfigurationError(
                    f"kind {kind!r}: its package cannot be loaded ({type(exc).__name__}: {exc}).",
                    remedy="Mend or remove that package.",
                ) from exc
            return model
    return None
