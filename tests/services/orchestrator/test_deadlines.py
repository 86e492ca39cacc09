"""What travels with a call: its deadline, its cancellation, its metadata."""

from __future__ import annotations

import time

from sensorium.errors import DeadlineExceeded
from sensorium.v1.orchestrator_pb2 import EmbedRequest
from shared.serving.config import ServerConfig
from tests.services.orchestrator.fakes import started, text_peer, vision_peer
from tests.services.orchestrator.harness import image, orchestrating, refused, text

MIXED = EmbedRequest(contents=[text("a"), image(b"b")])


async def test_the_deadline_that_remains_is_passed_on_and_ends_the_call() -> None:
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        peers[1].gate.clear()
        asked = time.monotonic()
        error = await refused(mesh.stub.Embed(MIXED, timeout=0.3))
        assert time.monotonic() - asked < 1.3
        await peers[1].cancelled.wait()
    assert isinstance(error, DeadlineExceeded)
    for peer in peers:
        assert peer.time_remaining_s[0] is not None
        assert 0 < peer.time_remaining_s[0] <= 0.31  # on the wire it is rounded up


async def test_a_call_without_a_deadline_gets_the_default_one() -> None:
    peer = text_peer()
    server = ServerConfig(port=0, metrics_port=0, default_deadline_s=0.2, drain_grace_s=1.0)
    async with started(peer), orchestrating(peer, server=server) as mesh:
        peer.gate.clear()
        error = await refused(mesh.stub.Embed(EmbedRequest(contents=[text("a")])))
    assert isinstance(error, DeadlineExceeded)
    assert peer.time_remaining_s[0] is not None
    assert 0 < peer.time_remaining_s[0] <= 0.21


async def test_an_encoder_that_runs_out_of_time_ends_the_whole_call() -> None:
    peer = text_peer()
    peer.refusal = DeadlineExceeded("too late")
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.Embed(EmbedRequest(contents=[text("a")])))
    assert isinstance(error, DeadlineExceeded)
    assert error.metadata["service"] == "text"


async def test_a_caller_that_hangs_up_stops_the_encoders() -> None:
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        for peer in peers:
            peer.gate.clear()
        call = mesh.stub.Embed(MIXED)
        for peer in peers:
            await peer.calls(1)
        call.cancel()
        for peer in peers:
            await peer.cancelled.wait()


async def test_metadata_is_passed_on() -> None:
    peer = text_peer()
    metadata = (("x-request-id", "r1"), ("x-priority", "batch"), ("authorization", "Bearer t"))
    async with started(peer), orchestrating(peer) as mesh:
        await mesh.stub.Embed(EmbedRequest(contents=[text("a")]), metadata=metadata)
    assert dict(metadata).items() <= peer.metadata[0].items()
