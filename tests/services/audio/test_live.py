"""Live sound: a message of any length costs what its windows cost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium.errors import InvalidInput
from sensorium.v1 import audio_pb2, audio_pb2_grpc, content_pb2
from services.audio.app import serving
from services.audio.clips import Windows, pieces, read_samples
from services.audio.config import Config
from services.audio.live import LiveWindows
from tests.running import running


def test_windows_of_one_large_message_are_those_of_many_small_ones_and_none_of_it_is_kept() -> None:
    sound = np.arange(16_000 * 60, dtype="<i2").tobytes()
    live = LiveWindows(Windows(1000, 500), 16_000)
    format_ = content_pb2.PCM_FORMAT_INT16
    got = [window for piece in pieces(sound, format_, 1) for window in live.push(piece)]
    kept = sum(each.nbytes if each.base is None else each.base.nbytes for each in live._held)
    assert kept <= 4 * 16_000
    whole = read_samples(sound, format_, 1)
    assert [(start, end) for start, end, _ in got] == [(at, at + 1000) for at in range(0, 59_001, 500)]
    for start_ms, end_ms, samples in got:
        assert np.array_equal(samples, whole[16 * start_ms : 16 * end_ms])


def test_a_message_that_is_no_whole_number_of_samples_is_refused_before_any_of_it_is_used() -> None:
    with pytest.raises(InvalidInput, match="no multiple of 2"):
        next(pieces(bytes((1 << 20) + 1), content_pb2.PCM_FORMAT_INT16, 1))


async def test_others_have_their_turn_while_a_large_message_of_live_sound_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, seen, push = 0, list[int](), LiveWindows.push

    def watched(live: LiveWindows, chunk: NDArray[np.float32]) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        seen.append(turns)
        return push(live, chunk)

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(LiveWindows, "push", watched)
    stated = audio_pb2.AudioStreamFormat(
        format=content_pb2.PCM_FORMAT_INT16, sample_rate_hz=16_000, window_ms=1000, hop_ms=3_600_000
    )
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        messages = [
            audio_pb2.EncodeAudioStreamRequest(format=stated),
            audio_pb2.EncodeAudioStreamRequest(samples=bytes(8 << 20)),
        ]
        task = asyncio.ensure_future(other())
        answers = [answer async for answer in stub.EncodeAudioStream(iter(messages), timeout=20)]
        task.cancel()
    assert len(answers) == 1
    assert len(seen) > 10
    assert len(set(seen)) == len(seen)  # a turn of the loop between any two pieces
