"""Reads the pin files, and finds what one of them would leave to the day on which it is installed."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PIN_FILES: Final = ("requirements.txt", "requirements-remote.txt", "requirements-dev.txt")
_PIN: Final = re.compile(r"(?P<requirement>[A-Za-z0-9][^\\]*?)(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)")
_PYTHONS: Final = ("3.11.0", "3.11.9", "3.12.0", "3.13.0", "3.14.0")
_MACHINES: Final = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64"), ("Darwin", "arm64"))

#: Marker variables, as in `packaging.markers`.
Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a pin file.

    Attributes:
        name: in its canonical form.
        version: the only one that the file allows.
        extras: those that the file asks for.
        requirement: the line as a whole, without its hashes.
    """

    name: str
    version: str
    extras: frozenset[str]
    requirement: Requirement

    def applies(self, environment: Environment) -> bool:
        """Whether the package is installed there."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate({**environment, "extra": ""})


def read_pins(path: Path) -> tuple[Pin, ...]:
    """The pins of a file, in its order; a package may be there once for each of several environments.

    Raises ValueError for a line that is no comment and no single version with the hashes of its files.
    """
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    pins = []
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        found = _PIN.fullmatch(line)
        requirement = Requirement(found["requirement"]) if found else None
        only = list(requirement.specifier) if requirement else []
        if requirement is None or len(only) != 1 or only[0].operator != "==" or "*" in only[0].version:
            raise ValueError(f"{path.name}: not a pin with hashes: {line[:100]}")
        name = canonicalize_name(requirement.name)
        pins.append(Pin(name, only[0].version, frozenset(requirement.extras), requirement))
    return tuple(pins)


def this_environment() -> dict[str, str]:
    """The marker variables of the running Python."""
    return {name: str(value) for name, value in default_environment().items()}


def supported_environments() -> tuple[dict[str, str], ...]:
    """The marker variables of every Python and machine that the project supports, first releases included."""
    return tuple(
        this_environment()
        | {
            "python_version": python.rpartition(".")[0],
            "python_full_version": python,
            "implementation_version": python,
            "platform_system": system,
            "sys_platform": system.lower(),
            "platform_machine": machine,
        }
        for python in _PYTHONS
        for system, machine in _MACHINES
    )


@cache
def installed_requirements(pin: Pin) -> tuple[Requirement, ...]:
    """What the installed package asks for; nothing when another version is installed here, or none."""
    try:
        package = importlib.metadata.distribution(pin.name)
    except importlib.metadata.PackageNotFoundError:
        return ()
    if package.version != pin.version:
        return ()
    return tuple(Requirement(text) for text in package.requires or ())


def left_open(
    pins: Iterable[Pin],
    environment: Environment,
    requirements: Callable[[Pin], Iterable[Requirement]] = installed_requirements,
) -> list[str]:
    """What a resolver would have to look for outside the file: missing packages, other versions, missing extras.

    Args:
        pins: the file.
        environment: where it is installed.
        requirements: what a pinned package asks for.

    Returns one sentence for each, naming who asks.
    """
    here = {pin.name: pin for pin in pins if pin.applies(environment)}
    found = []
    for asking in here.values():
        for wanted in requirements(asking):
            wanted_for = [{**environment, "extra": extra} for extra in ("", *asking.extras)]
            if wanted.marker and not any(map(wanted.marker.evaluate, wanted_for)):
                continue
            pin = here.get(canonicalize_name(wanted.name))
            if pin is None:
                found.append(f"{asking.name} asks for {wanted}, which is not pinned")
            elif pin.version not in wanted.specifier:
                found.append(f"{asking.name} asks for {wanted}, the pin is {pin.requirement}")
            elif not wanted.extras <= pin.extras:
                found.append(f"{asking.name} asks for {wanted}, the pin {pin.requirement} lacks the extra")
    return found
