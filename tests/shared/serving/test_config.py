"""Configuration: defaults, then the environment, then flags; every fault at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sensorium.targets import target_fault
from services.audio.config import Config as AudioConfig
from services.fusion.config import Config as FusionConfig
from services.orchestrator.config import Config as OrchestratorConfig
from services.text.config import Config as TextConfig
from services.vision.config import Config as VisionConfig
from shared.serving.config import ConfigError, ServerConfig, load, option, option_names
from shared.serving.variables import ELSEWHERE, unknown_variables

KINDS = (TextConfig, VisionConfig, AudioConfig, FusionConfig, OrchestratorConfig)


@dataclass(frozen=True)
class Config:
    """A test's configuration."""

    server: ServerConfig = field(default_factory=ServerConfig)
    models: Path = option(Path("models"), "where models lie")
    ratio: float = option(0.5, "a share", low=0, high=1)


def test_flags_win_over_the_environment_and_that_over_defaults() -> None:
    environ = {"SENSORIUM_PORT": "1", "SENSORIUM_HOST": "0.0.0.0", "SENSORIUM_MODELS": "/m", "SENSORIUM_RATIO": ""}
    config = load(Config, ["--port", "2", "--reflection=off"], environ, "test")
    assert (config.server.port, config.server.host, config.models, config.ratio) == (2, "0.0.0.0", Path("/m"), 0.5)
    assert config.server.reflection is False


def test_every_fault_is_listed_with_its_name() -> None:
    environ = {"SENSORIUM_PORT": "many", "SENSORIUM_REFLECTION": "perhaps", "SENSORIUM_RATIO": "nan"}
    with pytest.raises(ConfigError) as refusal:
        load(Config, ["--metrics-port=70000"], environ, "test")
    said = str(refusal.value)
    assert "SENSORIUM_PORT (--port): 'many' is no whole number" in said
    assert "SENSORIUM_METRICS_PORT (--metrics-port): 70000 is out of range: from 0 to 65535" in said
    assert "SENSORIUM_REFLECTION (--reflection): 'perhaps' is neither on nor off" in said
    assert "SENSORIUM_RATIO (--ratio): nan is out of range: from 0 to 1" in said


def test_help_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        load(Config, ["--help"], {}, "test")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "--drain-grace-s" in shown
    assert "--models" in shown


def test_paths_addresses_and_contradictions_are_listed_with_the_rest(tmp_path: Path) -> None:
    environ = {
        "SENSORIUM_TEXT_ADDR": "text",
        "SENSORIUM_VISION_ADDR": "https://vision:8001",
        "SENSORIUM_AUDIO_ADDR": "dns:///audio:80001",
        "SENSORIUM_TLS_CERT": str(tmp_path / "tls.crt"),
        "SENSORIUM_PEER_CERT": str(tmp_path),
        "SENSORIUM_LOG_LEVEL": "loud",
        "SENSORIUM_HOST": "0.0.0.0:8001",
        "SENSORIUM_PORT": "9000",
        "SENSORIUM_METRICS_PORT": "9000",
        "SENSORIUM_QUOTAS": __file__,
        "SENSORIUM_PROT": "9000",
    }
    with pytest.raises(ConfigError) as refusal:
        load(OrchestratorConfig, [], environ, "test")
    said = str(refusal.value)
    for part in (
        "SENSORIUM_TEXT_ADDR (--text-addr): 'text' has no port",
        "SENSORIUM_VISION_ADDR (--vision-addr): 'https://vision:8001' is a URL",
        "'80001' is no port",
        f"SENSORIUM_TLS_CERT (--tls-cert): there is no file {tmp_path / 'tls.crt'}",
        f"SENSORIUM_PEER_CERT (--peer-cert): {tmp_path} is a folder",
        "'loud' is none of debug, info, warning, error",
        "'0.0.0.0:8001' is no address to listen on",
        "SENSORIUM_PORT and SENSORIUM_METRICS_PORT are both 9000",
        "SENSORIUM_TLS_KEY is not; give both",
        "SENSORIUM_QUOTAS is set, and neither",
        "SENSORIUM_PEER_CERT is set and SENSORIUM_PEER_CA is not",
        "SENSORIUM_PROT is no option; is SENSORIUM_PORT meant?",
    ):
        assert part in said
    assert said.count("\n") == 13


def test_variables_of_other_programs_and_service_links_are_no_typing_errors() -> None:
    environ = {
        "SENSORIUM_TOKEN": "for the command line",
        "SENSORIUM_TEXT_ADDR": "text:8001",
        "SENSORIUM_TEXT_PORT": "tcp://10.0.0.1:8001",
        "SENSORIUM_TEXT_PORT_8001_TCP_ADDR": "10.0.0.1",
        "SENSORIUM_TEXT_SERVICE_PORT_GRPC": "8001",
        "SENSORIUM_WHATEVER": "1",
        "SENSORIUM_UNSET": "",
        "OTHERS": "1",
    }
    found = unknown_variables(option_names(Config), environ)
    assert [sentence.split()[0] for sentence in found] == ["SENSORIUM_WHATEVER"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_program_has_help(kind: type[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        load(kind, ["--help"], {}, "test")
    assert end.value.code == 0
    assert "--drain-grace-s" in capsys.readouterr().out


def test_the_options_of_every_program_are_known_to_all() -> None:
    names = {name for kind in KINDS for name in option_names(kind)}
    assert names <= ELSEWHERE | set(option_names(ServerConfig)), "add it to shared/serving/variables.py"


@pytest.mark.parametrize(
    "address",
    ["localhost:8001", "[::1]:80", "dns:///text.sensorium.svc:8001", "dns://127.0.0.1:53/text:8001", "unix:/run/text",
     "ipv4:10.0.0.1:80,10.0.0.2:80", "dns:text:8001", "text_1:1", "10.0.0.1:8001"],
)  # fmt: skip
def test_targets_that_grpc_takes_are_let_through(address: str) -> None:
    assert target_fault(address) == ""


@pytest.mark.parametrize(
    "address",
    ["", "text", "text:", "text:0", "text:http", ":8001", "dns://text:8001", "::1:8001", "10.0.0.300:1", "a b:1"],
)
def test_what_is_no_target_is_said(address: str) -> None:
    assert repr(address) in target_fault(address)
