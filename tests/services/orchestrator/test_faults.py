"""Peers that are down, slow, full or wrong: what is theirs fails, nothing hangs, and they are found again."""

from __future__ import annotations

import asyncio
import time

import pytest

from sensorium.errors import (
    InternalError,
    InvalidInput,
    Overloaded,
    Reason,
    SensoriumError,
    Unavailable,
)
from sensorium.status import from_status
from sensorium.v1 import orchestrator_pb2
from sensorium.v1.orchestrator_pb2 import (
    ClassifyRequest,
    CompareRequest,
    DescribeRequest,
    EmbedRequest,
    EmbedResponse,
    FuseItem,
    FusePart,
    FuseRequest,
    Label,
)
from tests.services.orchestrator.fakes import FakePeer, audio_peer, fusion_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import (
    TEXT,
    Orchestrated,
    audio,
    embedded,
    error_of,
    image,
    orchestrating,
    refused,
    text,
)
from tests.services.orchestrator.toys import direction

MIXED = EmbedRequest(contents=[text("a"), image(b"b")])


def assert_names(error: SensoriumError, peer: FakePeer) -> None:
    assert isinstance(error, Unavailable)
    assert (error.metadata["service"], error.metadata["address"]) == (peer.name, peer.address)
    assert error.retry_after_s is not None


async def embedded_at_last(mesh: Orchestrated) -> EmbedResponse:
    """Asks until every item is answered."""
    while True:
        response = await mesh.stub.Embed(MIXED)
        if all(result.HasField("embedding") for result in response.results):
            return response


async def test_a_peer_that_was_killed_fails_its_own_items_at_once_and_is_found_again_within_three_seconds() -> None:
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        await mesh.stub.Embed(MIXED)
        await peers[1].stop()
        asked = time.monotonic()
        response = await mesh.stub.Embed(MIXED, timeout=10)
        assert time.monotonic() - asked < 1
        assert response.results[0].HasField("embedding")
        assert_names(error_of(response.results[1]), peers[1])

        await mesh.until_state("vision", orchestrator_pb2.SERVICE_STATE_UNREACHABLE)
        assert_names(error_of((await mesh.stub.Embed(MIXED)).results[1]), peers[1])

        await peers[1].start()
        restarted = time.monotonic()
        await embedded_at_last(mesh)
        assert time.monotonic() - restarted < 3


async def test_a_call_in_flight_when_its_peer_is_killed_gets_an_item_error() -> None:
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        peers[1].gate.clear()
        call = asyncio.ensure_future(_embed(mesh))
        await peers[1].calls(1)
        await peers[1].stop()
        response = await call
    assert response.results[0].HasField("embedding")
    assert_names(error_of(response.results[1]), peers[1])


async def _embed(mesh: Orchestrated) -> EmbedResponse:
    return await mesh.stub.Embed(MIXED)


async def test_a_peer_that_was_never_seen_is_unavailable_not_unsupported() -> None:
    peers = text_peer(), vision_peer()
    async with started(peers[1]):
        pass  # it took a port, and left it
    async with started(peers[0]), orchestrating(*peers) as mesh:
        response = await mesh.stub.Embed(MIXED)
        unknown_space = await refused(mesh.stub.Embed(EmbedRequest(contents=[text("a")], space="far@1")))
    assert response.results[0].HasField("embedding")
    assert_names(error_of(response.results[1]), peers[1])
    assert_names(unknown_space, peers[1])


async def test_the_orchestrator_starts_without_peers_and_says_which_it_waits_for() -> None:
    peers = text_peer(), fusion_peer()
    async with started(*peers):
        pass
    async with orchestrating(*peers) as mesh:
        assert_names(await refused(mesh.stub.Embed(EmbedRequest(contents=[text("a")]))), peers[0])
        async with started(*peers):
            await mesh.until(lambda seen: len(seen.spaces) == 1 and seen.spaces[0].can_fuse)
            response = await mesh.stub.Embed(EmbedRequest(contents=[text("a")]))
    assert response.results[0].HasField("embedding")


async def test_every_call_keeps_what_it_can_when_a_peer_is_down() -> None:
    peers = text_peer(), vision_peer(), audio_peer(), fusion_peer()
    parts = [FusePart(content=text("t")), FusePart(content=audio(b"a"))]
    async with started(*peers), orchestrating(*peers) as mesh:
        await peers[2].stop()
        compared = await mesh.stub.Compare(CompareRequest(queries=[text("a"), audio(b"b")], candidates=[image(b"c")]))
        classified = await mesh.stub.Classify(
            ClassifyRequest(contents=[audio(b"b"), image(b"c")], labels=[Label(name="l")])
        )
        fused = await mesh.stub.Fuse(FuseRequest(items=[FuseItem(parts=parts)], allow_partial=True))
        whole = await mesh.stub.Fuse(FuseRequest(items=[FuseItem(parts=parts)]))

    assert_names(from_status(compared.query_errors[0].error), peers[2])
    assert compared.scores[0] == pytest.approx(float(direction("a") @ direction("c")), abs=1e-6)
    assert_names(error_of(classified.results[0]), peers[2])
    assert classified.results[1].HasField("ranking")
    assert list(fused.results[0].modalities) == [TEXT]
    assert_names(from_status(fused.results[0].part_errors[0].error), peers[2])
    assert_names(error_of(whole.results[0]), peers[2])


async def test_labels_need_their_encoder() -> None:
    peers = text_peer(), vision_peer()
    request = ClassifyRequest(contents=[image(b"c")], labels=[Label(name="l")])
    async with started(*peers), orchestrating(*peers) as mesh:
        await peers[0].stop()
        assert_names(await refused(mesh.stub.Classify(request)), peers[0])


async def test_without_the_fusion_service_items_fail_and_foreign_vectors_too() -> None:
    peers = text_peer(), fusion_peer()
    request = FuseRequest(items=[FuseItem(parts=[FusePart(content=text("t"))])])
    foreign = EmbedRequest(contents=[embedded(direction("x"), "other@1"), text("ok")])
    async with started(*peers), orchestrating(*peers) as mesh:
        await peers[1].stop()
        fused = await mesh.stub.Fuse(request)
        carried = await mesh.stub.Embed(foreign)
    assert_names(error_of(fused.results[0]), peers[1])
    assert_names(error_of(carried.results[0]), peers[1])
    assert carried.results[1].HasField("embedding")


async def test_without_having_seen_the_fusion_service_nobody_knows_its_models() -> None:
    peers = text_peer(), fusion_peer()
    async with started(peers[1]):
        pass
    async with started(peers[0]), orchestrating(*peers) as mesh:
        item = FuseItem(parts=[FusePart(content=text("t"))])
        assert_names(await refused(mesh.stub.Fuse(FuseRequest(items=[item]))), peers[1])
        assert_names(await refused(mesh.stub.Fuse(FuseRequest(items=[item], model="m"))), peers[1])
        carried = await mesh.stub.Embed(EmbedRequest(contents=[embedded(direction("x"), "other@1")]))
        assert_names(error_of(carried.results[0]), peers[1])


async def test_a_full_queue_fails_its_items_with_the_time_to_wait() -> None:
    peers = text_peer(), vision_peer()
    peers[1].refusal = Overloaded("the queue is full", metadata={"model": "toy-vision@1"}, retry_after_s=0.7)
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Embed(MIXED)
    error = error_of(response.results[1])
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == pytest.approx(0.7)
    assert error.metadata == {"model": "toy-vision@1", "service": "vision", "address": peers[1].address}
    assert response.results[0].HasField("embedding")


async def test_a_call_of_several_batches_waits_for_room_in_the_queue() -> None:
    """It may be its own first batch that filled it."""
    peer = text_peer()
    labels = [Label(name=f"label {i}") for i in range(300)]
    async with started(peer), orchestrating(peer) as mesh:
        peer.refusal = Overloaded("the queue is full", retry_after_s=0.01)
        call = asyncio.ensure_future(_classify(mesh, ClassifyRequest(contents=[text("x")], labels=labels)))
        await peer.calls(3)
        peer.refusal = None
        response = await call
    assert len(response.results[0].ranking.labels) == 300


async def _classify(mesh: Orchestrated, request: ClassifyRequest) -> orchestrator_pb2.ClassifyResponse:
    return await mesh.stub.Classify(request)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (InternalError("internal error", metadata={"reference": "9f2c"}), InternalError),
        (InvalidInput("has 300 items", reason=Reason.TOO_MANY_ITEMS, field="images"), InvalidInput),
        (Unavailable("the service is loading", reason=Reason.LOADING), Unavailable),
    ],
)
async def test_whatever_an_encoder_refuses_fails_its_own_items(
    refusal: SensoriumError, kind: type[SensoriumError]
) -> None:
    peers = text_peer(), vision_peer()
    peers[1].refusal = refusal
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Embed(MIXED)
    error = error_of(response.results[1])
    assert isinstance(error, kind)
    assert error.reason is refusal.reason
    assert error.metadata["service"] == "vision"
    assert error.field == ("contents[1].image" if refusal.field else "")
    assert response.results[0].HasField("embedding")


async def test_a_model_that_was_unloaded_behind_our_back_is_unavailable_until_the_list_is_read_anew() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        peer.models[0].version = "2"
        response = await mesh.stub.Embed(EmbedRequest(contents=[text("a")]))
        error = error_of(response.results[0])
        await mesh.until(lambda seen: seen.services[0].models[0].version == "2")
        again = await mesh.stub.Embed(EmbedRequest(contents=[text("a")]))
    assert isinstance(error, Unavailable)
    assert error.retry_after_s is not None
    assert again.results[0].HasField("embedding")


async def test_an_address_of_another_service_is_told_as_such() -> None:
    class Elsewhere(FakePeer):
        async def set_serving(self, serving: bool) -> None:
            """Its health knows no service of ours."""

    peer, wrong = text_peer(), Elsewhere("vision", [])
    async with started(peer, wrong), orchestrating(peer, wrong) as mesh:
        await mesh.until_state("vision", orchestrator_pb2.SERVICE_STATE_NOT_SERVING)
        seen = await mesh.stub.Describe(DescribeRequest())
    assert "another service" in seen.services[1].problem
