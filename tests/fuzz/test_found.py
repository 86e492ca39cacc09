"""What the fuzzers found, so that it stays mended."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
import soundfile

from sensorium.errors import InvalidInput, Reason
from sensorium.v1.orchestrator_pb2 import EmbedStreamRequest, EmbedStreamResponse
from services.audio.decode import AudioLimits, decode
from tests.fuzz.corpus import FOLDER
from tests.services.orchestrator.fakes import started, text_peer
from tests.services.orchestrator.harness import orchestrating, text

LIMITS = AudioLimits(1 << 20, 60_000, 1_000_000)


def test_a_wav_of_gsm_which_cannot_be_searched_in_is_decoded() -> None:
    samples, rate = decode((FOLDER / "sounds" / "gsm610.wav").read_bytes(), LIMITS)
    assert (rate, samples.dtype.str) == (8000, "<f4")
    assert 1200 <= samples.size < 1200 + 320  # whole blocks
    assert 0.8 < np.abs(samples).max() < 1.2


@pytest.mark.parametrize("loudest", [1e11, -3e38])
def test_samples_whose_squares_are_no_float32_are_refused(loudest: float) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.array([0.5, loudest, 0.25], np.float32), 8000, "FLOAT", format="WAV")
    with pytest.raises(InvalidInput, match="scale them to -1 … 1") as refusal:
        decode(file.getvalue(), LIMITS)
    assert refusal.value.reason is Reason.MEDIA_UNDECODABLE


async def test_a_stream_that_breaks_has_answers_to_what_came_before_and_ends() -> None:
    peer = text_peer()
    peer.gate.clear()
    is_over = asyncio.Event()
    ids = []

    async def requests() -> AsyncIterator[bytes]:
        yield EmbedStreamRequest(id="a", content=text("a")).SerializeToString()
        yield b"\xff no protobuf"
        peer.gate.set()
        await is_over.wait()  # a client of grpc.aio that goes on sending hides the status of a stream that has ended

    async def take(channel: grpc.aio.Channel) -> None:
        path = "/sensorium.v1.OrchestratorService/EmbedStream"
        stream: Any = channel.stream_stream(path, response_deserializer=EmbedStreamResponse.FromString)
        async for response in stream(requests(), timeout=10):
            ids.append(response.id)  # noqa: PERF401  # those before the error are kept

    async with started(peer), orchestrating(peer) as mesh:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await take(mesh.channel)
        is_over.set()
    assert ids == ["a"]
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
