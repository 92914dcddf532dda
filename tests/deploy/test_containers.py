"""The image and the compose file: their rules, and what of them runs without a container engine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.cli.commands import COMMANDS
from provisioner.settings import load
from tests.cli.calling import call
from tests.support.redis_server import configuration, find_executable, refuses_strangers

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
#: The linter that the development pins bring, beside the Python that runs the tests.
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
(_NETWORK,) = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["networks"]["default"]["ipam"]["config"]
SUBNET = _NETWORK["subnet"]
OWN = {name: service for name, service in SERVICES.items() if service["image"].startswith("provisioner:")}


def has_compose() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_may_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", OWN)
def test_every_service_runs_a_command_that_there_is(name: str) -> None:
    command, *options = OWN[name]["command"]
    assert command in COMMANDS
    words = call(command, "--help").out.split()
    assert {option for option in options if option.startswith("--")} <= set(words)


@pytest.mark.parametrize("name", OWN)
def test_every_service_is_watched_or_says_why_not(name: str) -> None:
    # Beat ends by itself when it is ill, a circle ends anyway, the web has the image's own check
    checked = OWN[name].get("healthcheck", "the image's")
    assert (checked == {"disable": True}) == (name in ("beat", "sandbox-beat", "circle"))


def test_the_processes_run_twice_and_start_again() -> None:
    for name in ("worker", "beat"):
        assert SERVICES[name]["deploy"] == {"replicas": 2}
    for name in ("worker", "beat", "web", "redis"):
        assert SERVICES[name]["restart"] == "unless-stopped"


def test_only_the_sandbox_profile_does_without_secrets() -> None:
    plain = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert plain == {"redis", "worker", "beat", "web"}
    for name, service in SERVICES.items():
        mounts = " ".join(service.get("volumes", []))
        assert ("/run/secrets" in mounts) == (name in plain), name


def test_the_circle_begins_when_everything_is_there() -> None:
    needs = SERVICES["circle"]["depends_on"]
    assert set(needs) == {"sandbox", "sandbox-redis", "sandbox-worker", "sandbox-beat", "sandbox-web"}


def test_the_settings_of_the_containers_are_settings(tmp_path: Path) -> None:
    for name, service in OWN.items():
        environment = dict(service.get("environment", {}))
        if not environment:
            continue
        environment["PROVISIONER_CONFIG"] = str(ROOT / "config" / "provisioner.yaml")
        environment.pop("PROVISIONER_SECRETS_DIR", None)
        (tmp_path / "config").mkdir(exist_ok=True)
        loaded = load(environ=environment)
        assert loaded.warnings == (), name
        assert loaded.settings.web.host == "0.0.0.0", name
        if "sandbox" not in name and name != "circle":
            assert [str(one) for one in loaded.settings.web.trusted_proxies] == [SUBNET], name


def test_the_redis_server_has_its_password_and_forgets_nothing(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = tmp_path / "redis_url"
    secret.write_text("redis://:a-pass+word@redis:6379/0\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(find_executable())
    script = SERVICES["redis"]["command"][0].replace("$$", "$").replace("/run/secrets/redis_url", str(secret))
    script = script.replace("dir /data", f"dir {tmp_path}\nport {port}\nbind 127.0.0.1")
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        [*SERVICES["redis"]["entrypoint"], script], env=environment, stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    try:
        password = "a-pass+word"
        wanted = {
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "appendfsync": "everysec",
            "maxmemory": str(1024**3),
        }
        for name, value in wanted.items():
            assert configuration(port, password, name) == {name: value}
        # The newer name besides the older one, where the server knows both
        assert set(configuration(port, password, "hash-max-*-value").values()) == {"2048"}
        assert refuses_strangers(port)
    finally:
        server.terminate()
        server.wait(10)
    secret.write_text("redis://redis:6379/0\n")
    refused = subprocess.run(
        [*SERVICES["redis"]["entrypoint"], script], env=environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "holds no password" in refused.stderr


def test_the_image_is_built_in_stages_from_pins_and_runs_as_nobody_special() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert "--require-hashes" in DOCKERFILE
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert 'ENTRYPOINT ["provisioner"]' in last


def test_what_the_image_is_built_from_is_handed_to_the_builder() -> None:
    kept = set((ROOT / ".dockerignore").read_text().split())
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in line.split():
            assert f"!{source}" in kept, source
            assert (ROOT / source).exists(), source


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
def test_compose_accepts_the_file() -> None:
    command = ["docker", "compose", "--file", str(COMPOSE), "--profile", "*", "config", "--quiet"]
    subprocess.run(command, check=True)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_a_linter_finds_nothing_wrong_with_the_image(tmp_path: Path) -> None:
    def lint(text: str) -> tuple[int, str]:
        command = [str(HADOLINT), "--no-color", "--failure-threshold", "style", "-"]
        done = subprocess.run(command, input=text, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert lint(DOCKERFILE) == (0, "")
    code, said = lint(
        DOCKERFILE.replace("ARG PYTHON=python:3.12.8-slim-bookworm", "ARG PYTHON=python:latest") + "USER root\n"
    )
    assert code == 1
    assert "DL3002" in said
