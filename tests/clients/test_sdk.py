"""The Python client: what it sends, what it makes of the answers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import grpc.aio
import numpy as np
import pytest
from google.protobuf.message import Message

import sensorium
from sensorium import vectors
from sensorium.errors import InvalidInput, Overloaded, Reason
from sensorium.status import from_status, to_status
from sensorium.v1 import content_pb2, embedding_pb2, orchestrator_pb2, orchestrator_pb2_grpc
from sensorium.v1.embedding_pb2 import ItemResult


class Orchestrator(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """Answers with what it was asked, and keeps requests and metadata."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.metadata: list[dict[str, str]] = []

    async def Embed(
        self, request: orchestrator_pb2.EmbedRequest, context: grpc.aio.ServicerContext[Message, Message]
    ) -> orchestrator_pb2.EmbedResponse:
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        results = [
            ItemResult(embedding=vectors.write(np.full(3, place + 1, np.float32), "toy@1"))
            if content.text != "bad"
            else ItemResult(error=to_status(InvalidInput("is bad", field=f"contents[{place}].text")))
            for place, content in enumerate(request.contents)
        ]
        return orchestrator_pb2.EmbedResponse(results=results)

    async def EmbedStream(
        self,
        requests: AsyncIterator[orchestrator_pb2.EmbedStreamRequest],
        context: grpc.aio.ServicerContext[Message, Message],
    ) -> AsyncIterator[orchestrator_pb2.EmbedStreamResponse]:
        async for request in requests:
            result = ItemResult(embedding=vectors.write(np.ones(3, np.float32), "toy@1"))
            if request.content.text == "bad":
                result = ItemResult(error=to_status(InvalidInput("is bad", field="content.text")))
            yield orchestrator_pb2.EmbedStreamResponse(id=request.id, result=result)

    async def Compare(
        self, request: orchestrator_pb2.CompareRequest, context: grpc.aio.ServicerContext[Message, Message]
    ) -> orchestrator_pb2.CompareResponse:
        error = Overloaded("full", retry_after_s=1.5, metadata={"model": "toy@1"})
        detail = to_status(error).SerializeToString()
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", (("grpc-status-details-bin", detail),))
        raise AssertionError

    async def Fuse(
        self, request: orchestrator_pb2.FuseRequest, context: grpc.aio.ServicerContext[Message, Message]
    ) -> orchestrator_pb2.FuseResponse:
        self.requests.append(request)
        return orchestrator_pb2.FuseResponse()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Orchestrator, str]]:
    servicer, server = Orchestrator(), grpc.aio.server()  # type: ignore[abstract]  # some rpcs stay unimplemented
    orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_answers_are_arrays_in_order_and_errors_stay_with_their_items() -> None:
    async with serving() as (_, address), sensorium.AsyncClient(address) as client:
        answer = await client.embed([sensorium.text("a"), sensorium.text("bad"), sensorium.text("c")])
        assert answer.vectors.dtype == np.float32
        assert np.array_equal(answer.vectors[[0, 2]], [[1, 1, 1], [3, 3, 3]])
        assert np.isnan(answer.vectors[1]).all()
        assert answer.errors[1].field == "contents[1].text"
        assert answer.space == "toy@1"
        with pytest.raises(InvalidInput, match=r"contents\[1\]\.text: is bad"):
            answer.raise_for_errors()


async def test_every_call_carries_an_id_a_priority_and_the_token() -> None:
    async with serving() as (servicer, address), sensorium.AsyncClient(address, token="t0") as client:  # no secret
        await client.embed([sensorium.text("a")])
        await client.embed([sensorium.text("a")], request_id="mine", priority="batch")
        first, second = servicer.metadata
        assert len(first["x-request-id"]) == 32
        assert (first["x-priority"], first["authorization"]) == ("interactive", "Bearer t0")
        assert (second["x-request-id"], second["x-priority"]) == ("mine", "batch")


async def test_options_are_sent_as_given() -> None:
    async with serving() as (servicer, address), sensorium.AsyncClient(address) as client:
        await client.embed([sensorium.text("a")], normalize=False, dimensions=2, encoding="int8", space="toy@1")
        (request,) = servicer.requests
        assert isinstance(request, orchestrator_pb2.EmbedRequest)
        assert (request.space, request.options.dimensions) == ("toy@1", 2)
        assert request.options.HasField("normalize")
        assert not request.options.normalize
        assert request.options.encoding == embedding_pb2.VECTOR_ENCODING_INT8


async def test_rich_errors_become_exceptions_with_all_that_they_say() -> None:
    async with serving() as (_, address), sensorium.AsyncClient(address) as client:
        with pytest.raises(Overloaded) as refusal:
            await client.compare([sensorium.text("a")], [sensorium.text("b")], max_tries=1)
        assert refusal.value.reason is Reason.OVERLOADED
        assert refusal.value.retry_after_s == 1.5
        assert refusal.value.metadata == {"model": "toy@1"}


async def test_a_request_over_the_limit_is_refused_before_it_is_sent() -> None:
    async with serving() as (servicer, address), sensorium.AsyncClient(address) as client:
        with pytest.raises(InvalidInput) as refusal:
            await client.embed([sensorium.image(bytes(65 << 20))])
        assert refusal.value.reason is Reason.MESSAGE_TOO_LARGE
        assert not servicer.requests


async def test_a_stream_gives_every_id_its_vector_or_error() -> None:
    async def contents() -> AsyncIterator[tuple[str, content_pb2.Content]]:
        for at in range(500):
            yield str(at), sensorium.text("bad" if at == 7 else "good")

    async with serving() as (_, address), sensorium.AsyncClient(address) as client:
        answers = {key: answer async for key, answer in client.embed_stream(contents())}
        assert len(answers) == 500
        assert isinstance(answers["7"], InvalidInput)
        assert np.array_equal(answers["8"], [1, 1, 1])  # type: ignore[arg-type]  # it is no error, or this fails


def test_the_client_that_waits_does_the_same(address: str) -> None:
    with sensorium.Client(address) as client:
        assert client.embed([sensorium.text("a")]).vectors.tolist() == [[1, 1, 1]]
        answers = dict(client.embed_stream((str(at), sensorium.text("x")) for at in range(100)))
        assert len(answers) == 100
        for _ in client.embed_stream((str(at), sensorium.text("x")) for at in range(100)):
            break  # leaving a stream early ends it
        with pytest.raises(Overloaded):
            client.compare([sensorium.text("a")], [sensorium.text("b")], max_tries=1)
    client.close()


def test_contents_are_what_their_function_says_never_what_a_string_looks_like(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"123")
    assert sensorium.text(str(file)).text == str(file)
    assert sensorium.image(file).image.data == b"123"
    assert sensorium.audio(b"456").audio.data == b"456"
    with pytest.raises(TypeError, match=r"a picture is a pathlib\.Path, bytes or a numpy array, not str"):
        sensorium.image(str(file))  # type: ignore[arg-type]  # that is the test
    with pytest.raises(TypeError, match="samples need their sample_rate_hz"):
        sensorium.audio(np.zeros(3, np.float32))


def test_pixels_and_samples_travel_without_loss() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    data = np.frombuffer(sensorium.image(pixels).image.data, np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.array_equal(decoded[..., ::-1], pixels)
    pcm = sensorium.audio(np.array([[0.5, -0.5]], np.float32), 8000).audio.pcm
    assert (pcm.channel_count, pcm.sample_rate_hz, pcm.format) == (2, 8000, content_pb2.PCM_FORMAT_FLOAT32)
    assert np.frombuffer(io.BytesIO(pcm.samples).read(), "<f4").tolist() == [0.5, -0.5]
    assert sensorium.audio(np.array([1], np.int16), 8000).audio.pcm.format == content_pb2.PCM_FORMAT_INT16


def test_an_error_survives_the_wire_whole() -> None:
    error = Overloaded("is full", field="texts[1]", metadata={"a": "b"}, retry_after_s=0.25)
    back = from_status(to_status(error))
    assert (type(back), str(back), back.field, back.metadata) == (
        Overloaded,
        "texts[1]: is full",
        "texts[1]",
        {"a": "b"},
    )
    assert (back.reason, back.retry_after_s) == (Reason.OVERLOADED, 0.25)
    assert back.at("contents[4].text").field == "contents[4].text"
