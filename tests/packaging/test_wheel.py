"""The source archive and the wheel: what is in them, and whether the wheel alone runs where nothing else is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from tests.packaging.test_version import VERSION

ROOT: Final = Path(__file__).parents[2]
WHEEL: Final = f"provisioner-{VERSION}-py3-none-any.whl"
ARCHIVE: Final = f"provisioner-{VERSION}.tar.gz"
BILL: Final = f"provisioner-{VERSION}.cdx.json"
LICENCES: Final = f"provisioner-{VERSION}-licences.csv"
#: What the build itself adds to the archive.
ADDED: Final = re.compile(r"PKG-INFO|setup\.cfg|provisioner\.egg-info/.+")


def sources() -> set[str]:
    """The project's files, by git where there is a checkout; else what the archive unpacked here says of itself."""
    if not (ROOT / ".git").exists():
        listed = (ROOT / "provisioner.egg-info" / "SOURCES.txt").read_text(encoding="utf-8").splitlines()
        return {name for name in listed if not ADDED.fullmatch(name)}
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return {name for name in listed if name and (ROOT / name).is_file()}


def make(folder: Path, *, umask: int = 0o022) -> tuple[Path, Path]:
    command = [sys.executable, str(ROOT / "scripts" / "make_dist.py"), str(folder)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder.parent, umask=umask).stdout
    assert said.split() == [str(folder / name) for name in (ARCHIVE, WHEEL, BILL, LICENCES)]
    assert {path.name for path in folder.iterdir()} == {ARCHIVE, WHEEL, BILL, LICENCES}
    return folder / ARCHIVE, folder / WHEEL


@pytest.fixture(scope="module")
def archive_and_wheel(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make(tmp_path_factory.mktemp("made") / "dist")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        assert packed.testzip() is None
        return {name: packed.read(name) for name in packed.namelist()}


def test_the_archive_holds_every_file_of_the_project(archive_and_wheel: tuple[Path, Path]) -> None:
    with tarfile.open(archive_and_wheel[0]) as packed:
        files = {one.name.partition("/")[2]: one for one in packed.getmembers() if one.isfile()}
        assert {name for name in files if not ADDED.fullmatch(name)} == sources(), "name what is missing in MANIFEST.in"
        for name in ("Makefile", "tests/packaging/test_wheel.py", "docs/start.md", "requirements-dev.txt"):
            member = packed.extractfile(files[name])
            assert member is not None
            assert member.read() == (ROOT / name).read_bytes()
        assert files["deploy/install.sh"].mode == 0o755
        assert {(one.uid, one.gid, one.uname, one.gname) for one in packed.getmembers()} == {(0, 0, "", "")}


def test_the_wheel_holds_the_whole_package_and_nothing_else(archive_and_wheel: tuple[Path, Path]) -> None:
    found = contents(archive_and_wheel[1])
    package = {name for name in sources() if name.startswith("provisioner/")}
    assert {name for name in found if ".dist-info/" not in name} == package
    # What no import would miss until it is needed
    kinds = {Path(name).suffix for name in package} - {".py", ""}
    assert kinds >= {".css", ".csv", ".html", ".js", ".lua", ".svg", ".yaml"}
    for name in package:
        assert found[name] == (ROOT / name).read_bytes(), name


def test_nothing_of_the_package_waits_to_be_added() -> None:
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "provisioner").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= sources(), "git add what the program needs: nothing else is packed"


def test_the_same_sources_give_the_same_bytes(archive_and_wheel: tuple[Path, Path], tmp_path: Path) -> None:
    again = make(tmp_path / "dist", umask=0o077)
    for first, second in zip(archive_and_wheel, again, strict=True):
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("manifest", [True, False], ids=["the tree", "what the image copies"])
def test_a_wheel_from_the_tree_is_the_one_from_the_archive(
    archive_and_wheel: tuple[Path, Path], tmp_path: Path, manifest: bool
) -> None:
    # The image and install.sh build from these only, so nothing may depend on MANIFEST.in
    wanted = ("provisioner/", "pyproject.toml", "README.md", "LICENSE")
    tree = tmp_path / "tree"
    for name in sources():
        if manifest or name.startswith(wanted):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tree)], check=True)
    assert contents(tmp_path / WHEEL) == contents(archive_and_wheel[1])


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that holds the wheel and its pinned dependencies, and no setuptools or pip."""

    python: Path
    site: Path

    def run(self, folder: Path, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the console script in `folder/work`, with an empty home, nothing on the PATH, and no other variable."""
        for name in ("work", "home", "path", "tmp"):
            (folder / name).mkdir(exist_ok=True)
        return subprocess.run(
            [self.python.parent / "provisioner", *words],
            cwd=folder / "work",
            env={"HOME": str(folder / "home"), "PATH": str(folder / "path"), "TMPDIR": str(folder / "tmp")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=seconds,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(archive_and_wheel: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("elsewhere")
    wheel = folder / WHEEL
    shutil.copyfile(archive_and_wheel[1], wheel)
    # With its dependencies, each of which has to be among the pins
    wanted = folder / "wanted.txt"
    digest = sha256(wheel.read_bytes()).hexdigest()
    wanted.write_text(f"--requirement {ROOT / 'requirements.txt'}\n{wheel} --hash=sha256:{digest}\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    install = [*pip, "install", "--require-hashes", "--only-binary", ":all:", "--requirement", str(wanted)]
    subprocess.run(install, check=True, env=environment, cwd=folder)
    subprocess.run([*pip, "check"], check=True, env=environment, cwd=folder)
    subprocess.run([*pip, "uninstall", "--yes", "setuptools", "pip"], check=True, env=environment, cwd=folder)
    where = [str(python), "-I", "-c", "import provisioner; print(provisioner.__file__)"]
    found = Path(subprocess.run(where, check=True, capture_output=True, text=True, cwd=folder).stdout.strip())
    assert found.is_relative_to(folder / "env"), found
    yield Installed(python, found.parents[1])
    shutil.rmtree(folder)


def example_deployment(installed: Installed, folder: Path) -> Path:
    """The example that the wheel brings, put where the settings are looked for; gives the settings file."""
    (folder / "work" / "config").mkdir(parents=True)
    shipped = installed.site / "provisioner" / "example"
    shutil.copyfile(shipped / "roster.csv", folder / "work" / "config" / "roster.example.csv")
    return Path(shutil.copyfile(shipped / "provisioner.yaml", folder / "work" / "config" / "provisioner.yaml"))


@pytest.mark.packaging
@pytest.mark.timeout(900)
class TestAlone:
    """The wheel alone, in an environment of its own, away from the sources."""

    def test_it_says_its_version(self, installed: Installed, tmp_path: Path) -> None:
        done = installed.run(tmp_path, "--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"provisioner {VERSION}\n", "")

    def test_check_of_the_example_finds_nothing_wrong(self, installed: Installed, tmp_path: Path) -> None:
        example_deployment(installed, tmp_path)
        done = installed.run(tmp_path, "check", "--json")
        assert done.returncode == 0, done.stderr
        checks = json.loads(done.stdout)["checks"]
        assert {one["verdict"] for one in checks if one["subject"] in ("settings", "mapping", "roster")} == {"ok"}
        assert "60 rows" in next(one["message"] for one in checks if one["subject"] == "roster")
        # No server runs yet
        assert [one["verdict"] for one in checks if one["subject"] == "redis"] == ["warn"]
        assert "All right" in installed.run(tmp_path, "check").stdout

    def test_check_of_an_empty_folder_says_what_to_do(self, installed: Installed, tmp_path: Path) -> None:
        done = installed.run(tmp_path, "check", "--json")
        assert done.returncode == 2
        first = json.loads(done.stdout)["checks"][0]
        assert (first["subject"], first["verdict"]) == ("settings", "fail")
        assert f"config/provisioner.yaml does not exist in {tmp_path / 'work'}" in first["message"]
        # The files that it names are there to be copied
        named = re.findall(r"/\S+?\.(?:yaml|csv)", first["remedy"])
        assert len(named) == 2
        assert all(Path(name).is_relative_to(installed.site) and Path(name).is_file() for name in named)
        assert list((tmp_path / "work").iterdir()) == []

    def test_the_demo_comes_out_right_and_leaves_nothing(self, installed: Installed, tmp_path: Path) -> None:
        done = installed.run(tmp_path, "demo", seconds=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "each vendor holds exactly what the roster asks for" in done.stdout
        assert "The circle is closed" in done.stdout
        for name in ("work", "home", "tmp"):
            assert list((tmp_path / name).iterdir()) == [], name
