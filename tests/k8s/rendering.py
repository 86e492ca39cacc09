"""Reads the manifests of `k8s/`: the files as they are, and the overlays as kustomize renders them."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.audio.config import Config as Audio
from services.fusion.config import Config as Fusion
from services.orchestrator.config import Config as Orchestrator
from services.text.config import Config as Text
from services.vision.config import Config as Vision

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
CONFIGS: dict[str, type[Any]] = {  # Any: the dataclasses have no common base
    "audio": Audio,
    "fusion": Fusion,
    "orchestrator": Orchestrator,
    "text": Text,
    "vision": Vision,
}
SERVICES = {
    "audio": "sensorium.v1.AudioEncoderService",
    "fusion": "sensorium.v1.FusionService",
    "orchestrator": "sensorium.v1.OrchestratorService",
    "text": "sensorium.v1.TextEncoderService",
    "vision": "sensorium.v1.VisionEncoderService",
}
OVERLAYS = ("dev", "production", "gpu", "play")

Manifest = dict[str, Any]  # Any: YAML


def documents(path: Path) -> list[Manifest]:
    """Returns the documents of a file."""
    return [each for each in yaml.safe_load_all(path.read_text()) if each is not None]


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Returns the manifest of a kind and name; there must be exactly one."""
    (found,) = (each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def of_kind(manifests: list[Manifest], kind: str) -> Iterator[Manifest]:
    """Yields the manifests of a kind."""
    return (each for each in manifests if each["kind"] == kind)


def container(deployment: Manifest) -> Manifest:
    """Returns the only container of a Deployment."""
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@functools.cache
def rendered(overlay: str) -> list[Manifest]:
    """Returns what an overlay renders to; skips the test where there is no kubectl that can."""
    run = subprocess.run(
        [_kubectl(), "kustomize", str(K8S / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return [each for each in yaml.safe_load_all(run.stdout) if each is not None]


@functools.cache
def _kubectl() -> str:
    fetched = ROOT / "build" / "lint-k8s" / "bin" / "kubectl"
    found = str(fetched) if fetched.exists() else shutil.which("kubectl")
    if found is not None:
        about = subprocess.run([found, "version", "--client"], capture_output=True, text=True, timeout=60, check=False)
        if "Kustomize Version: v5" in about.stdout:
            return found
    pytest.skip("kubectl 1.27 or newer is missing; `make lint-k8s` fetches one")
