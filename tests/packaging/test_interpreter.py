"""Which Python `.venv` is made with, and when it is made again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import pytest

from tests.support.pins import ROOT

#: Outside of any environment.
_PLAIN: Final = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"


def _run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts" / script, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def _minor(python: str) -> str:
    code = "import sys; print(sys.version_info.minor)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_each_python_is_found_once_newest_first() -> None:
    found = [int(_minor(python)) for python in _run("find-python", "--all").stdout.split()]
    assert found == sorted(set(found), reverse=True)
    assert set(found) <= {11, 12, 13, 14}


def test_what_is_no_python_is_refused() -> None:
    for name in ("sh", "no-such-python"):
        refused = _run("find-python", name)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert name in refused.stderr
    assert _run("find-python", sys.executable).stdout.strip() == sys.executable


@pytest.fixture
def environment() -> Path:
    """The one that the tests run in, which the Makefile has made."""
    if sys.prefix == sys.base_prefix:
        pytest.skip("the tests run outside of an environment")
    return Path(sys.prefix)


def test_an_environment_stays_for_its_own_python(environment: Path, tmp_path: Path) -> None:
    assert _run("stale-venv", environment).stdout == ""
    assert _run("stale-venv", environment, environment / "bin" / "python").stdout == ""
    if _PLAIN.exists():
        assert _run("stale-venv", environment, _PLAIN).stdout == ""
    assert _run("stale-venv", tmp_path / "none", sys.executable).stdout == ""


def test_an_environment_goes_with_another_python(environment: Path) -> None:
    others = [name for name in _run("find-python", "--all").stdout.split() if _minor(name) != _minor(sys.executable)]
    if not others:
        pytest.skip("there is one Python only")
    for python in others:
        assert _run("stale-venv", environment, python).stdout.startswith("it was made with Python 3.")


def test_an_environment_that_does_not_run_goes(tmp_path: Path) -> None:
    venv.create(tmp_path / "without", with_pip=False, symlinks=True)
    assert "gone" in _run("stale-venv", tmp_path / "without").stdout
    shutil.copytree(tmp_path / "without", tmp_path / "removed", symlinks=True)
    for link in (tmp_path / "removed" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")
    assert "gone" in _run("stale-venv", tmp_path / "removed").stdout


def test_make_takes_what_it_is_given() -> None:
    same = subprocess.run(
        ["make", "--dry-run", "demo", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--clear" not in same.stdout
