"""Configuration: defaults, then the environment, then flags; every fault at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.serving.config import ConfigError, ServerConfig, load, option


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
