"""Fuse: one vector an item, from whatever of its parts is there."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import FailedPrecondition, InvalidInput, NotFound, Reason
from sensorium.status import from_status
from sensorium.v1 import model_pb2
from sensorium.v1.content_pb2 import Content
from sensorium.v1.orchestrator_pb2 import FuseItem, FusePart, FuseRequest
from tests.services.orchestrator.fakes import audio_peer, fusion_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import (
    AUDIO,
    IMAGE,
    TEXT,
    audio,
    embedded,
    error_of,
    image,
    orchestrating,
    refused,
    text,
)
from tests.services.orchestrator.toys import SPACE, direction, model


def item(*parts: Content | FusePart) -> FuseItem:
    return FuseItem(parts=[part if isinstance(part, FusePart) else FusePart(content=part) for part in parts])


async def test_parts_are_encoded_in_one_call_an_encoder_and_joined_in_one() -> None:
    peers = text_peer(), vision_peer(), audio_peer(), fusion_peer()
    items = [
        item(image(b"i"), text("t"), audio(b"a"), text("t2")),
        item(FusePart(content=text("t3"), weight=3.0), FusePart(content=embedded(direction("e")), modality=IMAGE)),
    ]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Fuse(FuseRequest(items=items))

    means = [
        direction("i") + direction("t") + direction("a") + direction("t2"),
        3 * direction("t3") + direction("e"),
    ]
    for result, mean in zip(response.results, means, strict=True):
        np.testing.assert_allclose(list(result.embedding.values), mean / np.linalg.norm(mean), atol=1e-6)
        assert result.embedding.space == SPACE
    assert [list(result.modalities) for result in response.results] == [[TEXT, IMAGE, AUDIO], [TEXT, IMAGE]]
    assert [len(peer.requests) for peer in peers] == [1, 1, 1, 1]
    assert [part.model for part in response.receipt.parts] == ["toy-vision", "toy-text", "toy-audio", "toy-fusion"]
    assert peers[3].requests[0].model == "toy-fusion@1"


async def test_a_part_of_weight_zero_is_left_out() -> None:
    peers = text_peer(), vision_peer(), fusion_peer()
    left_out = FusePart(content=image(b"broken"), weight=0.0)
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Fuse(FuseRequest(items=[item(text("t"), left_out)]))
    np.testing.assert_allclose(list(response.results[0].embedding.values), direction("t"), atol=1e-6)
    assert list(response.results[0].modalities) == [TEXT]
    assert not response.results[0].part_errors
    assert not peers[1].requests


async def test_with_allow_partial_an_item_goes_on_with_what_is_left_and_says_what_failed() -> None:
    peers = text_peer(), vision_peer(), fusion_peer()
    items = [item(image(b"broken"), text("t")), item(text("broken"), Content()), item(text("ok"))]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Fuse(FuseRequest(items=items, allow_partial=True))

    partial, failed, whole = response.results
    np.testing.assert_allclose(list(partial.embedding.values), direction("t"), atol=1e-6)
    assert list(partial.modalities) == [TEXT]
    assert [each.index for each in partial.part_errors] == [0]
    assert from_status(partial.part_errors[0].error).field == "items[0].parts[0].content.image.data"
    assert error_of(failed).field == "items[1].parts[0].content.text"
    assert [each.index for each in failed.part_errors] == [0, 1]
    assert not failed.modalities
    assert whole.HasField("embedding")


async def test_without_allow_partial_a_failed_part_fails_its_item_alone() -> None:
    peers = text_peer(), vision_peer(), fusion_peer()
    items = [item(image(b"broken"), text("t")), item(text("ok"))]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Fuse(FuseRequest(items=items))
    assert error_of(response.results[0]).field == "items[0].parts[0].content.image.data"
    assert [each.index for each in response.results[0].part_errors] == [0]
    assert response.results[1].HasField("embedding")


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (FuseItem(), "items[1].parts"),
        (item(*[text("t")] * 17), "items[1].parts"),
        (item(FusePart(content=text("t"), weight=-1.0)), "items[1].parts[0].weight"),
        (item(FusePart(content=text("t"), weight=1001.0)), "items[1].parts[0].weight"),
        (item(FusePart(content=text("t"), weight=float("nan"))), "items[1].parts[0].weight"),
        (item(FusePart(content=text("t"), weight=0.0)), "items[1].parts"),
        (item(FusePart(content=text("t"), modality=IMAGE)), "items[1].parts[0].modality"),
        (item(embedded(direction("e"))), "items[1].parts[0].modality"),
        (item(FusePart(content=embedded(direction("e")), modality=9)), "items[1].parts[0].modality"),  # type: ignore[arg-type]  # none such
    ],
)
async def test_a_bad_item_is_refused_alone(bad: FuseItem, field: str) -> None:
    peers = text_peer(), fusion_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Fuse(FuseRequest(items=[item(text("ok")), bad], allow_partial=True))
    error = error_of(response.results[1])
    assert isinstance(error, InvalidInput)
    assert error.field == field
    assert response.results[0].HasField("embedding")


async def test_what_the_fusion_service_finds_wrong_is_told_at_the_callers_part() -> None:
    peers = text_peer(), fusion_peer()
    unlucky = item(
        FusePart(content=text("a"), weight=0.0), FusePart(content=text("b")), FusePart(content=text("c"), weight=999.0)
    )
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Fuse(FuseRequest(items=[item(text("broken")), unlucky]))
    assert error_of(response.results[1]).field == "items[1].parts[2]"


async def test_a_model_may_be_named() -> None:
    peers = text_peer(), fusion_peer()
    peers[1].models += [
        model("second", task=model_pb2.MODEL_TASK_FUSE),
        model("far", task=model_pb2.MODEL_TASK_FUSE, space="far@1"),
    ]
    peers[1].models[2].is_default = False
    items = [item(text("t"))]
    async with started(*peers), orchestrating(*peers) as mesh:
        await mesh.stub.Fuse(FuseRequest(items=items, model="second"))
        unknown = await refused(mesh.stub.Fuse(FuseRequest(items=items, model="third")))
        foreign = await refused(mesh.stub.Fuse(FuseRequest(items=items, model="far@1")))
    assert peers[1].requests[0].model == "second@1"
    assert isinstance(unknown, NotFound)
    assert (unknown.field, unknown.reason) == ("model", Reason.MODEL_NOT_FOUND)
    assert set(unknown.metadata["available"].split(", ")) == {"toy-fusion@1", "second@1", "far@1"}
    assert isinstance(foreign, FailedPrecondition)
    assert foreign.reason is Reason.SPACES_DIFFER


async def test_without_a_fusion_model_the_call_is_refused_before_anything_is_encoded() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.Fuse(FuseRequest(items=[item(text("t"))])))
        empty = await refused(mesh.stub.Fuse(FuseRequest()))
    assert isinstance(error, FailedPrecondition)
    assert error.metadata == {"space": SPACE}
    assert isinstance(empty, InvalidInput)
    assert not peer.requests
