"""Embed: any mix of modalities in one call, item by item."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import FailedPrecondition, InternalError, InvalidInput, NotFound, Reason
from sensorium.v1 import embedding_pb2
from sensorium.v1.content_pb2 import Content
from sensorium.v1.embedding_pb2 import Embedding, EncodeOptions
from sensorium.v1.orchestrator_pb2 import EmbedRequest
from tests.services.orchestrator.fakes import audio_peer, fusion_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import (
    audio,
    embedded,
    error_of,
    image,
    orchestrating,
    refused,
    text,
    vector_of,
)
from tests.services.orchestrator.toys import DIM, SPACE, direction


async def test_a_mixed_call_is_answered_in_request_order_with_one_call_an_encoder() -> None:
    peers = text_peer(), vision_peer(), audio_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        contents = [image(b"cat"), text("dog"), audio(b"bark"), text("cow"), image(b"owl")]
        response = await mesh.stub.Embed(EmbedRequest(contents=contents))

    expected = [direction(key) for key in ("cat", "dog", "bark", "cow", "owl")]
    for result, vector in zip(response.results, expected, strict=True):
        assert result.embedding.space == SPACE
        np.testing.assert_allclose(vector_of(result), vector, atol=1e-6)
    assert [len(peer.requests) for peer in peers] == [1, 1, 1]
    assert list(peers[0].requests[0].texts) == ["dog", "cow"]


async def test_the_receipt_sums_up_and_keeps_the_encoders_receipts() -> None:
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        both = await mesh.stub.Embed(EmbedRequest(contents=[text("a"), text("b"), image(b"c")]))
        lone = await mesh.stub.Embed(EmbedRequest(contents=[text("a")]))

    assert [part.model for part in both.receipt.parts] == ["toy-text", "toy-vision"]
    assert (both.receipt.model, both.receipt.preprocess_ns, both.receipt.queue_ns) == ("", 30, 5)
    assert (both.receipt.token_count, both.receipt.batch_size) == (3, 2)
    assert both.receipt.total_ns > 0
    assert (lone.receipt.model, lone.receipt.version, lone.receipt.fingerprint) == ("toy-text", "1", "f1")


async def test_an_item_error_names_the_field_of_the_callers_request_and_fails_no_other() -> None:
    peers = text_peer(), vision_peer(), audio_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        contents = [text("ok"), image(b"fine"), image(b"broken"), audio(b"broken"), text("broken"), Content()]
        response = await mesh.stub.Embed(EmbedRequest(contents=contents))

    assert [result.HasField("embedding") for result in response.results] == [True, True, False, False, False, False]
    errors = [error_of(result) for result in response.results[2:]]
    assert [error.field for error in errors] == [
        "contents[2].image.data",
        "contents[3].audio.data",
        "contents[4].text",
        "contents[5]",
    ]
    assert [error.reason for error in errors] == [Reason.MEDIA_TRUNCATED] * 3 + [Reason.FIELD_MISSING]
    assert all(isinstance(error, InvalidInput) for error in errors)


async def test_options_reach_the_encoders_with_the_model_that_the_orchestrator_chose() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        options = EncodeOptions(dimensions=4, encoding=embedding_pb2.VECTOR_ENCODING_FLOAT16, truncate=False)
        response = await mesh.stub.Embed(EmbedRequest(contents=[text("a")], options=options))

    seen = peer.requests[0].options
    assert (seen.model, seen.dimensions, seen.truncate, seen.HasField("normalize")) == ("toy-text@1", 4, False, False)
    assert (response.results[0].embedding.dim, len(response.results[0].embedding.packed)) == (4, 8)


async def test_an_embedding_is_checked_and_comes_back_as_the_options_say() -> None:
    peer = text_peer()
    vector = np.arange(1, DIM + 1, dtype=np.float32)
    async with started(peer), orchestrating(peer) as mesh:
        plain = await mesh.stub.Embed(EmbedRequest(contents=[embedded(vector), embedded(vector, space="")]))
        raw = await mesh.stub.Embed(EmbedRequest(contents=[embedded(vector)], options=EncodeOptions(normalize=False)))
        short = await mesh.stub.Embed(EmbedRequest(contents=[embedded(vector)], options=EncodeOptions(dimensions=3)))

    for result in plain.results:
        np.testing.assert_allclose(vector_of(result), vector / np.linalg.norm(vector), rtol=1e-6)
        assert result.embedding.space == SPACE
    np.testing.assert_array_equal(vector_of(raw.results[0]), vector)
    np.testing.assert_allclose(vector_of(short.results[0]), vector[:3] / np.linalg.norm(vector[:3]), rtol=1e-6)
    assert not peer.requests


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([np.nan] * DIM, "nan at component 0"),
        ([0.0] * DIM, "all zeros"),
        ([1.0, 2.0], "2 components; vectors of the space toy@1 have 8"),
        ([], "empty"),
    ],
)
async def test_a_bad_embedding_is_an_item_error(values: list[float], problem: str) -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Embed(EmbedRequest(contents=[text("fine"), embedded(values)]))
    error = error_of(response.results[1])
    assert (error.field, error.reason) == ("contents[1].embedding.values", Reason.EMBEDDING_INVALID)
    assert problem in error.problem
    assert response.results[0].HasField("embedding")


async def test_a_packed_embedding_of_the_wrong_length_is_an_item_error() -> None:
    peer = text_peer()
    packed = Embedding(packed=b"\1\2\3", encoding=embedding_pb2.VECTOR_ENCODING_INT8)
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Embed(EmbedRequest(contents=[Content(embedding=packed)]))
    assert error_of(response.results[0]).field == "contents[0].embedding.packed"


async def test_an_embedding_of_another_space_is_carried_over_a_bridge() -> None:
    peers = text_peer(), fusion_peer()
    vector = direction("far")
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Embed(
            EmbedRequest(contents=[text("near"), embedded(vector, "other@1"), embedded([1.0], "other@1")])
        )
    np.testing.assert_allclose(vector_of(response.results[1]), vector[::-1], atol=1e-6)
    assert response.results[1].embedding.space == SPACE
    assert error_of(response.results[2]).field == "contents[2].embedding.values"
    assert [part.model for part in response.receipt.parts] == ["toy-text", "toy-bridge"]
    assert peers[1].requests[0].to_space == SPACE


async def test_without_a_bridge_an_embedding_of_another_space_is_refused_naming_both() -> None:
    peers = text_peer(), fusion_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Embed(EmbedRequest(contents=[embedded(direction("x"), "elsewhere@2"), text("ok")]))
    error = error_of(response.results[0])
    assert isinstance(error, FailedPrecondition)
    assert error.reason is Reason.SPACES_DIFFER
    assert error.metadata == {"from_space": "elsewhere@2", "to_space": SPACE}
    assert error.field == "contents[0].embedding.space"
    assert response.results[1].HasField("embedding")


async def test_a_modality_that_no_model_of_the_space_takes_is_an_item_error() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Embed(EmbedRequest(contents=[image(b"cat")]))
    error = error_of(response.results[0])
    assert isinstance(error, FailedPrecondition)
    assert error.reason is Reason.MODALITY_UNSUPPORTED
    assert error.metadata == {"modality": "image", "space": SPACE}


async def test_a_vector_of_another_space_is_never_passed_off_as_one_of_this() -> None:
    """An encoder that answers in a space that it did not promise has a fault, and the item says so."""
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        peer.models[0].space = "changed@9"
        response = await mesh.stub.Embed(EmbedRequest(contents=[text("a")]))
    error = error_of(response.results[0])
    assert isinstance(error, InternalError)
    assert "changed@9" in error.problem


@pytest.mark.parametrize(
    ("request_", "field", "reason"),
    [
        (EmbedRequest(), "contents", Reason.EMPTY_REQUEST),
        (EmbedRequest(contents=[text("a")] * 257), "contents", Reason.TOO_MANY_ITEMS),
        (EmbedRequest(contents=[text("a")], options=EncodeOptions(model="m")), "options.model", Reason.FIELD_INVALID),
        (
            EmbedRequest(contents=[text("a")], options=EncodeOptions(dimensions=-1)),
            "options.dimensions",
            Reason.FIELD_INVALID,
        ),
        (
            EmbedRequest(contents=[text("a")], options=EncodeOptions(dimensions=DIM + 1)),
            "options.dimensions",
            Reason.FIELD_INVALID,
        ),
        (
            EmbedRequest(contents=[text("a")], options=EncodeOptions(encoding=77)),  # type: ignore[arg-type]  # none such
            "options.encoding",
            Reason.FIELD_INVALID,
        ),
    ],
)
async def test_a_bad_request_is_refused_as_a_whole(request_: EmbedRequest, field: str, reason: Reason) -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.Embed(request_))
    assert isinstance(error, InvalidInput)
    assert (error.field, error.reason) == (field, reason)
    assert not peer.requests


async def test_an_unknown_space_is_not_found_naming_those_that_exist() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.Embed(EmbedRequest(contents=[text("a")], space="nowhere@1")))
    assert isinstance(error, NotFound)
    assert (error.field, error.reason) == ("space", Reason.SPACE_NOT_FOUND)
    assert error.metadata == {"space": "nowhere@1", "available": SPACE}
