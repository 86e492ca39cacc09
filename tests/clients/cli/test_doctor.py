"""`sensorium doctor`: a whole mesh is found to be well, and what is wrong with one is said with what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sensorium.cli.diagnosis.finding import Finding
from sensorium.cli.diagnosis.reach import Tls, check_clock, check_tls
from sensorium.cli.doctor import diagnose
from sensorium.cli.mesh import Mesh
from sensorium.targets import read_target
from services.orchestrator.app import serving
from services.orchestrator.config import Config
from tests.certificates import Authority
from tests.clients.cli.conftest import Run
from tests.running import server_config
from tests.services.orchestrator.fakes import FakePeer, audio_peer, started, text_peer, vision_peer


def test_a_mesh_that_is_well(ask: Run, mesh: Mesh) -> None:
    metrics_port = mesh.service("orchestrator").metrics_port
    done = ask("doctor", "--json", "--metrics-port", metrics_port)
    findings = {each["check"]: each for each in json.loads(done.out)}

    assert done.code == 0
    assert {each["state"] for each in findings.values()} == {"ok", "skipped"}
    assert findings["TLS"]["state"] == "skipped"
    assert findings["clock"]["state"] == "ok"
    assert "tiny-text@1" in findings["text service"]["found"]
    assert findings["one space"]["found"] == "text, image, audio can be compared with one another"
    assert all(findings[f"embed {kind}"]["ms"] > 0 for kind in ("text", "image", "audio"))


def test_the_table_shows_what_to_do(ask: Run, run: Run) -> None:
    well = ask("doctor")
    with socket.socket() as reserved:  # bound, and nobody listens
        reserved.bind(("127.0.0.1", 0))
        ill = run("doctor", "--address", f"127.0.0.1:{reserved.getsockname()[1]}")

    assert well.code == 0
    assert "0 failed" in well.out
    assert ill.code == 1
    assert "Connection refused" in ill.out
    assert "→ is the server running" in ill.out


@pytest.mark.parametrize(
    ("address", "check", "found"),
    [("nowhere.invalid:8001", "address", "nowhere.invalid"), ("an encoder", "orchestrator", "but the text service")],
)
def test_a_wrong_address(mesh: Mesh, run: Run, address: str, check: str, found: str) -> None:
    given = mesh.service("text").address if address == "an encoder" else address
    done = run("doctor", "--json", "--address", given, "--timeout", "1")
    last = json.loads(done.out)[-1]

    assert done.code == 1
    assert (last["check"], last["state"]) == (check, "failed")
    assert found in last["found"]
    assert last["fix"]


def test_what_is_no_address_is_a_wrong_usage(run: Run) -> None:
    done = run("doctor", "--address", "http://mesh:8001")
    assert done.code == 2
    assert "is a URL" in done.err


@contextlib.asynccontextmanager
async def orchestrator(*peers: FakePeer, **server: Any) -> AsyncIterator[str]:
    """Any: fields of ServerConfig."""
    addresses: dict[str, Any] = {f"{peer.name}_addr": peer.address for peer in peers}
    config = Config(server=server_config(drain_grace_s=1.0, **server), **addresses)
    async with serving(config) as running:
        yield f"127.0.0.1:{running.port}"


async def diagnosed(address: str) -> dict[str, Finding]:
    found = await asyncio.to_thread(diagnose, address, read_target(address), 5.0, 1)
    return {finding.check: finding for finding in found}


async def test_a_peer_that_is_down_and_spaces_that_differ() -> None:
    text, vision, audio = text_peer(), vision_peer(space="other@1"), audio_peer()
    async with started(text, vision), orchestrator(text, vision, audio) as address:
        findings = await diagnosed(address)
        # Until both were listed; bounded by the test's own limit.
        while {findings["embed image"].state, findings["embed text"].state} != {"ok"}:
            findings = await diagnosed(address)

    assert findings["audio service"].state == "failed"
    assert "SENSORIUM_AUDIO_ADDR" in findings["audio service"].fix
    assert findings["one space"].state == "warning"
    assert "a bridge" in findings["one space"].fix
    assert findings["embed text"].state == "ok"
    assert findings["embed audio"].state == "skipped"


def tls_finding(port: int, ca: str | None, host: str = "localhost") -> Finding:
    return check_tls(("127.0.0.1", port), host, Tls(ca), 5.0)


@pytest.mark.parametrize(
    ("days", "state", "found"),
    [(90, "ok", "good for 90 days"), (3, "warning", "good for 3 days")],
)
async def test_the_life_of_a_certificate(tmp_path: Path, days: float, state: str, found: str) -> None:
    authority, ca = Authority(), tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    cert, key = authority.issue(to_days=days + 0.1).write(tmp_path, "server")
    text = text_peer()
    async with started(text), orchestrator(text, tls_cert=cert, tls_key=key) as address:
        port = int(address.rpartition(":")[2])
        trusted = await asyncio.to_thread(tls_finding, port, str(ca))
        by_another_name = await asyncio.to_thread(tls_finding, port, str(ca), "example.org")
        unspoken = await asyncio.to_thread(tls_finding, port, None)
        ca.write_bytes(Authority("another").pem)
        untrusted = await asyncio.to_thread(tls_finding, port, str(ca))

    assert trusted.state == state
    assert found in trusted.found
    assert by_another_name.state == "failed"
    assert "name of the certificate" in by_another_name.fix
    assert unspoken.state == "failed"
    assert "--ca" in unspoken.fix
    assert untrusted.state == "failed"
    assert "authority" in untrusted.fix


async def test_a_server_that_wants_a_certificate_of_ours(tmp_path: Path) -> None:
    authority, ca = Authority(), tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    cert, key = authority.issue().write(tmp_path, "server")
    text = text_peer()
    server = {"tls_cert": cert, "tls_key": key, "tls_client_ca": str(ca)}
    async with started(text), orchestrator(text, **server) as address:
        port = int(address.rpartition(":")[2])
        without = await asyncio.to_thread(tls_finding, port, str(ca))
        shown = Tls(str(ca), *authority.issue("client").write(tmp_path, "client"))
        with_one = await asyncio.to_thread(check_tls, ("127.0.0.1", port), "localhost", shown, 5.0)

    assert without.state == "failed"
    assert "--cert" in without.fix
    assert with_one.state == "ok"


@pytest.fixture
def late_clock() -> Iterator[int]:
    """The port of an HTTP server whose clock is ten minutes late."""

    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Late) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(5)


def test_a_clock_that_is_late(late_clock: int) -> None:
    finding = check_clock("127.0.0.1", late_clock, 5.0)
    assert finding.state == "failed"
    assert "600 s" in finding.found or "599 s" in finding.found
