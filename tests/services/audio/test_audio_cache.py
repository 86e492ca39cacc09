"""The audio service knows a clip, each of its windows and a piece of live sound when it hears them again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from sensorium.channel import call
from sensorium.v1 import audio_pb2, audio_pb2_grpc, content_pb2
from sensorium.v1.audio_pb2 import AudioStreamFormat, EncodeAudioRequest, EncodeAudioStreamRequest
from sensorium.v1.content_pb2 import Audio, Pcm
from services.audio.app import serving
from services.audio.config import Config
from tests.running import metric, running
from tests.services.audio.sounds import file, tone

SOUND = (tone(2.7) * 20_000).astype("<i2")


async def encode(channel: Any, *audios: Audio, window_ms: int = 0, hop_ms: int = 0) -> audio_pb2.EncodeAudioResponse:
    request = EncodeAudioRequest(audios=audios, window_ms=window_ms, hop_ms=hop_ms)
    return await call(audio_pb2_grpc.AudioEncoderServiceStub(channel).EncodeAudio, request, timeout_s=10)


def pcm(samples: Any, rate: int = 16_000) -> Audio:
    """Returns raw sound. Any: an array of int16."""
    raw = Pcm(samples=samples.tobytes(), format=content_pb2.PCM_FORMAT_INT16, sample_rate_hz=rate)
    return Audio(pcm=raw)


async def test_a_repeated_clip_keeps_its_vector_its_windows_and_its_length() -> None:
    clip = Audio(data=file(tone(2.7), 16_000, "FLAC"))
    async with running(serving, Config) as (channel, service):
        first, again = [await encode(channel, clip, window_ms=1000, hop_ms=500) for _ in range(2)]
        assert again.results == first.results
        assert again.windows == first.windows
        assert [window.start_ms for window in again.windows[0].windows] == [0, 500, 1000, 1500, 2000]
        assert (first.receipt.cache_hit_count, again.receipt.cache_hit_count) == (0, 1)
        assert again.receipt.audio_ms == first.receipt.audio_ms == 2700
        assert metric(service, "sensorium_items_total") == 5


async def test_how_a_clip_is_cut_and_its_rate_make_it_another_one_but_known_windows_stay_known() -> None:
    async with running(serving, Config) as (channel, service):
        await encode(channel, pcm(SOUND), window_ms=1000, hop_ms=500)
        before = metric(service, "sensorium_items_total")
        assert not (await encode(channel, pcm(SOUND))).receipt.cache_hit_count
        assert not (await encode(channel, pcm(SOUND, 8_000))).receipt.cache_hit_count
        rehopped = await encode(channel, pcm(SOUND[:32_000]), window_ms=1000, hop_ms=1000)
        assert rehopped.receipt.cache_hit_count == 1
        assert metric(service, "sensorium_items_total") > before


async def test_the_same_samples_in_a_file_and_raw_have_one_vector() -> None:
    samples = (SOUND / 32768).astype(np.float32)
    async with running(serving, Config) as (channel, _):
        raw = await encode(channel, pcm(SOUND))
        wav = await encode(channel, Audio(data=file(samples, 16_000, "WAV", "FLOAT")))
        assert (raw.receipt.cache_hit_count, wav.receipt.cache_hit_count) == (0, 1)
        assert wav.results == raw.results


async def test_live_sound_that_was_heard_before_is_not_computed_again() -> None:
    async def chunks() -> AsyncIterator[EncodeAudioStreamRequest]:
        int16 = content_pb2.PCM_FORMAT_INT16
        yield EncodeAudioStreamRequest(format=AudioStreamFormat(format=int16, sample_rate_hz=16_000, window_ms=1000))
        for at in range(0, len(SOUND), 4_000):
            yield EncodeAudioStreamRequest(samples=SOUND[at : at + 4_000].tobytes())

    async with running(serving, Config) as (channel, service):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        first, again = [[each async for each in stub.EncodeAudioStream(chunks(), timeout=20)] for _ in range(2)]
        assert [each.embedding for each in again] == [each.embedding for each in first]
        assert [each.receipt.cache_hit_count for each in first] == [0, 0, 0]
        assert [each.receipt.cache_hit_count for each in again] == [1, 1, 1]
        assert metric(service, "sensorium_items_total") == 3
