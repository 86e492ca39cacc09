"""What the Dockerfile, the compose file and the lock files say of the services is true of the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sensorium.cli import probe
from services.audio import config as audio
from services.fusion import config as fusion
from services.orchestrator import config as orchestrator
from services.text import config as text
from services.vision import config as vision
from shared.serving.config import ServerConfig, option_names

_ROOT = Path(__file__).resolve().parents[2]
_CONFIGS: dict[str, type[Any]] = {  # Any: the dataclasses have no common base
    "audio": audio.Config,
    "fusion": fusion.Config,
    "orchestrator": orchestrator.Config,
    "text": text.Config,
    "vision": vision.Config,
}
_DOCKERFILE = (_ROOT / "Dockerfile").read_text()
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "compose.yaml").read_text())  # Any: YAML
_SERVICES = {name: each for name, each in _COMPOSE["services"].items() if name not in ("prometheus", "grafana")}


def test_compose_builds_every_service_once() -> None:
    assert {name: each["build"]["args"]["SERVICE"] for name, each in _SERVICES.items()} == {
        name: name for name in _CONFIGS
    }


@pytest.mark.parametrize("service", sorted(_CONFIGS))
def test_every_variable_is_one_that_its_service_reads(service: str) -> None:
    known = {f"SENSORIUM_{name.upper()}" for name in option_names(_CONFIGS[service])}
    assert set(re.findall(r"SENSORIUM_[A-Z_]+", _DOCKERFILE)) <= known
    assert set(_SERVICES[service].get("environment", ())) <= known


def test_the_orchestrator_is_told_where_every_peer_is() -> None:
    addresses = _SERVICES["orchestrator"]["environment"]
    peers = set(_CONFIGS) - {"orchestrator"}
    assert addresses == {f"SENSORIUM_{name.upper()}_ADDR": f"dns:///{name}:{ServerConfig().port}" for name in peers}


def test_the_image_exposes_the_ports_that_the_services_listen_on() -> None:
    exposed = re.search(r"^EXPOSE (.+)$", _DOCKERFILE, re.MULTILINE)
    assert exposed
    assert exposed[1].split() == [str(ServerConfig().port), str(ServerConfig().metrics_port)]


def test_every_container_is_locked_down() -> None:
    for name, each in _COMPOSE["services"].items():
        assert each["read_only"], name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert each["mem_limit"], name
        assert each["pids_limit"], name
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", ())), name


def test_containers_are_stopped_later_than_a_drain_may_end() -> None:
    config = ServerConfig()
    for each in _SERVICES.values():
        assert int(each["stop_grace_period"].removesuffix("s")) > config.drain_delay_s + config.drain_grace_s


def test_what_prometheus_mounts_is_there() -> None:
    mounted = [each.split(":")[0] for each in _COMPOSE["services"]["prometheus"]["volumes"] if each.startswith("./")]
    assert mounted
    assert all((_ROOT / each).is_file() for each in mounted)


def test_the_probe_knows_every_service_by_its_full_name() -> None:
    declared = {
        f"sensorium.v1.{name}"
        for proto in (_ROOT / "protos" / "sensorium" / "v1").glob("*.proto")
        for name in re.findall(r"^service (\w+)", proto.read_text(), re.MULTILINE)
    }
    assert set(probe.SERVICES) == set(_CONFIGS)
    assert set(probe.SERVICES.values()) <= declared


@pytest.mark.parametrize("name", [*sorted(_CONFIGS), "text-openvino", "vision-openvino", "audio-openvino"])
def test_a_lock_names_what_its_service_asks_for_and_every_hash(name: str) -> None:
    """Only names are compared: `make lock` resolves versions, and needs a package index."""
    service, _, extra = name.partition("-")
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        _name(each) for each in [*project["dependencies"], *extras["serving"], *extras[service], *extras.get(extra, ())]
    }
    if extra:
        wanted.remove("onnxruntime")  # onnxruntime-openvino takes its place
    lock = (_ROOT / "requirements" / f"{name}.txt").read_text()
    locked = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    assert wanted - {"sensorium"} <= locked
    assert not extra or "onnxruntime" not in locked
    assert all("--hash=sha256:" in each for each in re.split(r"^(?=\S+==)", lock, flags=re.MULTILINE)[1:])


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return found[0].lower()


@pytest.mark.parametrize(
    ("says", "arguments", "code"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', [], 0),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": []}]}]}', [], 1),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', [], 0),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', ["--required"], 2),
        ("ConnectionError", [], 0),
    ],
)
def test_the_audit_fails_on_findings_and_says_when_it_could_not_look(
    tmp_path: Path, says: str, arguments: list[str], code: int
) -> None:
    fake = tmp_path / "pip-audit"  # in place of the real one, which needs the network
    fake.write_text(f"#!/bin/sh\ncat << 'E'\n{says}\nE\n")
    fake.chmod(0o755)
    python = shutil.which("python3")
    assert python
    done = subprocess.run(
        [python, str(_ROOT / "requirements" / "audit.py"), *arguments],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("NOT AUDITED" in done.stdout) == ("vulns" not in says)
