"""The systemd units, checked by systemd itself where it is installed, and the script that puts them in place."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from provisioner.cli import commands

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
TARGET = ROOT / "deploy" / "systemd" / "provisioner.target"
PROGRAM = "/opt/provisioner/bin/provisioner"
COMMANDS = {"provisioner": "up", "provisioner-worker": "worker", "provisioner-beat": "beat", "provisioner-web": "web"}
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def lines_of(unit: Path) -> list[str]:
    return [line for line in unit.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def test_every_unit_runs_the_command_that_it_is_named_after() -> None:
    assert {unit.stem for unit in UNITS} == set(COMMANDS)
    for unit in UNITS:
        started = [line for line in lines_of(unit) if line.startswith("ExecStart=")]
        assert started == [f"ExecStart={PROGRAM} {COMMANDS[unit.stem]}"]
        assert COMMANDS[unit.stem] in commands.COMMANDS


def test_all_units_are_hardened_alike() -> None:
    hardened = []
    for unit in UNITS:
        lines = lines_of(unit)
        hardened.append(lines[lines.index("User=provisioner") : lines.index("[Install]")])
    assert all(one == hardened[0] for one in hardened)
    assert "NoNewPrivileges=yes" in hardened[0]


def test_the_single_unit_and_the_separate_ones_exclude_each_other() -> None:
    assert "Conflicts=provisioner.target" in lines_of(ROOT / "deploy" / "systemd" / "provisioner.service")
    assert "Conflicts=provisioner.service" in lines_of(TARGET)
    for unit in UNITS:
        if unit.stem != "provisioner":
            assert {"PartOf=provisioner.target", "WantedBy=provisioner.target"} <= set(lines_of(unit))


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_exposure_is_below_three(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=29", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < 3


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in [*UNITS, TARGET]:
        text = unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "provisioner" in line]
    assert (done.returncode, said) == (0, [])


def install(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "deploy" / "install.sh"), *words], capture_output=True, text=True, check=False, cwd="/"
    )


def state(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_text() if path.is_file() else "")
        for path in sorted(folder.rglob("*"))
    }


def test_the_install_script_may_run_twice_and_spares_settings_and_secrets(tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = install("--root", str(root), "--without-packages")
    assert done.returncode == 0, done.stderr
    first = state(root)
    assert {f"etc/systemd/system/{path.name}" for path in [*UNITS, TARGET]} <= set(first)
    assert first["etc/provisioner/secrets"][0] == 0o750
    assert first["var/lib/provisioner"][0] == 0o700
    (root / "etc/provisioner/provisioner.yaml").write_text("timezone: UTC\n")
    (root / "etc/provisioner/secrets/web__token").write_text("secret\n")
    before = state(root)
    assert install("--root", str(root), "--without-packages").returncode == 0
    assert state(root) == before


def test_the_install_script_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    done = install("--rot", str(tmp_path))
    assert done.returncode == 2
    assert "--root DIR" in done.stderr
    assert install("--root").returncode == 2


def test_the_install_script_is_a_script_that_any_shell_reads() -> None:
    script = ROOT / "deploy" / "install.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(script)], check=True)
