"""Services in whatever order: the orchestrator starts first, and is ready when its peers are."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import sensorium
from sensorium.cli.processes import ServiceProcess
from sensorium.errors import Unavailable
from sensorium.v1.orchestrator_pb2 import SERVICE_STATE_SERVING
from tests.faults.load import PICTURE, until_whole_of


def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return int(reserved.getsockname()[1])


def is_ready(service: ServiceProcess) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/readyz", timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False


async def test_an_orchestrator_that_starts_first_turns_ready_with_its_peers(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("vision", "text")}
    environ = {f"SENSORIUM_{name.upper()}_ADDR": f"127.0.0.1:{port}" for name, port in ports.items()}
    services = [ServiceProcess("orchestrator", ("127.0.0.1", 0, 0), environ, tmp_path / "orchestrator.log")]
    face = services[0]
    try:
        while not face.port:  # it listens; bounded by the test's own limit
            assert face.is_running
            await asyncio.sleep(0.02)
        assert not is_ready(face)
        async with sensorium.AsyncClient(face.address, max_tries=1) as client:
            with pytest.raises(Unavailable) as refusal:
                await client.embed([sensorium.text("early")], timeout_s=5)
            assert refusal.value.retry_after_s is not None
            for name, port in ports.items():
                services.append(ServiceProcess(name, ("127.0.0.1", port, 0), {}, tmp_path / f"{name}.log"))
            await asyncio.to_thread(face.wait_until_serving, 20.0)
            await until_whole_of(client, [sensorium.text("late"), PICTURE])
            states = {service.name: service.state for service in (await client.describe()).services}
        assert is_ready(face)
        assert set(states.values()) == {SERVICE_STATE_SERVING}
    finally:
        for service in services:
            service.terminate()
        for service in services:
            await asyncio.to_thread(service.wait, 10.0)
    assert [service.process.returncode for service in services] == [0, 0, 0]
