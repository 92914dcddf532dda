"""The ground that the project stands on: pins, package, layers, deployment files, and what no file may name."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from redis.commands import AsyncCoreCommands

from tests.support.pins import PIN_FILES, left_open, read_pins, supported_environments, this_environment

ROOT: Final = Path(__file__).resolve().parent.parent
EXTRAS: Final = {
    "requirements.txt": [],
    "requirements-remote.txt": ["sftp", "s3"],
    "requirements-dev.txt": ["sftp", "s3", "dev", "docs", "manifests"],
}


class UnitParser(configparser.ConfigParser):
    """Reads a systemd unit: keys keep their case, and some stand there more than once."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _files() -> list[Path]:
    """Every file of the project: what git keeps or would keep; without git, what lies outside its working folders."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=True,
        )
        return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    passed_over = [".git", *(line for line in ignored if line and not line.startswith("#"))]
    found = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not any(fnmatch(part, pattern) for part in parts for pattern in passed_over):
            found.append(path)
    return found


@pytest.mark.parametrize("file", PIN_FILES)
def test_pins_cover_the_dependencies(file: str) -> None:
    project = _pyproject()["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    wanted += [Requirement(text) for text in _pyproject()["dependency-groups"]["build"]]
    for extra in EXTRAS[file]:
        wanted += [Requirement(text) for text in project["optional-dependencies"][extra]]
    pins = read_pins(ROOT / file)
    for requirement in wanted:
        found = [pin for pin in pins if pin.name == canonicalize_name(requirement.name)]
        assert found, f"{file} lacks {requirement.name}: run `make pins`"
        for pin in found:
            assert pin.version in requirement.specifier, f"{file}: {pin.requirement} is outside {requirement}"
            assert requirement.extras <= pin.extras, f"{file}: {pin.requirement} lacks extras of {requirement}"


def test_the_widest_pins_are_what_the_tests_run_on() -> None:
    for pin in read_pins(ROOT / "requirements-dev.txt"):
        if pin.applies(this_environment()):
            assert importlib.metadata.version(pin.name) == pin.version, (
                f"{pin.name}: run `make test`, which installs the pins"
            )


@pytest.mark.parametrize("file", PIN_FILES)
def test_pins_leave_nothing_to_a_resolver(file: str) -> None:
    """What is pinned asks for nothing beyond the file, wherever it is installed.

    pip before 24 takes the newest release for an extra that the pin does not carry, and stops as it has no hash.
    """
    pins = read_pins(ROOT / file)
    found = {sentence for environment in supported_environments() for sentence in left_open(pins, environment)}
    assert not found


def test_a_pin_without_its_extra_or_its_neighbour_is_noticed() -> None:
    pins = read_pins(ROOT / "requirements-dev.txt")
    bare = [replace(pin, extras=frozenset()) if pin.name == "coverage" else pin for pin in pins]
    (sentence,) = left_open(bare, this_environment())
    assert sentence.startswith("pytest-cov asks for coverage[toml]")
    fewer = [pin for pin in pins if pin.name != "iniconfig"]
    (sentence,) = left_open(fewer, this_environment())
    assert sentence.startswith("pytest asks for iniconfig")
    other = [replace(pin, version="4.0") if pin.name == "vine" else pin for pin in pins]
    assert any(sentence.startswith("celery asks for vine") for sentence in left_open(other, this_environment()))


def test_pins_agree_with_each_other() -> None:
    widest = {(pin.name, pin.version, pin.extras) for pin in read_pins(ROOT / "requirements-dev.txt")}
    for file in PIN_FILES:
        beyond = {(pin.name, pin.version, pin.extras) for pin in read_pins(ROOT / file)} - widest
        assert not beyond, f"{file} holds other packages than requirements-dev.txt"


@pytest.mark.parametrize("file", PIN_FILES)
def test_pins_name_no_source(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "make pins" in text.splitlines()[1]
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index|--extra-index|--find-links|--trusted-host)", text, re.MULTILINE)
    assert not re.search(r"(^|\s)/\w", text)


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    # Put together here, so that this file does not name them either.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "extra-index" + "-url ="]
    places = ["work", "root", "home/[a-z]+", "Users/[A-Za-z]+", "opt/wheels", "opt/py" + "pi"]
    forbidden = re.compile("|".join([*map(re.escape, hosts), rf"(?<![\w.$}}/~-])/(?:{'|'.join(places)})/"]))
    found = []
    for path in _files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in forbidden.finditer(text)]
    assert not found


@pytest.mark.timeout(180)
def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copytree(ROOT / "provisioner", source / "provisioner", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as wheel:
        inside = set(wheel.namelist())
        (entry_points,) = (name for name in inside if name.endswith("entry_points.txt"))
        assert "provisioner = provisioner.cli:main" in wheel.read(entry_points).decode()
    package = {path.relative_to(ROOT).as_posix() for path in _files() if path.is_relative_to(ROOT / "provisioner")}
    assert package - inside == set()
    assert {name.split("/")[0] for name in inside} == {
        "provisioner",
        f"provisioner-{_pyproject()['project']['version']}.dist-info",
    }


def test_every_layer_is_under_every_import_rule() -> None:
    contracts = _pyproject()["tool"]["importlinter"]["contracts"]
    by_name = {contract["name"]: contract for contract in contracts}
    layers = {name.strip() for line in contracts[0]["layers"] for name in line.split("|")}
    everything = {f"provisioner.{name}" for name in layers | {"sandbox", "example"}}
    allowed = {
        "Redis only in the store": {"provisioner.store"},
        "Celery only in the worker": {"provisioner.worker"},
        "httpx only where vendors are called and rosters are read": {"provisioner.roster", "provisioner.targets"},
    }
    for name, modules in allowed.items():
        assert set(by_name[name]["source_modules"]) == everything - modules, name
    alone = by_name["The sandbox knows nothing of the rest"]
    assert set(alone["forbidden_modules"]) == everything - {"provisioner.sandbox"}


#: Redis's commands as redis-py names them, and those that a client of HTTP has too.
COMMANDS: Final = {name for name in dir(AsyncCoreCommands) if not name.startswith("_")} | {"pipeline"}
ALSO_OF_HTTP: Final = frozenset({"delete", "get"})
CLIENTS: Final = frozenset({"redis", "_redis", "client", "pipe", "Redis", "from_url", "get_redis"})
#: How often each file may speak to Redis past the stores. It only ever gets shorter; it is empty, and stays so.
RAW_REDIS: Final[dict[str, int]] = {}


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_raw(node: ast.AST) -> bool:
    """Whether a piece of code is a command of Redis, a client, the name of a key, or what gives one of these."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in COMMANDS - ALSO_OF_HTTP and _last_name(node.func.value) in CLIENTS
    if isinstance(node, ast.Attribute):
        return node.attr == "redis" and _last_name(node.value) in ("dep", "_dep", "deployment", "site")
    if isinstance(node, ast.Import):
        return any(name.name.partition(".")[0] == "redis" for name in node.names)
    if isinstance(node, ast.ImportFrom):
        names = {name.name for name in node.names}
        return (
            (node.module in ("redis", "redis.asyncio"))
            or (node.module == "provisioner.store.redis" and "keys" in names)
            or (node.module or "") == "provisioner.store.redis.keys"
            or "redis_errors" in names
        )
    return isinstance(node, ast.Constant) and re.match(r"provisioner:[a-z]", _text(node.value)) is not None


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def test_only_the_store_and_its_tests_speak_to_redis() -> None:
    apart = [
        *(ROOT / "provisioner" / name for name in ("store", "sandbox")),
        *(ROOT / "tests" / name for name in ("sandbox", "store", "support")),
    ]
    found: Counter[str] = Counter()
    for path in [*(ROOT / "provisioner").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        if not any(path.is_relative_to(folder) for folder in apart):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found[path.relative_to(ROOT).as_posix()] += sum(_is_raw(node) for node in ast.walk(tree))
    assert +found == RAW_REDIS


@pytest.mark.parametrize(
    "code",
    [
        "await dep.redis.hget(name, 'a')",
        "self._dep.redis",
        "with redis.Redis.from_url(url) as client: client.flushall()",
        "pipe.hgetall(name)",
        "import redis.asyncio",
        "from provisioner.store.redis import keys",
        "'provisioner:' + 'runs' if a else 'provisioner:runs'",
        "f'provisioner:ledger:{target}'",
        "b'provisioner:pace:'",
    ],
)
def test_what_speaks_to_redis_is_found(code: str) -> None:
    assert any(_is_raw(node) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize("code", ["site.client.get('/')", "dep.runs.get(run)", "image = 'provisioner:0.1.0'"])
def test_what_does_not_is_not(code: str) -> None:
    assert not any(_is_raw(node) for node in ast.walk(ast.parse(code)))


def test_makefile_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE) for name in line.split()}
    explained = set(re.findall(r"^([a-z-]+):.*## \w", makefile, re.MULTILINE))
    assert phony == explained


def test_compose_file_is_hardened() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    services = {name: service for name, service in compose["services"].items() if "profiles" not in service}
    assert set(services) == {"redis", "worker", "beat", "web"}
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # The web has the image's own
        assert "healthcheck" in service or name == "web", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    applications = [services[name] for name in ("worker", "beat", "web")]
    assert {service["image"] for service in applications} == {f"provisioner:{_pyproject()['project']['version']}"}
    assert [service["command"] for service in applications] == [["worker"], ["beat"], ["web"]]
    for service in applications:
        assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
        assert "./config:/app/config:ro" in service["volumes"]
    server = services["redis"]["command"][0]
    assert "requirepass" in server
    assert "appendonly yes" in server
    assert "maxmemory-policy noeviction" in server


def test_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    known = docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    if not docker or not known:
        pytest.skip("docker compose is not on this machine")
    command = [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_image_is_pinned_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    assert bases == {"${PYTHON}"}
    (base,) = (line.removeprefix("ARG PYTHON=") for line in lines if line.startswith("ARG PYTHON="))
    assert re.fullmatch(r"python:3\.12\.\d+-slim-bookworm", base)
    assert any("--require-hashes" in line for line in lines)
    assert "USER 10001:10001" in lines


def test_unit_is_hardened() -> None:
    unit = UnitParser(strict=False, interpolation=None)
    unit.read(ROOT / "deploy" / "systemd" / "provisioner.service", encoding="utf-8")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/provisioner up")
    assert service["Restart"] == "always"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["User"] == "provisioner"
    assert service["CapabilityBoundingSet"] == ""


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd is not on this machine")
    text = (ROOT / "deploy" / "systemd" / "provisioner.service").read_text(encoding="utf-8")
    # The program need not be installed where the unit looks for it.
    runnable = tmp_path / "provisioner.service"
    runnable.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE))
    checked = subprocess.run([analyze, "verify", str(runnable)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr == ""


def test_every_exception_from_a_rule_says_why() -> None:
    bare = re.compile(r"# (noqa(: ?[A-Z0-9, ]+)?|type: ignore(\[[a-z, -]+\])?)\s*$")
    paths = [*(ROOT / "provisioner").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if bare.search(line)
    ]
    assert found == []
