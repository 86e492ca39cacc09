"""The probe against real servers: what is healthy, what is not, over TLS too, and that it ends in time."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sensorium.cli import main as command_line
from sensorium.cli import probe
from services.text.app import serving
from services.text.config import Config
from tests.certificates import Authority
from tests.running import running, server_config

_FILE = Path(probe.__file__)


async def _probed(*arguments: str, environ: dict[str, str] | None = None) -> int:
    return await asyncio.to_thread(probe.main, arguments, environ or {})


async def test_a_service_that_can_answer_is_healthy() -> None:
    async with running(serving, Config) as (_, service):
        address = f"127.0.0.1:{service.port}"
        assert await _probed(address) == probe.HEALTHY
        assert await _probed(address, "--service", "text") == probe.HEALTHY
        assert await _probed(address, "--service", "sensorium.v1.TextEncoderService") == probe.HEALTHY
        assert await _probed("--service", "text", environ={"SENSORIUM_PORT": str(service.port)}) == probe.HEALTHY


async def test_a_draining_service_lives_and_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(serving, Config) as (_, service):
        await service.health.drain()
        address = f"127.0.0.1:{service.port}"
        assert await _probed(address, "--service", "text") == probe.UNHEALTHY
        assert capsys.readouterr().err == f"{address}: sensorium.v1.TextEncoderService is NOT_SERVING\n"
        assert await _probed(address) == probe.HEALTHY


async def test_a_service_that_lives_elsewhere_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(serving, Config) as (_, service):
        assert await _probed(f"127.0.0.1:{service.port}", "--service", "audio") == probe.UNHEALTHY
    assert "NOT_FOUND" in capsys.readouterr().err


async def test_beside_a_server_with_mtls_the_probe_shows_the_servers_certificate(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    cert, key = authority.issue().write(tmp_path, "server")
    tls = server_config(tls_cert=cert, tls_key=key, tls_client_ca=str(tmp_path / "ca.pem"))
    environ = {"SENSORIUM_TLS_CERT": cert, "SENSORIUM_TLS_KEY": key}
    async with running(serving, Config, tls) as (_, service):
        own = {**environ, "SENSORIUM_PORT": str(service.port)}
        assert await _probed("--service", "text", environ=own) == probe.HEALTHY
        assert await _probed("--server-name", "text.elsewhere", environ=own) == probe.UNHEALTHY
        assert await _probed(f"127.0.0.1:{service.port}") == probe.UNHEALTHY  # plain text


@pytest.mark.parametrize("given", ["flags", "variables"])
async def test_a_server_elsewhere_is_reached_by_the_files_that_are_named(tmp_path: Path, given: str) -> None:
    authority, stranger = Authority(), Authority("stranger")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "stranger.pem").write_bytes(stranger.pem)
    cert, key = authority.issue().write(tmp_path, "server")
    files = {
        "ca": str(tmp_path / "ca.pem"),
        **dict(zip(("cert", "key"), authority.issue().write(tmp_path, "me"), strict=True)),
    }
    flags = [text for name, path in files.items() for text in (f"--{name}", path)] if given == "flags" else []
    environ = {} if flags else {f"SENSORIUM_{name.upper()}": path for name, path in files.items()}
    tls = server_config(tls_cert=cert, tls_key=key, tls_client_ca=files["ca"])
    async with running(serving, Config, tls) as (_, service):
        address = f"localhost:{service.port}"
        assert await _probed(address, *flags, environ=environ) == probe.HEALTHY
        assert await _probed(address, "--ca", files["ca"]) == probe.UNHEALTHY  # shows none
        assert (
            await _probed(address, *flags, "--ca", str(tmp_path / "stranger.pem"), environ=environ) == probe.UNHEALTHY
        )


def test_a_listener_that_never_answers_is_unhealthy_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert probe.check(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3)


def test_the_command_says_why_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert command_line(["probe", f"127.0.0.1:{port}", "--timeout", "0.5"]) == probe.UNHEALTHY
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_commands_help_is_the_probes_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["probe", "--help"]) == 0
    assert "sensorium probe --service text" in capsys.readouterr().out


def test_the_file_runs_alone_and_loads_no_other_part_of_ours() -> None:
    shown = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); "
        "print(sorted(name for name in sys.modules if name.startswith('sensorium')))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", shown, str(_FILE)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments", [["--timeout", "0"], ["--timeout", "soon"], ["--cert", "a.pem"], ["a:1", "--cert", "a", "--key", "b"]]
)
def test_what_cannot_be_is_wrong_usage(arguments: Sequence[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        probe.main(arguments, {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["a:1", "--ca", str(tmp_path / "none.pem")], {}) == probe.UNHEALTHY
    assert "none.pem cannot be read" in capsys.readouterr().err
