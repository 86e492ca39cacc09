"""What the files under `k8s/` say of the services is true of the code. Nothing here needs kubectl."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from shared.serving import config as serving
from shared.serving.config import ServerConfig
from tests.k8s.rendering import CONFIGS, K8S, ROOT, SERVICES, Manifest, container, documents, one

_FILES = sorted(path for path in K8S.rglob("*") if path.suffix in (".yaml", ".yml"))
_PEERS = ("audio", "fusion", "text", "vision")
_DEPLOYMENT = one(documents(K8S / "base" / "service" / "deployment.yaml"), "Deployment", "service")


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_every_file_is_yaml_and_says_something(path: Any) -> None:
    assert documents(path)


def test_every_variable_is_an_option_of_a_service() -> None:
    known = {f"SENSORIUM_{spec.name.upper()}" for kind in CONFIGS.values() for spec in serving._fields(kind)}
    pages = [*_FILES, ROOT / "docs" / "kubernetes.md"]
    pattern = r"SENSORIUM_[A-Z_]*[A-Z](?![A-Z_])"  # not SENSORIUM_TLS_*
    named = {name for path in pages for name in re.findall(pattern, path.read_text())}
    assert named - known == set()


def test_a_pod_is_killed_later_than_its_drain_may_end() -> None:
    (generator,) = documents(K8S / "base" / "service" / "kustomization.yaml")[0]["configMapGenerator"]
    settings = dict(literal.split("=", 1) for literal in generator["literals"])
    drain_s = float(settings["SENSORIUM_DRAIN_DELAY_S"]) + float(settings["SENSORIUM_DRAIN_GRACE_S"])
    head_start_s = container(_DEPLOYMENT)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert _DEPLOYMENT["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= head_start_s + drain_s + 5


def test_ports_are_those_that_the_services_listen_on() -> None:
    ports = {port["name"]: port["containerPort"] for port in container(_DEPLOYMENT)["ports"]}
    assert ports == {"grpc": ServerConfig().port, "http": ServerConfig().metrics_port}


def test_liveness_asks_about_the_process_and_readiness_about_the_service() -> None:
    probes = container(_DEPLOYMENT)
    assert (
        probes["startupProbe"]["httpGet"] == probes["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    )
    declared = {
        f"sensorium.v1.{name}"
        for proto in (ROOT / "protos" / "sensorium" / "v1").glob("*.proto")
        for name in re.findall(r"^service (\w+)", proto.read_text(), re.MULTILINE)
    }
    for service, asked in SERVICES.items():
        assert asked in declared
        patched = yaml.safe_load(_patch(service, "readinessProbe/grpc/service"))
        assert {"op": "add", "path": f"{_MAIN}/readinessProbe/grpc/service", "value": asked} in patched


_MAIN = "/spec/template/spec/containers/0"


def _patch(service: str, about: str) -> str:
    (kustomization,) = documents(K8S / "base" / service / "kustomization.yaml")
    (text,) = (each["patch"] for each in kustomization["patches"] if about in each.get("patch", ""))
    return str(text)


def test_images_have_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    for service in SERVICES:
        (kustomization,) = documents(K8S / "base" / service / "kustomization.yaml")
        (image,) = kustomization["images"]
        assert image == {"name": "service", "newName": f"sensorium-{service}", "newTag": version[1]}
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {compose[service]["image"] for service in SERVICES} == {
        f"sensorium-{each}:{version[1]}" for each in SERVICES
    }
    made = subprocess.run(
        ["make", "-n", "images", "ENGINE=docker"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"--tag sensorium-$service:{version[1]} " in made.stdout
    kserve = (K8S / "examples" / "kserve" / "serving.yaml").read_text()
    assert f"image: sensorium-text:{version[1]}\n" in kserve
    assert f"sensorium-$service:{version[1]}" in (ROOT / "docs" / "kubernetes.md").read_text()


def test_the_network_lets_exactly_the_needed_edges_pass() -> None:
    policies = documents(K8S / "base" / "network.yaml")
    everything, *edges = policies
    assert everything["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert sorted(_passing(edges, "ingress", "from")) == sorted(
        [
            ("orchestrator", "namespaces sensorium-clients=allowed", "8001"),
            *((peer, "orchestrator", "8001") for peer in _PEERS),
            ("all of sensorium", "namespaces kubernetes.io/metadata.name=monitoring: prometheus", "8002"),
        ]
    )
    assert sorted(_passing(edges, "egress", "to")) == sorted(
        [
            *(("orchestrator", peer, "8001") for peer in _PEERS),
            *(("orchestrator", "namespaces kubernetes.io/metadata.name=kube-system: kube-dns", "53") for _ in range(2)),
        ]
    )


def _passing(policies: list[Manifest], direction: str, side: str) -> Iterator[tuple[str, str, str]]:
    """Yields who is spoken of, who is at the other end, and the port, for every edge that a direction lets pass."""
    for policy in policies:
        spec = policy["spec"]
        assert (direction.capitalize() in spec["policyTypes"]) == (direction in spec)
        for rule in spec.get(direction, []):
            assert set(rule) == {side, "ports"}, "a rule without one of the two lets everything pass"
            for peer in rule[side]:
                for port in rule["ports"]:
                    for subject in _named(spec["podSelector"]):
                        yield from ((subject, other, str(port["port"])) for other in _ends(peer))


def _ends(peer: Manifest) -> list[str]:
    assert set(peer) <= {"namespaceSelector", "podSelector"}
    names = _named(peer["podSelector"]) if "podSelector" in peer else [""]
    if "namespaceSelector" not in peer:
        return names
    ((key, value),) = peer["namespaceSelector"]["matchLabels"].items()
    return [f"namespaces {key}={value}" + (f": {name}" if name else "") for name in names]


def _named(selector: Manifest) -> list[str]:
    if "matchExpressions" in selector:
        ((expression),) = selector["matchExpressions"]
        assert expression["operator"] == "In"
        return list(expression["values"])
    ((key, value),) = selector["matchLabels"].items()
    return [f"all of {value}" if key == "app.kubernetes.io/part-of" else value]
