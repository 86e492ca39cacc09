"""The pieces that the calls are made of, by themselves: spaces, scores, batches, receipts, tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc.aio
import numpy as np
import pytest

from sensorium.channel import open_channel
from sensorium.errors import InternalError, NotFound, SensoriumError
from sensorium.v1 import model_pb2
from sensorium.v1.embedding_pb2 import Embedding, ItemResult, Receipt
from sensorium.v1.model_pb2 import Limits
from sensorium.v1.text_pb2 import EncodeTextResponse
from sensorium.versions import version_key
from services.orchestrator.batches import in_batches, vector_of
from services.orchestrator.breaker import Breaker
from services.orchestrator.concurrency import background, run_all
from services.orchestrator.encoders import Encoder, text_encoder, vision_encoder
from services.orchestrator.peer_metrics import PeerMetrics
from services.orchestrator.peers import Peer
from services.orchestrator.receipts import receipt
from services.orchestrator.scores import cosines, probabilities, sigmoid, softmax
from services.orchestrator.spaces import Space, default_space, preference, read_spaces
from shared.serving.call import Call, enter_call
from shared.serving.metrics import Metrics
from tests.services.orchestrator.harness import AUDIO, IMAGE, TEXT
from tests.services.orchestrator.toys import model, sigmoid_calibration, softmax_calibration

NOWHERE = "127.0.0.1:9"


def encoders(channel: grpc.aio.Channel, **models: Sequence[model_pb2.Model]) -> list[Encoder]:
    """Returns encoders whose peers listed these models, by the peers' names."""
    made = []
    for name, make in (("text", text_encoder), ("vision", vision_encoder)):
        peer = Peer(name, NOWHERE, name, channel, Breaker(0, PeerMetrics(Metrics("orchestrator"), name)))
        peer.models, peer.is_known = models.get(name, ()), True
        made.append(make(peer))
    return made


async def test_a_route_takes_the_ready_default_model_then_the_highest_version() -> None:
    async with open_channel(NOWHERE) as channel:
        versions = [model("m", TEXT, version=version, is_default=False) for version in ("9", "10", "1")]
        for each in versions:
            each.is_default = False
        spaces = read_spaces(encoders(channel, text=versions), ())
        assert spaces["toy@1"].routes[TEXT].model.version == "10"
        versions[2].is_default = True
        assert read_spaces(encoders(channel, text=versions), ())["toy@1"].routes[TEXT].model.version == "1"
        versions[2].state = model_pb2.MODEL_STATE_LOADING
        assert read_spaces(encoders(channel, text=versions), ())["toy@1"].routes[TEXT].model.version == "10"
    assert version_key("1.10") > version_key("1.9")
    assert min(versions, key=preference).version == "10"


async def test_an_encoder_is_asked_for_its_own_modality_only() -> None:
    async with open_channel(NOWHERE) as channel:
        spaces = read_spaces(encoders(channel, text=[model("strange", IMAGE), model("t", TEXT)]), ())
    assert list(spaces["toy@1"].routes) == [TEXT]


async def test_the_default_space_is_that_of_most_modalities_whatever_is_added_beside_it() -> None:
    added = model("added", TEXT, space="a@1")  # comes first by its name, so it is the service's default model
    own = model("t", TEXT, space="b@1")
    own.is_default = False
    async with open_channel(NOWHERE) as channel:
        spaces = read_spaces(encoders(channel, text=[added, own], vision=[model("v", IMAGE, space="b@1")]), ())
    assert default_space(spaces) == "b@1"


async def test_among_spaces_of_as_many_modalities_that_of_most_default_models_is_the_default_then_the_text_s() -> None:
    async with open_channel(NOWHERE) as channel:
        alone = read_spaces(encoders(channel, text=[model("t", TEXT, space="b@1")]), ())
        tied = read_spaces(
            encoders(channel, text=[model("t", TEXT, space="b@1")], vision=[model("v", IMAGE, space="a@1")]), ()
        )
        second = model("t2", TEXT, space="a@1")
        most = read_spaces(
            encoders(channel, text=[model("t", TEXT, space="b@1"), second], vision=[model("v", IMAGE, space="a@1")]), ()
        )
    assert default_space(alone) == "b@1"
    assert default_space(tied) == "b@1"
    assert default_space(most) == "a@1"
    assert default_space({}) == ""


def test_a_space_without_text_has_the_name_itself_as_template_and_no_calibration() -> None:
    space = Space("s", 2)
    assert list(space.templates) == ["{}"]
    assert space.calibration(AUDIO) is None


def test_softmax_is_stable_and_leaves_nan_out() -> None:
    np.testing.assert_allclose(softmax(np.asarray([1000.0, 1000.0], np.float32)), [0.5, 0.5])
    result = softmax(np.asarray([0.0, np.nan, 0.0], np.float32))
    np.testing.assert_allclose(result, [0.5, np.nan, 0.5])
    assert np.isnan(softmax(np.asarray([np.nan], np.float32))).all()


def test_sigmoid_is_stable_and_exact_in_its_tails() -> None:
    result = sigmoid(np.asarray([-1000.0, -20.0, 0.0, 1000.0, np.nan], np.float32))
    np.testing.assert_allclose(result, [0.0, 1 / (1 + np.exp(20.0)), 0.5, 1.0, np.nan], rtol=1e-5)


def test_cosines_are_of_directions_and_never_over_one() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 33)).astype(np.float32)
    scores = cosines(rows, 7 * rows)
    np.testing.assert_allclose(np.diag(scores), 1.0, atol=1e-6)
    assert scores.max() <= 1.0
    assert scores.min() >= -1.0


def test_a_sigmoid_without_its_bias_gives_no_probabilities() -> None:
    lacking = sigmoid_calibration()
    lacking.ClearField("logit_bias")
    scores = np.zeros((3, 2), np.float32)
    result = probabilities(scores, [softmax_calibration(), lacking, None])
    np.testing.assert_allclose(result[0], [0.5, 0.5])
    assert np.isnan(result[1:]).all()


async def _lengths(items: Sequence[int], limits: Limits) -> list[int]:
    """Returns the sizes of the batches in which items of so many bytes are sent."""
    enter_call(Call("m", "r", deadline=float("inf")))
    sent: list[int] = []

    async def send(batch: Sequence[int]) -> EncodeTextResponse:
        sent.append(len(batch))
        results = [ItemResult(embedding=Embedding(dim=item)) for item in batch]
        return EncodeTextResponse(results=results, receipt=Receipt(model="m"))

    answer = await in_batches(items, limits, lambda item: item, send, vector_of)
    dims = [outcome.dim for outcome in answer.outcomes if isinstance(outcome, Embedding)]
    assert dims == list(items)
    return sent


async def test_items_are_split_by_count_and_by_bytes_and_keep_their_order() -> None:
    assert await _lengths([1] * 5, Limits()) == [5]
    assert await _lengths([1] * 5, Limits(max_items=2)) == [2, 2, 1]
    assert await _lengths([3000, 3000, 3000], Limits(max_message_bytes=4096 + 7000)) == [2, 1]
    assert await _lengths([10, 99_999, 10], Limits(max_message_bytes=4096 + 7000)) == [1, 1, 1]
    assert await _lengths([40_000_000, 40_000_000], Limits()) == [1, 1]


async def test_a_peer_that_answers_too_few_items_has_a_fault() -> None:
    async def send(batch: Sequence[int]) -> EncodeTextResponse:
        return EncodeTextResponse()

    answer = await in_batches([1, 2], Limits(), lambda item: item, send, vector_of)
    assert len(answer.outcomes) == 2
    for outcome in answer.outcomes:  # theirs alone: what another peer answered is kept
        assert isinstance(outcome, InternalError)
        assert "2 items with 0 results" in outcome.problem


def test_a_receipt_merges_the_batches_of_one_model() -> None:
    parts = [
        Receipt(model="a", token_count=2, queue_ns=3, total_ns=10, cache_hit_count=1),
        Receipt(model="b", pixel_count=5, queue_ns=1, audio_ms=4),
        Receipt(model="a", token_count=4, queue_ns=9, total_ns=7, batch_size=6),
    ]
    whole = receipt(parts, 99)
    assert [(part.model, part.token_count, part.queue_ns, part.total_ns) for part in whole.parts] == [
        ("a", 6, 9, 10),
        ("b", 0, 1, 0),
    ]
    assert (whole.model, whole.token_count, whole.pixel_count, whole.audio_ms) == ("", 6, 5, 4)
    assert (whole.queue_ns, whole.batch_size, whole.cache_hit_count, whole.total_ns) == (9, 6, 1, 99)
    assert receipt([], 1) == Receipt(total_ns=1)


async def test_run_all_raises_the_first_error_bare_and_cancels_the_others() -> None:
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def failing() -> None:
        raise NotFound("none")

    with pytest.raises(SensoriumError, match="none"):
        await run_all(forever(), run_all_of_one(failing()))
    assert cancelled.is_set()


async def run_all_of_one(coroutine: object) -> None:
    await run_all(coroutine)  # type: ignore[arg-type]  # nested groups unwrap too


async def test_the_background_ends_with_its_block_and_the_block_keeps_its_error() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def block() -> None:
        async with background(forever()):
            await asyncio.sleep(0)  # lets it begin
            raise NotFound("none")

    with pytest.raises(NotFound):
        await block()
    assert ended.is_set()
