"""Describe and health: what the mesh is made of, and how it fares."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sensorium.v1 import orchestrator_pb2
from sensorium.v1.orchestrator_pb2 import DescribeRequest
from services.orchestrator.config import Config
from shared.serving.config import ConfigError
from tests.services.orchestrator.fakes import audio_peer, fusion_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import AUDIO, IMAGE, TEXT, Orchestrated, orchestrating
from tests.services.orchestrator.toys import DIM, SPACE, model

SERVING = orchestrator_pb2.SERVICE_STATE_SERVING
NOT_SERVING = orchestrator_pb2.SERVICE_STATE_NOT_SERVING
UNREACHABLE = orchestrator_pb2.SERVICE_STATE_UNREACHABLE


async def test_a_whole_mesh() -> None:
    peers = text_peer(), vision_peer(), audio_peer(), fusion_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        seen = await mesh.stub.Describe(DescribeRequest())

    assert seen.version == version("sensorium")
    assert [service.name for service in seen.services] == ["text", "vision", "audio", "fusion", "orchestrator"]
    assert [service.address for service in seen.services] == [*(peer.address for peer in peers), ""]
    assert {service.state for service in seen.services} == {SERVING}
    assert not any(service.problem for service in seen.services)
    assert [[each.name for each in service.models] for service in seen.services] == [
        ["toy-text"],
        ["toy-vision"],
        ["toy-audio"],
        ["toy-fusion", "toy-bridge"],
        [],
    ]
    (space,) = seen.spaces
    assert (space.name, space.dim, list(space.modalities), space.can_fuse) == (SPACE, DIM, [TEXT, IMAGE, AUDIO], True)
    assert (seen.limits.max_items, seen.limits.max_message_bytes) == (256, 64 * 1024 * 1024)
    assert seen.default_deadline_ms == 30_000


async def test_a_peer_that_goes_and_comes_keeps_its_models_and_says_why() -> None:
    peers = text_peer(), vision_peer(), fusion_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        await peers[1].set_serving(False)
        await mesh.until_state("vision", NOT_SERVING)
        await peers[2].stop()
        await mesh.until_state("fusion", UNREACHABLE)
        seen = await mesh.stub.Describe(DescribeRequest())
        assert "does not serve" in seen.services[1].problem
        assert seen.services[2].problem
        assert [len(service.models) for service in seen.services] == [1, 1, 2, 0]
        assert (list(seen.spaces[0].modalities), seen.spaces[0].can_fuse) == ([TEXT], False)

        await peers[1].set_serving(True)
        await peers[2].start()
        await mesh.until(lambda now: list(now.spaces[0].modalities) == [TEXT, IMAGE] and now.spaces[0].can_fuse)


async def test_the_default_space_comes_first() -> None:
    text, vision = text_peer(), vision_peer()
    text.models.append(model("other", TEXT, space="another@1", is_default=True, dim=3))
    async with started(text, vision), orchestrating(text, vision) as mesh:
        seen = await mesh.stub.Describe(DescribeRequest())
    assert [space.name for space in seen.spaces] == [SPACE, "another@1"]
    assert [list(space.modalities) for space in seen.spaces] == [[TEXT, IMAGE], [TEXT]]

    async with started(text, vision), orchestrating(text, vision, default_space="another@1") as mesh:
        seen = await mesh.stub.Describe(DescribeRequest())
    assert [space.name for space in seen.spaces] == ["another@1", SPACE]


async def test_health_is_serving_while_at_least_one_encoder_is() -> None:
    text, fusion = text_peer(), fusion_peer()
    async with started(fusion):
        async with started(text):
            pass
        async with orchestrating(text, fusion) as mesh:
            watch = health_pb2_grpc.HealthStub(mesh.channel).Watch(  # type: ignore[attr-defined]  # not in its stub file
                health_pb2.HealthCheckRequest(service="sensorium.v1.OrchestratorService")
            )
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert (await _state(mesh)).state == NOT_SERVING
            await text.start()
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            assert (await _state(mesh)).state == SERVING
            await text.stop()
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            process = await health_pb2_grpc.HealthStub(mesh.channel).Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]  # as above
            assert process.status == health_pb2.HealthCheckResponse.SERVING
            watch.cancel()


async def _state(mesh: Orchestrated) -> orchestrator_pb2.ServiceDescription:
    seen = await mesh.stub.Describe(DescribeRequest())
    return seen.services[-1]


def test_a_mesh_without_encoders_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigError, match="SENSORIUM_TEXT_ADDR"):
        Config(fusion_addr="localhost:1")
