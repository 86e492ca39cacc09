"""What the overlays render to fits together: names that are named exist, and the services take what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.hosting.decoding import DecodingConfig
from shared.serving.config import load
from tests.k8s.rendering import CONFIGS, OVERLAYS, SERVICES, Manifest, container, of_kind, one, rendered

_CLUSTER = ("dev", "production", "gpu")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_overlay_deploys_every_service_once(overlay: str) -> None:
    names = [each["metadata"]["name"] for each in of_kind(rendered(overlay), "Deployment")]
    assert sorted(names) == sorted(SERVICES)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_takes_its_configuration(overlay: str, service: str, tmp_path: Path) -> None:
    """Loaded as the service does it, from the ConfigMap that its Deployment names; mounted files lie elsewhere here."""
    settings = _environment(overlay, service)
    for name, value in settings.items():
        if value.startswith("/"):
            file = tmp_path / value.lstrip("/")
            file.parent.mkdir(exist_ok=True)
            file.touch()
            settings = {**settings, name: str(file)}
    load(CONFIGS[service], (), settings, service)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_file_that_is_named_is_mounted(service: str) -> None:
    mounts = container(one(rendered("production"), "Deployment", service))["volumeMounts"]
    named = {value for value in _environment("production", service).values() if value.startswith("/")}
    assert {value.rpartition("/")[0] for value in named} <= {mount["mountPath"] for mount in mounts}


def _environment(overlay: str, service: str) -> dict[str, str]:
    (source,) = container(one(rendered(overlay), "Deployment", service))["envFrom"]
    settings = one(rendered(overlay), "ConfigMap", source["configMapRef"]["name"])["data"]
    assert isinstance(settings, dict)
    return settings


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_pod_is_restricted(overlay: str, service: str) -> None:
    """As the Pod Security Standards' profile `restricted` has it, and with a root that cannot be written."""
    pod = one(rendered(overlay), "Deployment", service)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    main = container(one(rendered(overlay), "Deployment", service))
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory", "ephemeral-storage"} <= set(main["resources"]["requests"]) & set(
        main["resources"]["limits"]
    )
    assert {mount["name"] for mount in main["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("service", ["audio", "vision"])
def test_decoders_that_take_all_they_may_do_not_end_the_container(service: str) -> None:
    limits = container(one(rendered("production"), "Deployment", service))["resources"]["limits"]
    decoders = int(limits["cpu"]) * DecodingConfig().decode_memory_mb * 1_000_000
    assert int(limits["memory"].removesuffix("Gi")) * 2**30 >= decoders + 1_000_000_000


@pytest.mark.parametrize("overlay", _CLUSTER)
@pytest.mark.parametrize("service", sorted(SERVICES))
def test_what_stands_around_a_deployment_means_that_deployment(overlay: str, service: str) -> None:
    manifests = rendered(overlay)
    deployment = one(manifests, "Deployment", service)["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == service
    mine = deployment["selector"]["matchLabels"]
    assert mine == labels
    headless = one(manifests, "Service", service)["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", False)
    assert headless["selector"] == mine
    assert all(each["labelSelector"]["matchLabels"] == mine for each in _pod(deployment)["topologySpreadConstraints"])
    account = one(manifests, "ServiceAccount", _pod(deployment)["serviceAccountName"])
    assert (account["metadata"]["name"], account["automountServiceAccountToken"]) == (service, False)
    if overlay != "dev":
        assert one(manifests, "PodDisruptionBudget", service)["spec"]["selector"]["matchLabels"] == mine
        scaled = one(manifests, "HorizontalPodAutoscaler", service)["spec"]
        assert scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": service}
        assert scaled["minReplicas"] == 3
        assert [metric["type"] for metric in scaled["metrics"]] == ["Pods", "Resource"]
        assert "replicas" not in deployment, "an apply would undo what the autoscaler did"


def _pod(deployment: Manifest) -> dict[str, Any]:  # Any: YAML
    spec = deployment["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


@pytest.mark.parametrize("overlay", _CLUSTER)
def test_the_orchestrator_calls_the_services_by_name_and_port(overlay: str) -> None:
    for peer in SERVICES.keys() - {"orchestrator"}:
        service = one(rendered(overlay), "Service", peer)
        (port,) = service["spec"]["ports"]
        host = f"{peer}.{service['metadata']['namespace']}.svc.cluster.local"
        assert (
            _environment(overlay, "orchestrator")[f"SENSORIUM_{peer.upper()}_ADDR"] == f"dns:///{host}:{port['port']}"
        )


@pytest.mark.parametrize("overlay", ["production", "gpu"])
@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_speaks_tls_with_its_own_certificate(overlay: str, service: str) -> None:
    manifests = rendered(overlay)
    settings = _environment(overlay, service)
    sides = ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA") + ("PEER_CA", "PEER_CERT", "PEER_KEY") * (
        service == "orchestrator"
    )
    files = {settings[f"SENSORIUM_{side}"] for side in sides}
    assert files == {"/tls/tls.crt", "/tls/tls.key", "/tls/ca.crt"}, "as cert-manager names them"
    certificate = one(manifests, "Certificate", service)["spec"]
    volumes = _pod(one(manifests, "Deployment", service)["spec"])["volumes"]
    assert {"name": "tls", "secret": {"secretName": certificate["secretName"], "defaultMode": 0o440}} in volumes
    assert f"{service}.sensorium.svc.cluster.local" in certificate["dnsNames"]
    assert {"server auth", "client auth"} <= set(certificate["usages"])
    if service != "orchestrator":
        caller = one(manifests, "Certificate", "orchestrator")["spec"]["dnsNames"]
        assert settings["SENSORIUM_TLS_CLIENT_NAMES"] in caller, "nobody else may call the peers"
    assert one(manifests, "Issuer", certificate["issuerRef"]["name"])
    probes = [container(one(manifests, "Deployment", service))[f"{probe}Probe"] for probe in _PROBES]
    assert all("httpGet" in probe and not {"grpc", "exec"} & set(probe) for probe in probes), "no TLS, no process"


_PROBES = ("startup", "liveness", "readiness")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_podman_can_play_the_pods(service: str) -> None:
    main = container(one(rendered("play"), "Deployment", service))
    assert "ports" not in main, "they would all be published on the host"
    assert main["imagePullPolicy"] == "Never"
    assert main["livenessProbe"]["exec"]
    assert {each["kind"] for each in rendered("play")} == {"ConfigMap", "Deployment"}
    settings = _environment("play", service)
    drain_s = float(settings["SENSORIUM_DRAIN_DELAY_S"]) + float(settings["SENSORIUM_DRAIN_GRACE_S"])
    assert drain_s < 10, "podman kills after 10 s"
    mounts = [
        mount["name"] for each in of_kind(rendered("play"), "Deployment") for mount in container(each)["volumeMounts"]
    ]
    assert len(set(mounts)) == len(mounts), "pods share volumes of the same name"


def test_gpus_are_given_to_the_encoders_alone() -> None:
    limits = {
        each["metadata"]["name"]: container(each)["resources"]["limits"]
        for each in of_kind(rendered("gpu"), "Deployment")
    }
    assert {name for name, each in limits.items() if "nvidia.com/gpu" in each} == {"text", "vision", "audio"}
    assert {name for name in SERVICES if "SENSORIUM_PROVIDERS" in _environment("gpu", name)} == {
        "text",
        "vision",
        "audio",
    }
