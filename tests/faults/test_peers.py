"""Peers that answer late, or garbage, and a real orchestrator process over them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

import sensorium
from sensorium.cli.processes import ServiceProcess
from sensorium.errors import DeadlineExceeded, InternalError, SensoriumError, Unavailable
from sensorium.v1.orchestrator_pb2 import SERVICE_STATE_SERVING
from tests.certificates import Authority
from tests.faults.bad_text import GARBAGE, BadText
from tests.services.orchestrator.fakes import FakePeer, started, text_peer, vision_peer

PICTURE = sensorium.image(b"\x89PNG any bytes will do")
CONTENTS = [sensorium.text("words"), PICTURE]


@contextlib.asynccontextmanager
async def orchestrator(
    folder: Path, *peers: FakePeer, **variables: str
) -> AsyncIterator[tuple[ServiceProcess, sensorium.AsyncClient]]:
    """An orchestrator process over peers of this one, once it serves, and its client."""
    environ = {f"SENSORIUM_{peer.name.upper()}_ADDR": peer.address for peer in peers}
    process = ServiceProcess("orchestrator", ("127.0.0.1", 0, 0), environ | variables, folder / "orchestrator.log")
    try:
        await asyncio.to_thread(process.wait_until_serving, 20.0)
        async with sensorium.AsyncClient(process.address, max_tries=1) as client:
            yield process, client
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10.0)


def bugs(process: ServiceProcess) -> list[str]:
    """Returns what it logged as bugs of its own."""
    records = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
    return [str(record) for record in records if record["message"] == "a bug"]


async def test_garbage_of_one_peer_is_told_as_its_own_and_spoils_nothing_else(tmp_path: Path) -> None:
    text, vision = BadText(b""), vision_peer()
    async with (
        started(text, vision),
        orchestrator(tmp_path, text, vision, SENSORIUM_BREAKER_FAILURES="0") as (process, client),
    ):
        for what, text.answer in GARBAGE.items():
            began = time.monotonic()
            answer = await client.embed(CONTENTS, timeout_s=5)
            assert set(answer.errors) == {0}, what
            assert isinstance(answer.errors[0], InternalError), f"{what}: {answer.errors[0]!r}"
            assert time.monotonic() - began < 5, what
            with contextlib.suppress(SensoriumError):
                await client.classify([PICTURE], ["a", "b"], timeout_s=5)
            assert not (await client.embed([PICTURE], timeout_s=5)).errors, what
    assert process.process.returncode == 0
    assert bugs(process) == []


async def test_a_peer_that_is_slow_costs_no_more_than_the_deadline_and_the_others_answer(tmp_path: Path) -> None:
    text, vision = text_peer(), vision_peer()
    async with started(text, vision), orchestrator(tmp_path, text, vision) as (_, client):
        text.gate.clear()
        began = time.monotonic()
        slow = [asyncio.ensure_future(client.embed(CONTENTS, timeout_s=1.0)) for _ in range(8)]
        alone = [await client.embed([PICTURE], timeout_s=1.0) for _ in range(20)]
        errors = await asyncio.gather(*slow, return_exceptions=True)
        took_s = time.monotonic() - began
        text.gate.set()
        while (await client.embed(CONTENTS, timeout_s=5)).errors:  # bounded by the test's own limit
            continue
    assert all(not answer.errors for answer in alone)
    assert all(isinstance(error, DeadlineExceeded) for error in errors), errors
    assert took_s < 2.0


class Unlisted(FakePeer):
    """A peer whose list of models is garbage."""

    def add_services(self, server: grpc.aio.Server) -> None:
        async def listed(request: bytes, context: object) -> bytes:
            del request, context
            return b"\xff\xfe"

        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(listed)
        own = grpc.method_handlers_generic_handler("sensorium.v1.ModelService", {"ListModels": method})
        server.add_generic_rpc_handlers((own,))


async def test_a_peer_whose_list_of_models_is_garbage_holds_up_nobody(tmp_path: Path) -> None:
    text, vision = Unlisted("text", []), vision_peer()
    async with started(text, vision), orchestrator(tmp_path, text, vision) as (_, client):
        answer = await client.embed(CONTENTS, timeout_s=5)
    assert set(answer.errors) == {0}
    assert isinstance(answer.errors[0], Unavailable)


@pytest.mark.parametrize(("days", "is_good"), [(1.0, True), (-0.5, False)])
async def test_a_peer_whose_certificate_is_out_of_date_is_left_alone(
    tmp_path: Path, days: float, is_good: bool
) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    issued = authority.issue(from_days=-1, to_days=days)
    text, vision = text_peer(), vision_peer()
    text.tls = (issued.key_pem, issued.pem)
    good = authority.issue()
    vision.tls = (good.key_pem, good.pem)
    ca = {"SENSORIUM_PEER_CA": str(tmp_path / "ca.pem")}
    async with started(text, vision), orchestrator(tmp_path, text, vision, **ca) as (_, client):
        answer = await client.embed(CONTENTS, timeout_s=5)
        seen = {service.name: service for service in (await client.describe()).services}
    assert set(answer.errors) == (set() if is_good else {0})
    assert seen["vision"].state == SERVICE_STATE_SERVING
    if not is_good:
        assert isinstance(answer.errors[0], Unavailable)
        assert "certificate" in seen["text"].problem.lower(), seen["text"].problem


async def test_a_service_whose_own_certificate_is_out_of_date_does_not_start_and_says_so(tmp_path: Path) -> None:
    cert, key = Authority().issue(from_days=-2, to_days=-1).write(tmp_path, "server")
    environ = {"SENSORIUM_TLS_CERT": cert, "SENSORIUM_TLS_KEY": key}
    process = ServiceProcess("text", ("127.0.0.1", 0, 0), environ, tmp_path / "text.log")
    await asyncio.to_thread(process.process.wait, 20)
    await asyncio.to_thread(process.wait, 5.0)
    assert process.process.returncode != 0
    assert "expired on" in process.log.read_text()
    assert "Traceback" not in process.log.read_text()
