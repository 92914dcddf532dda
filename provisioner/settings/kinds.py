"""The kinds of target: entry points of the group `provisioner.targets`, this package's own like any other's.

An entry point has the kind's name and names the target class, whose `settings_model` is the model of its settings. The
class is imported when its kind is first asked for, not before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from provisioner.errors import ConfigurationError
from provisioner.settings.targets import TargetSettings

ENTRY_POINT_GROUP: Final = "provisioner.targets"
#: Where the source of this package's own kinds lies: a folder for each.
_OWN_KINDS: Final = Path(__file__).resolve().parents[1] / "targets"


def known_kinds() -> tuple[str, ...]:
    """The names of all kinds that can be configured, sorted.

    Raises:
        ConfigurationError: no kind is installed, not even one of this package.
    """
    kinds = sorted({point.name for point in _points()})
    if not kinds:
        raise _not_installed("No kind of target is installed, not even provisioner's own.")
    return tuple(kinds)


def target_class(kind: str) -> type[Any] | None:
    """The class that the entry point of a kind names, or None if there is no such kind.

    Raises:
        ConfigurationError: its package cannot be loaded, two packages offer the kind, it names something else than a
            target class, or the kind is in this checkout but not in the installed metadata.
    """
    # The same class offered twice is one offer: a package may be installed and lie on the path as a checkout too
    offers = {point.value: point for point in _points() if point.name == kind}
    if len(offers) > 1:
        raise ConfigurationError(
            f"kind {kind!r}: more than one package offers it ({', '.join(sorted(offers))}).",
            remedy="Remove all but one of them.",
        )
    for point in offers.values():
        return _loaded(point)
    if kind.isidentifier() and (_OWN_KINDS / kind / "__init__.py").is_file():
        raise _not_installed(f"kind {kind!r} is in this source of provisioner, but not in what is installed.")
    return None


def settings_model(kind: str) -> type[TargetSettings] | None:
    """The model of a kind's settings, or None if there is no such kind.

    Raises:
        ConfigurationError: see `target_class`.
    """
    found = target_class(kind)
    if found is None:
        return None
    model: type[TargetSettings] = found.settings_model
    return model


def _points() -> Sequence[EntryPoint]:
    return _points_on(tuple(sys.path))


@lru_cache(maxsize=8)
def _points_on(path: tuple[str, ...]) -> Sequence[EntryPoint]:  # noqa: ARG001 - what is installed follows from it
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _loaded(point: EntryPoint) -> type[Any]:
    try:
        found = point.load()
    except Exception as exc:
        raise ConfigurationError(
            f"kind {point.name!r}: its package cannot be loaded ({type(exc).__name__}: {exc}).",
            remedy="Repair or remove that package.",
        ) from exc
    model = getattr(found, "settings_model", None)
    if isinstance(found, type) and isinstance(model, type) and issubclass(model, TargetSettings):
        return found
    raise ConfigurationError(
        f"kind {point.name!r}: its entry point {point.value} does not name a target class.",
        remedy="Point it at a subclass of provisioner.targets.base.Target.",
    )


def _not_installed(message: str) -> ConfigurationError:
    return ConfigurationError(
        message,
        remedy="The installed metadata is missing or older than the source: install provisioner again "
        "(in a checkout: `pip install --no-deps --no-build-isolation --editable .`).",
    )
