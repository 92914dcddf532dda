"""The manifests: rules of our own, Kubernetes' schemas and kustomize where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.cli.commands import COMMANDS
from provisioner.settings import load

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
BASE, OVERLAY = ROOT / "base", ROOT / "overlays" / "example"
KINDS = ("Deployment", "StatefulSet")


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    """What a kustomization of ours lists, in its order."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    for name in listed:
        if (folder / name).is_file():
            yield from yaml.safe_load_all((folder / name).read_text(encoding="utf-8"))


ALL = [*documents(BASE), *documents(OVERLAY)]
PODS = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in ALL if one["kind"] in KINDS}
OURS = ("worker", "beat", "web")


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in ALL if one["kind"] == kind}


def component(document: dict[str, Any]) -> str:
    found: str = document["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
    return found


def test_every_file_is_listed() -> None:
    for folder in (BASE, OVERLAY):
        text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
        for path in folder.glob("*.yaml"):
            assert path.name == "kustomization.yaml" or path.name in text


@pytest.mark.parametrize("name", PODS)
def test_no_pod_may_more_than_it_needs(name: str) -> None:
    pod = PODS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", OURS)
def test_our_processes_are_told_their_settings_as_files(name: str) -> None:
    pod = PODS[f"provisioner-{name}"]
    (container,) = pod["containers"]
    assert container["args"] == [name]
    assert name in COMMANDS
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["PROVISIONER_SECRETS_DIR"] == mounts["secrets"]
    assert Path(environment["PROVISIONER_CONFIG"]).parent == Path(mounts["config"])
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["secrets"]["secret"]["secretName"] == "provisioner-secrets"
    assert volumes["config"]["configMap"]["name"] == "provisioner-config"
    assert not any("valueFrom" in one for one in container["env"])


def test_probes_look_where_the_web_answers() -> None:
    (web,) = PODS["provisioner-web"]["containers"]
    # Silent workers do not take the page away
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz?only=redis"
    assert web["livenessProbe"]["httpGet"]["path"] == "/healthz"
    for name in ("provisioner-worker", "provisioner-redis"):
        assert "livenessProbe" in PODS[name]["containers"][0]


def test_budgets_leave_one_of_each_and_do_not_block_a_drain() -> None:
    replicas = {component(one): one["spec"]["replicas"] for one in ALL if one["kind"] in KINDS}
    budgets = {component(one): one["spec"]["minAvailable"] for one in ALL if one["kind"] == "PodDisruptionBudget"}
    assert set(budgets) == set(OURS)
    for name, least in budgets.items():
        assert least < replicas[name]


def test_the_network_is_closed_but_for_what_is_named() -> None:
    policies = named("NetworkPolicy")
    everything = policies["provisioner-default"]["spec"]
    assert (everything["podSelector"], set(everything["policyTypes"])) == ({}, {"Ingress", "Egress"})
    assert "ingress" not in everything
    assert [port["port"] for rule in everything["egress"] for port in rule["ports"]] == [53, 53]
    outside = [name for name, one in policies.items() if "ipBlock" in yaml.safe_dump(one)]
    assert outside == ["provisioner-worker-to-vendors"]
    only_redis = policies["provisioner-redis"]["spec"]["ingress"][0]
    assert only_redis["from"][0]["podSelector"]["matchExpressions"][0]["values"] == list(OURS)


def test_the_redis_server_forgets_nothing() -> None:
    (redis,) = PODS["provisioner-redis"]["containers"]
    script = redis["args"][0]
    for line in (
        "appendonly yes",
        "maxmemory 1gb",
        "maxmemory-policy noeviction",
        "hash-max-ziplist-value 2048",
        'requirepass "$password"',
    ):
        assert line in script
    # It refuses writes, and the alert tells of it, before the kernel kills it
    assert redis["resources"]["limits"]["memory"] == "2Gi"


def test_only_webhooks_are_open_to_the_world() -> None:
    (ingress,) = named("Ingress").values()
    paths = [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert paths == ["/webhooks/"]


def test_the_settings_of_the_overlay_are_complete(tmp_path: Path) -> None:
    for name, secret in {"redis_url": "redis://:p@provisioner-redis:6379/0", "targets__traitly__token": "t"}.items():
        (tmp_path / name).write_text(secret)
    loaded = load(OVERLAY / "provisioner.yaml", environ={"PROVISIONER_SECRETS_DIR": str(tmp_path)})
    assert loaded.warnings == ()
    assert set(loaded.settings.targets) == {"traitly"}
    # The ingress is not on loopback
    assert [one for one in loaded.settings.web.trusted_proxies if not one.is_loopback]


def test_kubernetes_schemas_accept_every_manifest() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in ALL:
        validate.validate(document, validate.latest_version(), strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_the_overlay() -> None:
    command = ["kubectl", "kustomize", str(OVERLAY)]
    built = list(yaml.safe_load_all(subprocess.run(command, capture_output=True, check=True).stdout))
    images = {
        container["image"]
        for one in built
        if one["kind"] in KINDS
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"registry.example.com/provisioner:{version('provisioner')}", "redis:7.4.2-bookworm"}
    assert {one["metadata"].get("namespace", "provisioner") for one in built} == {"provisioner"}
    (settings,) = [one for one in built if one["kind"] == "ConfigMap"]
    for one in built:
        if one["kind"] in KINDS and one["metadata"]["name"] != "provisioner-redis":
            volumes = one["spec"]["template"]["spec"]["volumes"]
            assert {"name": settings["metadata"]["name"]} in [volume.get("configMap") for volume in volumes]
