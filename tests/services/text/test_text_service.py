"""The text service, over gRPC, with the model that ships."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from sensorium import vectors
from sensorium.channel import call
from sensorium.errors import DeadlineExceeded, InvalidInput, NotFound, Reason
from sensorium.status import from_status
from sensorium.v1 import embedding_pb2, text_pb2_grpc
from sensorium.v1.text_pb2 import EncodeTextRequest, EncodeTextStreamRequest, TokenizeRequest
from services.text.app import serving
from services.text.config import Config
from tests.running import metric, running, server_config

TEXTS = ["a dog", "两个小红圆", "two small red circles", "A photo of a CAT.", "seven " * 20, "?"]


async def test_vectors_are_float32_of_length_one_in_one_space_in_request_order() -> None:
    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        response = await call(stub.EncodeText, EncodeTextRequest(texts=TEXTS), timeout_s=10)
        assert len(response.results) == len(TEXTS)
        assert {result.embedding.space for result in response.results} == {"tiny@1"}
        rows = np.stack([vectors.read(result.embedding) for result in response.results])
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        receipt = response.receipt
        assert receipt.model == "tiny-text"
        assert len(receipt.fingerprint) == 16
        assert receipt.token_count > len(TEXTS)
        assert min(receipt.preprocess_ns, receipt.inference_ns, receipt.total_ns, receipt.batch_size) > 0


async def test_a_text_has_the_same_vector_alone_and_in_any_batch() -> None:
    texts = [f"{'a small blue square and ' * (at % 7)}number {at}" for at in range(32)]
    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        together = await call(stub.EncodeText, EncodeTextRequest(texts=texts), timeout_s=10)
        alone = await asyncio.gather(
            *(call(stub.EncodeText, EncodeTextRequest(texts=[text]), timeout_s=10) for text in texts)
        )
        for result, single in zip(together.results, alone, strict=True):
            difference = vectors.read(result.embedding) - vectors.read(single.results[0].embedding)
            assert np.abs(difference).max() < 1e-5


async def test_a_bad_text_fails_alone_and_names_its_field() -> None:
    options = embedding_pb2.EncodeOptions(truncate=False)
    async with running(serving, Config) as (channel, service):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        request = EncodeTextRequest(texts=["a dog", "", "x " * 500], options=options)
        good, empty, long = (await call(stub.EncodeText, request, timeout_s=10)).results
        assert good.HasField("embedding")
        error = from_status(empty.error)
        assert (type(error), error.reason, error.field) == (InvalidInput, Reason.TEXT_EMPTY, "texts[1]")
        error = from_status(long.error)
        assert (type(error), error.reason, error.field) == (InvalidInput, Reason.TEXT_TOO_LONG, "texts[2]")
        assert error.metadata["limit"] == "64"
        reason = "ERROR_REASON_TEXT_EMPTY"
        assert metric(service, f'sensorium_model_item_errors_total{{model="tiny-text@1",reason="{reason}"}}') == 1


async def test_encodings_and_dimensions() -> None:
    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)

        async def encode(**options: object) -> embedding_pb2.Embedding:
            request = EncodeTextRequest(texts=["a dog"], options=embedding_pb2.EncodeOptions(**options))  # type: ignore[arg-type]  # whatever option
            return (await call(stub.EncodeText, request, timeout_s=10)).results[0].embedding

        exact = vectors.read(await encode())
        for encoding, tolerance in ((2, 1e-3), (3, 1e-2)):
            packed = await encode(encoding=encoding)
            assert not packed.values
            assert np.abs(vectors.read(packed) - exact).max() < tolerance
        binary = await encode(encoding=4)
        assert (vectors.read(binary) > 0).tolist() == (exact > 0).tolist()
        short = vectors.read(await encode(dimensions=16))
        assert np.allclose(short, exact[:16] / np.linalg.norm(exact[:16]), atol=1e-6)
        raw = vectors.read(await encode(normalize=False))
        assert np.allclose(raw / np.linalg.norm(raw), exact, atol=1e-6)


@pytest.mark.parametrize(
    ("request_", "kind", "reason", "field"),
    [
        (EncodeTextRequest(), InvalidInput, Reason.EMPTY_REQUEST, "texts"),
        (EncodeTextRequest(texts=["a"] * 257), InvalidInput, Reason.TOO_MANY_ITEMS, "texts"),
        (EncodeTextRequest(texts=["a"], prompt_name="query"), NotFound, Reason.PROMPT_NOT_FOUND, "prompt_name"),
        (
            EncodeTextRequest(texts=["a"], options=embedding_pb2.EncodeOptions(model="clip@2")),
            NotFound,
            Reason.MODEL_NOT_FOUND,
            "options.model",
        ),
        (
            EncodeTextRequest(texts=["a"], options=embedding_pb2.EncodeOptions(dimensions=129)),
            InvalidInput,
            Reason.FIELD_INVALID,
            "options.dimensions",
        ),
        (
            EncodeTextRequest(texts=["a"], options=embedding_pb2.EncodeOptions(encoding=9)),  # type: ignore[arg-type]  # that is the test
            InvalidInput,
            Reason.FIELD_INVALID,
            "options.encoding",
        ),
    ],
)
async def test_a_bad_request_is_refused_by_field(
    request_: EncodeTextRequest, kind: type[Exception], reason: Reason, field: str
) -> None:
    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        with pytest.raises(kind) as refusal:
            await call(stub.EncodeText, request_, timeout_s=10)
        assert isinstance(refusal.value, InvalidInput | NotFound)
        assert (refusal.value.reason, refusal.value.field) == (reason, field)
        assert (await call(stub.EncodeText, EncodeTextRequest(texts=["a"]), timeout_s=10)).results


async def test_a_message_over_the_limit_is_refused_with_the_limit() -> None:
    async with running(serving, Config, server_config(max_message_bytes=10_000)) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        with pytest.raises(InvalidInput) as refusal:
            await call(stub.EncodeText, EncodeTextRequest(texts=["a" * 11_000]), timeout_s=10)
        assert refusal.value.reason is Reason.MESSAGE_TOO_LARGE
        assert refusal.value.metadata["limit"] == "10000"


async def test_a_stream_answers_every_id_and_a_bad_text_does_not_end_it() -> None:
    async def requests() -> AsyncIterator[EncodeTextStreamRequest]:
        for at in range(1000):
            yield EncodeTextStreamRequest(id=str(at), text=f"item {at}" if at % 100 else "")

    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        responses = {response.id: response async for response in stub.EncodeTextStream(requests(), timeout=20)}
        assert len(responses) == 1000
        bad = {key for key, response in responses.items() if response.result.HasField("error")}
        assert bad == {str(at) for at in range(0, 1000, 100)}
        assert from_status(responses["100"].result.error).field == "text"


async def test_tokenize_says_what_the_model_sees() -> None:
    async with running(serving, Config) as (channel, _):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        request = TokenizeRequest(texts=["two small red circles", "x " * 500, ""])
        short, long, empty = (await call(stub.Tokenize, request, timeout_s=10)).results
        assert len(short.tokens.ids) == len(short.tokens.pieces) > 2
        assert not short.tokens.is_truncated
        assert (len(long.tokens.ids), long.tokens.is_truncated) == (64, True)
        assert from_status(empty.error).field == "texts[2]"


async def test_work_whose_deadline_passed_is_dropped_not_done() -> None:
    texts = [f"some long text number {at} " * 8 for at in range(256)]
    async with running(serving, Config) as (channel, service):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        before = metric(service, 'sensorium_items_total{model="tiny-text@1"}')
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await call(stub.EncodeText, EncodeTextRequest(texts=texts), timeout_s=0.001)
        await call(stub.EncodeText, EncodeTextRequest(texts=["after"]), timeout_s=10)
        done = metric(service, 'sensorium_items_total{model="tiny-text@1"}') - before
        dropped = sum(
            metric(service, f'sensorium_dropped_total{{model="{model}",reason="expired"}}')
            for model in ("tiny-text@1", "")
        )
        assert dropped > 0
        assert done < 5 * len(texts)
