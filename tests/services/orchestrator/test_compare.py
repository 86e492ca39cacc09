"""Compare: a matrix of cosines, and of probabilities by the calibration of each query's modality."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason
from sensorium.status import from_status
from sensorium.v1.orchestrator_pb2 import CompareRequest, CompareResponse
from tests.services.orchestrator.fakes import audio_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import audio, embedded, image, orchestrating, refused, text
from tests.services.orchestrator.toys import SPACE, direction


def matrix(response: CompareResponse) -> NDArray[np.float32]:
    return np.asarray(response.scores, np.float32).reshape(response.query_count, response.candidate_count)


def chances(response: CompareResponse) -> NDArray[np.float32]:
    return np.asarray(response.probabilities, np.float32).reshape(response.query_count, response.candidate_count)


async def test_scores_are_cosines_row_by_row_for_every_pair_of_modalities() -> None:
    peers = text_peer(), vision_peer(), audio_peer()
    queries = [text("a"), image(b"b"), audio(b"c"), embedded(3 * direction("d"))]
    candidates = [audio(b"a"), text("b")]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Compare(CompareRequest(queries=queries, candidates=candidates))

    rows = np.stack([direction(key) for key in "abcd"])
    columns = np.stack([direction(key) for key in "ab"])
    np.testing.assert_allclose(matrix(response), rows @ columns.T, atol=1e-6)
    assert matrix(response).max() <= 1.0
    assert response.space == SPACE
    assert [len(peer.requests) for peer in peers] == [1, 1, 1]
    assert len(response.receipt.parts) == 3


async def test_each_row_is_read_by_the_calibration_of_its_querys_modality() -> None:
    """Text is softmax, image sigmoid, audio has none, and a vector goes by the text's."""
    peers = text_peer(), vision_peer(), audio_peer()
    queries = [text("a"), image(b"b"), audio(b"c"), embedded(direction("d"))]
    candidates = [text(name) for name in "xyz"]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Compare(CompareRequest(queries=queries, candidates=candidates))

    scores = matrix(response).astype(np.float64)
    for row in (0, 3):
        weights = np.exp(10.0 * scores[row])
        np.testing.assert_allclose(chances(response)[row], weights / weights.sum(), rtol=1e-5)
    np.testing.assert_allclose(chances(response)[1], 1 / (1 + np.exp(-(10.0 * scores[1] - 5.0))), rtol=1e-5)
    assert np.isnan(chances(response)[2]).all()


async def test_without_any_calibration_there_are_no_probabilities() -> None:
    peer = audio_peer()
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Compare(CompareRequest(queries=[audio(b"a")], candidates=[audio(b"b")]))
    assert len(response.scores) == 1
    assert not response.probabilities


async def test_what_failed_is_nan_and_takes_no_part_in_the_softmax() -> None:
    peers = text_peer(), vision_peer()
    queries = [text("a"), text("broken")]
    candidates = [image(b"b"), image(b"broken"), image(b"c")]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Compare(CompareRequest(queries=queries, candidates=candidates))

    scores, probabilities = matrix(response), chances(response)
    assert np.isnan(scores).tolist() == [[False, True, False], [True, True, True]]
    assert np.isnan(probabilities).tolist() == np.isnan(scores).tolist()
    assert np.nansum(probabilities[0]) == pytest.approx(1.0)
    assert [each.index for each in response.query_errors] == [1]
    assert [each.index for each in response.candidate_errors] == [1]
    assert from_status(response.query_errors[0].error).field == "queries[1].text"
    assert from_status(response.candidate_errors[0].error).field == "candidates[1].image.data"


async def test_a_vector_that_no_model_should_return_is_that_contents_internal_error() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Compare(CompareRequest(queries=[text("nan")], candidates=[text("b")]))
    assert from_status(response.query_errors[0].error).reason is Reason.INTERNAL


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (CompareRequest(candidates=[text("a")]), "queries"),
        (CompareRequest(queries=[text("a")]), "candidates"),
        (CompareRequest(queries=[text("a")] * 257, candidates=[text("a")]), "queries"),
        (CompareRequest(queries=[text("a")], candidates=[text("a")] * 257), "candidates"),
    ],
)
async def test_each_list_has_one_item_to_the_limit(request_: CompareRequest, field: str) -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.Compare(request_))
    assert isinstance(error, InvalidInput)
    assert error.field == field


async def test_two_full_lists_go_in_as_many_calls_as_the_encoder_allows() -> None:
    peer = text_peer()
    full = [text(f"t{i}") for i in range(256)]
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Compare(CompareRequest(queries=full, candidates=full))
    np.testing.assert_allclose(np.diag(matrix(response)), 1.0, atol=1e-6)
    assert [len(request.texts) for request in peer.requests] == [256, 256]
    assert len(response.receipt.parts) == 1
    assert response.receipt.token_count == 512
