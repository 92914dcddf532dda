"""The pin files on machines and Pythons that are not here, by the names of the packages' wheels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.packaging.environments import empty_environment, run
from tests.support.pins import ROOT

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(900)]


def _glibc(machine: str) -> list[str]:
    # pip reads the older names out of 2014's
    return [*(f"manylinux_2_{minor}_{machine}" for minor in range(34, 16, -1)), f"manylinux2014_{machine}"]


#: A pin file, what a machine of that name accepts (glibc 2.17 to 2.34, macOS 14), and what has no wheel for it: the
#: README says that `cryptography` has none for Intel's macOS any more.
_MACHINES: Final[Mapping[str, tuple[str, list[str], str | None]]] = {
    "Linux x86-64": ("requirements-dev.txt", _glibc("x86_64"), None),
    "Linux ARM64": ("requirements-dev.txt", _glibc("aarch64"), None),
    "macOS ARM64": ("requirements-dev.txt", ["macosx_14_0_arm64"], None),
    "macOS x86-64": ("requirements.txt", ["macosx_14_0_x86_64"], "cryptography"),
}


def _pins(file: str, but: str | None) -> str:
    """The text of a pin file, without one package."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return text if but is None else re.sub(rf"^{but}==.*?(?=^\S|\Z)", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the newest pip."""
    return empty_environment(tmp_path_factory.mktemp("newest") / "venv", "pip")


@pytest.mark.parametrize("python", ["3.11.9", "3.12.0", "3.13.0", "3.14.0"])
@pytest.mark.parametrize("machine", _MACHINES)
def test_every_package_has_a_wheel(machine: str, python: str, newest: Path, tmp_path: Path) -> None:
    """So pip builds nothing, as it would with whatever build tools are the newest that day."""
    file, platforms, missing = _MACHINES[machine]
    pins = tmp_path / file
    pins.write_text(_pins(file, missing), encoding="utf-8")
    target = ["--target", str(tmp_path), "--implementation", "cp", "--python-version", python]
    target += [part for platform in platforms for part in ("--platform", platform)]
    # Without dependencies, since pip reads markers as those of the machine it runs on
    kind = ["--dry-run", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    run(newest, "-m", "pip", "install", "--no-input", *kind, *target, "--requirement", pins)
