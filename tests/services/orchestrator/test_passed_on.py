"""Windows, Predict, Project, Tokenize: what the services offer, through the orchestrator's one open port."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.errors import FailedPrecondition, InvalidInput, NotFound, Reason, Unavailable
from sensorium.v1.content_pb2 import Audio
from sensorium.v1.embedding_pb2 import Embedding, EncodeOptions
from sensorium.v1.orchestrator_pb2 import (
    EmbedWindowsRequest,
    FuseItem,
    FusePart,
    OrchestratorServicePredictRequest,
    OrchestratorServiceProjectRequest,
    OrchestratorServiceTokenizeRequest,
)
from tests.services.orchestrator.fakes import audio_peer, fusion_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import error_of, image, orchestrating, refused, text, vector_of
from tests.services.orchestrator.toys import PREDICTOR, SPACE, direction, model


async def test_windows_come_with_their_times_and_a_broken_clip_fails_alone() -> None:
    peer = audio_peer()
    request = EmbedWindowsRequest(
        audios=[Audio(data=each) for each in (b"a", b"broken", b"b")],
        window_ms=500,
        hop_ms=250,
        options=EncodeOptions(dimensions=4),
    )
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.EmbedWindows(request, timeout=5)
    first, broken, last = response.results
    assert [(each.start_ms, each.end_ms) for each in first.windows.windows] == [(0, 500), (250, 750)]
    np.testing.assert_allclose(list(last.windows.windows[1].embedding.values), direction("b")[:4], atol=1e-6)
    assert (error_of(broken).reason, error_of(broken).field) == (Reason.MEDIA_TRUNCATED, "audios[1].data")
    assert 0 < (peer.time_remaining_s[0] or 0) <= 5.5  # gRPC rounds up
    assert peer.requests[0].options.model == "toy-audio@1"


@pytest.mark.parametrize(
    ("window_ms", "reason"), [(0, Reason.FIELD_MISSING), (20, Reason.FIELD_INVALID)], ids=["unset", "too short"]
)
async def test_a_window_that_cannot_be_is_the_fault_of_the_call(window_ms: int, reason: Reason) -> None:
    peer = audio_peer()
    request = EmbedWindowsRequest(audios=[Audio(data=b"a"), Audio(data=b"b")], window_ms=window_ms)
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.EmbedWindows(request))
    assert isinstance(error, InvalidInput)
    assert (error.field, error.reason) == ("window_ms", reason)


async def test_windows_of_a_mesh_without_sound_are_refused() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.EmbedWindows(EmbedWindowsRequest(audios=[Audio(data=b"a")], window_ms=500)))
    assert isinstance(error, FailedPrecondition)
    assert error.reason is Reason.MODALITY_UNSUPPORTED


def signed(key: str) -> float:
    """Returns the first component of a text's vector, which the toy predictor's class goes by."""
    return float(direction(key)[0])


POSITIVE = next(key for key in "abcdefgh" if signed(key) > 0)
NEGATIVE = next(key for key in "abcdefgh" if signed(key) < 0)


async def test_contents_are_encoded_and_predicted_from_and_errors_name_the_callers_fields() -> None:
    peers = text_peer(), vision_peer(), fusion_peer(PREDICTOR)
    items = [
        FuseItem(parts=[FusePart(content=text(POSITIVE)), FusePart(content=image(b"x"))]),
        FuseItem(parts=[FusePart(content=text("skipped"), weight=0), FusePart(content=text(NEGATIVE))]),
        FuseItem(parts=[FusePart(content=image(b"broken"))]),
        FuseItem(),
    ]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Predict(OrchestratorServicePredictRequest(items=items))
    good, negative, broken, empty = response.results
    (best,) = good.prediction.classes
    assert best.label == "high"
    assert best.probability == pytest.approx(signed(POSITIVE), abs=1e-6)
    assert error_of(negative).field == "items[1].parts[1]"
    assert error_of(broken).field == "items[2].parts[0].content.image.data"
    assert error_of(empty).field == "items[3].parts"
    assert peers[2].requests[0].model == "toy-head@1"


@pytest.mark.parametrize(
    ("fields", "kind", "field"),
    [
        ({"model": "nobody"}, NotFound, "model"),
        ({"model": "toy-fusion"}, NotFound, "model"),
        ({"model": "toy-head", "space": "other@1"}, NotFound, "space"),
        ({"model": "far-head", "space": SPACE}, FailedPrecondition, "model"),
        ({"top_k": -1}, InvalidInput, "top_k"),
        ({"items": []}, InvalidInput, "items"),
    ],
)
async def test_a_prediction_that_no_model_can_make_is_refused(
    fields: dict[str, Any], kind: type[Exception], field: str
) -> None:
    peers = text_peer(), fusion_peer(PREDICTOR, model("far-head", task=PREDICTOR.task, space="far@1"))
    request = OrchestratorServicePredictRequest(**{"items": [FuseItem(parts=[FusePart(content=text("a"))])], **fields})
    async with started(*peers), orchestrating(*peers) as mesh:
        error = await refused(mesh.stub.Predict(request))
    assert isinstance(error, kind)
    assert error.field == field


async def test_without_a_predictor_the_refusal_says_so_and_while_nothing_is_known_to_try_again() -> None:
    peers, hidden = (text_peer(), fusion_peer()), fusion_peer(PREDICTOR)
    request = OrchestratorServicePredictRequest(items=[FuseItem(parts=[FusePart(content=text("a"))])])
    async with started(*peers), orchestrating(*peers) as mesh:
        error = await refused(mesh.stub.Predict(request))
    assert isinstance(error, FailedPrecondition)
    assert error.problem == f"no predictor of the space {SPACE} is loaded"
    async with started(peers[0]), orchestrating(peers[0], hidden) as mesh:
        assert isinstance(await refused(mesh.stub.Predict(request)), Unavailable)


async def test_vectors_are_carried_to_another_space_and_a_strange_one_fails_alone() -> None:
    peers = text_peer(), fusion_peer()
    there, here = direction("there"), direction("here")
    embeddings = [
        Embedding(values=there.tolist(), space="other@1"),
        Embedding(values=(2 * here).tolist(), space=SPACE),
        Embedding(values=here.tolist(), space="strange@1"),
    ]
    async with started(*peers), orchestrating(*peers) as mesh:
        request = OrchestratorServiceProjectRequest(embeddings=embeddings, to_space=SPACE)
        response = await mesh.stub.Project(request)
        unset = await refused(mesh.stub.Project(OrchestratorServiceProjectRequest(embeddings=embeddings)))
        request = OrchestratorServiceProjectRequest(embeddings=embeddings, to_space="nowhere@1")
        unknown = await refused(mesh.stub.Project(request))
    np.testing.assert_allclose(vector_of(response.results[0]), there[::-1], atol=1e-6)
    np.testing.assert_allclose(vector_of(response.results[1]), here, atol=1e-6)
    strange = error_of(response.results[2])
    assert (strange.reason, strange.field) == (Reason.SPACES_DIFFER, "embeddings[2].space")
    assert (unset.reason, unset.field) == (Reason.FIELD_MISSING, "to_space")
    assert (unknown.reason, unknown.field) == (Reason.SPACE_NOT_FOUND, "to_space")


async def test_the_python_client_reads_windows_predictions_and_projections() -> None:
    peers = text_peer(), audio_peer(), fusion_peer(PREDICTOR)
    sounds = [sensorium.audio(b"a"), sensorium.audio(b"broken")]
    async with (
        started(*peers),
        orchestrating(*peers) as mesh,
        sensorium.AsyncClient(f"127.0.0.1:{mesh.port}") as client,
    ):
        windows = await client.embed_windows(sounds, 500, 250)
        predicted = await client.predict([[sensorium.text(POSITIVE)], [sensorium.text(NEGATIVE)]])
        carried = await client.project([sensorium.embedding(direction("there"), "other@1")], SPACE)
        with pytest.raises(TypeError, match="windows are of sounds, not of text"):
            await client.embed_windows([sensorium.text("a")], 500)
        with pytest.raises(TypeError, match="only embeddings are carried"):
            await client.project([sensorium.text("a")], SPACE)
    assert [len(clip) for clip in windows.clips] == [2, 0]
    assert windows.clips[0].end_ms.tolist() == [500, 750]
    np.testing.assert_allclose(windows.clips[0].vectors, [direction("a")] * 2, atol=1e-6)
    assert windows.errors[1].field == "audios[1].data"
    assert [len(classes) for classes in predicted.predictions] == [1, 0]
    assert repr(predicted) == "Predictions(['high', None], errors=1)"
    assert predicted.errors[1].field == "items[1].parts[0]"
    np.testing.assert_allclose(carried.vectors, [direction("there")[::-1]], atol=1e-6)
    assert carried.space == SPACE


async def test_tokens_are_those_of_the_text_model_of_the_space() -> None:
    peer = text_peer(prompt_names=["query"])
    request = OrchestratorServiceTokenizeRequest(texts=["ab", "", "c"], prompt_name="query", truncate=False)
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Tokenize(request)
    assert [list(each.tokens.pieces) for each in response.results] == [["a", "b"], [], ["c"]]
    assert (error_of(response.results[1]).reason, error_of(response.results[1]).field) == (
        Reason.TEXT_EMPTY,
        "texts[1]",
    )
    (asked,) = peer.requests
    assert (asked.model, asked.prompt_name, asked.truncate) == ("toy-text@1", "query", False)
    assert response.receipt.model == "toy-text"
