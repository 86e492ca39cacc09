"""EmbedStream: Embed for ingest, gathered into batches, bounded, never refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import numpy as np

from sensorium.errors import InvalidInput, NotFound, Overloaded, Reason
from sensorium.v1 import orchestrator_pb2
from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.orchestrator_pb2 import EmbedStreamRequest, EmbedStreamResponse
from tests.services.orchestrator.fakes import audio_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import (
    Orchestrated,
    audio,
    embedded,
    error_of,
    image,
    orchestrating,
    text,
    vector_of,
)
from tests.services.orchestrator.toys import direction


async def answered(mesh: Orchestrated, requests: Sequence[EmbedStreamRequest]) -> dict[str, EmbedStreamResponse]:
    """Returns the answers by id; there is one each."""
    answers: dict[str, EmbedStreamResponse] = {}
    async for response in mesh.stub.EmbedStream(iter(requests)):
        assert response.id not in answers
        answers[response.id] = response
    return answers


async def test_a_thousand_messages_are_answered_by_id_in_far_fewer_calls() -> None:
    peers = text_peer(), vision_peer(), audio_peer()
    makers = (
        lambda i: text(f"k{i}"),
        lambda i: image(b"k%d" % i),
        lambda i: audio(b"k%d" % i),
        lambda i: embedded(direction(f"k{i}")),
    )
    requests = [EmbedStreamRequest(id=str(i), content=makers[i % 4](i)) for i in range(1000)]
    async with started(*peers), orchestrating(*peers) as mesh:
        answers = await answered(mesh, requests)

    assert set(answers) == {str(i) for i in range(1000)}
    for i in range(1000):
        np.testing.assert_allclose(vector_of(answers[str(i)].result), direction(f"k{i}"), atol=1e-6)
    assert answers["0"].receipt.model == "toy-text"
    for peer in peers:
        assert len(peer.requests) < 125  # of 250 items; how many depends on how fast they come
        assert peer.most_running <= 4


async def test_what_arrives_while_batches_are_on_their_way_leaves_in_one() -> None:
    """No timer: the first few messages leave at once, one by one, the rest together."""
    peer = text_peer()
    peer.gate.clear()
    requests = [EmbedStreamRequest(id=str(i), content=text(str(i))) for i in range(24)]
    async with started(peer), orchestrating(peer) as mesh:
        stream = mesh.stub.EmbedStream()
        for request in requests:
            await stream.write(request)
        await peer.calls(4)
        peer.gate.set()
        await stream.done_writing()
        ids = {response.id async for response in stream}
    assert len(ids) == 24
    assert sum(len(request.texts) for request in peer.requests) == 24
    assert len(peer.requests) < 12


async def test_a_bad_message_is_an_answer_and_never_ends_the_stream() -> None:
    peers = text_peer(), vision_peer()
    requests = [
        EmbedStreamRequest(id="empty"),
        EmbedStreamRequest(id="broken", content=image(b"broken")),
        EmbedStreamRequest(id="nowhere", content=text("a"), space="nowhere@1"),
        EmbedStreamRequest(id="model", content=text("a"), options=EncodeOptions(model="m")),
        EmbedStreamRequest(id="embedding", content=embedded([1.0])),
        EmbedStreamRequest(id="good", content=text("a")),
        EmbedStreamRequest(id="short", content=text("a"), options=EncodeOptions(dimensions=2)),
    ]
    async with started(*peers), orchestrating(*peers) as mesh:
        answers = await answered(mesh, requests)

    assert vector_of(answers["good"].result).size == 8
    assert vector_of(answers["short"].result).size == 2
    errors = {name: error_of(answers[name].result) for name in ("empty", "broken", "nowhere", "model", "embedding")}
    assert {name: error.field for name, error in errors.items()} == {
        "empty": "content",
        "broken": "content.image.data",
        "nowhere": "space",
        "model": "options.model",
        "embedding": "content.embedding.values",
    }
    assert isinstance(errors["nowhere"], NotFound)
    assert isinstance(errors["model"], InvalidInput)
    assert errors["broken"].reason is Reason.MEDIA_TRUNCATED


async def test_a_caller_that_does_not_read_is_not_read_from() -> None:
    """The encoder gets no more than the window while nobody takes the answers; once they are taken all come."""
    peer = text_peer()
    count = 4000
    padding = "x" * 4000  # answers and questions together are more than what the connection buffers
    sent = 0

    async def endless() -> AsyncIterator[EmbedStreamRequest]:
        nonlocal sent
        for i in range(count):
            sent = i + 1
            yield EmbedStreamRequest(id=f"{i} {padding}", content=text(str(i)))

    async with started(peer), orchestrating(peer) as mesh:
        stream = mesh.stub.EmbedStream(endless())
        before = -1
        while before != sent:  # until the sender stands still
            before = sent
            for _ in range(20):
                await mesh.stub.Describe(orchestrator_pb2.DescribeRequest())
        assert 0 < sent < count
        ids = {response.id.partition(" ")[0] async for response in stream}
    assert len(ids) == count


async def test_a_full_queue_slows_a_stream_down_and_refuses_nothing() -> None:
    peer = text_peer()
    peer.refusal = Overloaded("the queue is full", retry_after_s=0.01)
    async with started(peer), orchestrating(peer) as mesh:
        stream = mesh.stub.EmbedStream()
        await stream.write(EmbedStreamRequest(id="a", content=text("a")))
        await peer.calls(2)
        peer.refusal = None
        await stream.done_writing()
        responses = [response async for response in stream]
    assert responses[0].result.HasField("embedding")


async def test_a_peer_that_is_down_fails_its_messages_alone() -> None:
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        await peers[1].stop()
        requests = [
            EmbedStreamRequest(id="t", content=text("a")),
            EmbedStreamRequest(id="i", content=image(b"b")),
            EmbedStreamRequest(id="t2", content=text("c")),
        ]
        answers = await answered(mesh, requests)
    assert error_of(answers["i"].result).metadata["service"] == "vision"
    assert answers["t"].result.HasField("embedding")
    assert answers["t2"].result.HasField("embedding")


async def test_a_caller_that_hangs_up_stops_the_encoder() -> None:
    peer = text_peer()
    peer.gate.clear()
    async with started(peer), orchestrating(peer) as mesh:
        stream = mesh.stub.EmbedStream()
        await stream.write(EmbedStreamRequest(id="a", content=text("a")))
        await peer.calls(1)
        stream.cancel()
        await peer.cancelled.wait()


async def test_priority_and_the_default_deadline_of_each_batch_are_passed_on() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        requests = iter([EmbedStreamRequest(id="a", content=text("a"))])
        async for _ in mesh.stub.EmbedStream(requests, metadata=(("x-priority", "batch"),)):
            pass
    assert peer.metadata[0]["x-priority"] == "batch"
    assert peer.time_remaining_s[0] is not None
    assert 25 < peer.time_remaining_s[0] <= 30.1


async def test_an_empty_stream_ends_well() -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        assert await answered(mesh, []) == {}
