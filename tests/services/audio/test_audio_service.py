"""The audio service, over gRPC, with the model that ships and sounds made here."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sensorium import vectors
from sensorium.channel import call
from sensorium.errors import InvalidInput, Reason
from sensorium.status import from_status
from sensorium.v1 import audio_pb2_grpc, content_pb2
from sensorium.v1.audio_pb2 import AudioStreamFormat, EncodeAudioRequest, EncodeAudioStreamRequest
from sensorium.v1.content_pb2 import Audio, Pcm
from services.audio.app import serving
from services.audio.config import Config
from tests.running import running
from tests.services.audio.sounds import file, tone

SPOKEN = Path(__file__).parents[3] / "demo" / "inputs" / "spoken-seven-en-us.wav"


def request(*files: bytes, window_ms: int = 0, hop_ms: int = 0) -> EncodeAudioRequest:
    audios = [Audio(data=data) for data in files]
    return EncodeAudioRequest(audios=audios, window_ms=window_ms, hop_ms=hop_ms)


async def test_every_format_rate_and_channel_count_gives_nearly_the_same_vector() -> None:
    sound = tone(1.2)
    files = [
        file(sound, 16_000, subtype="FLOAT"),
        file(sound, 16_000, "FLAC"),
        file(sound, 16_000, "OGG", "VORBIS"),
        file(sound, 16_000, "MP3"),
        file(tone(1.2, 44_100, 2), 44_100, "FLAC"),
        file(tone(1.2, 48_000, 2), 48_000, "OGG", "OPUS"),
        file(tone(1.2, 22_050), 22_050, "WAV", "PCM_24"),
    ]
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        response = await call(stub.EncodeAudio, request(*files), timeout_s=10)
        rows = np.stack([vectors.read(result.embedding) for result in response.results])
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert (rows @ rows[0] > 0.8).all()
        assert not response.windows


async def test_a_clip_has_the_same_vector_alone_and_in_a_batch_and_as_raw_samples() -> None:
    sounds = [tone(0.3 + 0.2 * at, hz=200 + 30 * at) for at in range(32)]
    files = [file(sound, 16_000, subtype="FLOAT") for sound in sounds]
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        together = (await call(stub.EncodeAudio, request(*files), timeout_s=20)).results
        for sound, data, result in list(zip(sounds, files, together, strict=True))[::3]:
            raw = Pcm(samples=sound.tobytes(), format=content_pb2.PCM_FORMAT_FLOAT32, sample_rate_hz=16_000)
            pair = EncodeAudioRequest(audios=[Audio(data=data), Audio(pcm=raw)])
            for single in (await call(stub.EncodeAudio, pair, timeout_s=10)).results:
                assert np.abs(vectors.read(single.embedding) - vectors.read(result.embedding)).max() < 1e-5


async def test_windows_cover_the_clip_and_its_vector_is_their_mean() -> None:
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        data = file(tone(2.7), 16_000, subtype="FLOAT")
        response = await call(stub.EncodeAudio, request(data, b"", window_ms=1000, hop_ms=500), timeout_s=10)
        spans = [(window.start_ms, window.end_ms) for window in response.windows[0].windows]
        assert spans == [(0, 1000), (500, 1500), (1000, 2000), (1500, 2500), (2000, 2700)]
        assert not response.windows[1].windows
        mean = np.mean([vectors.read(window.embedding) for window in response.windows[0].windows], axis=0)
        whole = vectors.read(response.results[0].embedding)
        assert np.allclose(whole, mean / np.linalg.norm(mean), atol=1e-5)


async def test_a_clip_longer_than_the_model_takes_is_heard_to_its_end() -> None:
    word, rate = soundfile.read(SPOKEN, dtype="float32", always_2d=True)
    quiet = np.zeros((rate * 8, 1), np.float32)
    ends_loud = np.concatenate([quiet, word])  # a tone would mean as little to the model as silence
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        silent = np.concatenate([quiet, np.zeros_like(word)])
        files = [file(each, rate, "FLAC") for each in (ends_loud, silent)]
        loud, still = (await call(stub.EncodeAudio, request(*files), timeout_s=10)).results
        assert vectors.read(loud.embedding) @ vectors.read(still.embedding) < 0.99


async def test_live_sound_gives_a_vector_as_soon_as_a_window_is_full() -> None:
    sound = (tone(2.7) * 20_000).astype("<i2")
    expected = [(0, 1000), (500, 1500), (1000, 2000), (1500, 2500), (2000, 2700)]

    async def chunks() -> AsyncIterator[EncodeAudioStreamRequest]:
        yield EncodeAudioStreamRequest(
            format=AudioStreamFormat(
                format=content_pb2.PCM_FORMAT_INT16, sample_rate_hz=16_000, window_ms=1000, hop_ms=500
            )
        )
        for at in range(0, len(sound), 777):
            yield EncodeAudioStreamRequest(samples=sound[at : at + 777].tobytes())

    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        live = [response async for response in stub.EncodeAudioStream(chunks(), timeout=20)]
        assert [(response.start_ms, response.end_ms) for response in live] == expected
        data = file((sound / 32768).astype(np.float32), 16_000, subtype="FLOAT")
        whole = await call(stub.EncodeAudio, request(data, window_ms=1000, hop_ms=500), timeout_s=10)
        for response, window in zip(live, whole.windows[0].windows, strict=True):
            assert np.abs(vectors.read(response.embedding) - vectors.read(window.embedding)).max() < 1e-5


async def test_ten_hours_of_silence_are_refused_from_the_header() -> None:
    data = bytearray(file(np.zeros((16_000, 1), np.float32), 16_000, "FLAC"))
    hours = 10 * 3600 * 16_000  # STREAMINFO: 36 bits of total samples, the last 4 of byte 21 and bytes 22 to 25
    data[21] = (data[21] & 0xF0) | (hours >> 32)
    data[22:26] = (hours & 0xFFFFFFFF).to_bytes(4, "big")
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        started = time.perf_counter()
        results = (await call(stub.EncodeAudio, request(bytes(data)), timeout_s=10)).results
        assert time.perf_counter() - started < 1  # decoding would take seconds
        error = from_status(results[0].error)
        assert (error.reason, error.field) == (Reason.MEDIA_TOO_LARGE, "audios[0].data")
        assert error.metadata["size"] == str(10 * 3600 * 1000)


def nan_wav() -> bytes:
    samples = tone(0.1)
    samples[5] = np.nan
    return file(samples, 16_000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("audio", "reason", "field"),
    [
        (Audio(), Reason.FIELD_MISSING, "source"),
        (Audio(data=b""), Reason.MEDIA_UNDECODABLE, "data"),
        (Audio(data=b"hello"), Reason.MEDIA_UNDECODABLE, "data"),
        (Audio(data=file(tone(0.5), 16_000)[:5000]), Reason.MEDIA_TRUNCATED, "data"),
        (Audio(data=file(tone(0), 16_000)), Reason.MEDIA_UNDECODABLE, "data"),
        (Audio(data=nan_wav()), Reason.MEDIA_UNDECODABLE, "data"),
        (Audio(pcm=Pcm(samples=b"12", sample_rate_hz=16_000)), Reason.FIELD_INVALID, "pcm.format"),
        (Audio(pcm=Pcm(samples=b"12", format=1)), Reason.FIELD_INVALID, "pcm.sample_rate_hz"),  # type: ignore[arg-type]  # INT16
        (Audio(pcm=Pcm(samples=b"123", format=1, sample_rate_hz=8000)), Reason.MEDIA_UNDECODABLE, "pcm.samples"),  # type: ignore[arg-type]  # INT16
        (Audio(pcm=Pcm(format=1, sample_rate_hz=8000)), Reason.MEDIA_UNDECODABLE, "pcm.samples"),  # type: ignore[arg-type]  # INT16
    ],
)
async def test_what_is_no_sound_says_so_and_fails_alone(audio: Audio, reason: Reason, field: str) -> None:
    good = Audio(data=file(tone(0.5), 16_000))
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        results = (await call(stub.EncodeAudio, EncodeAudioRequest(audios=[good, audio]), timeout_s=10)).results
        assert results[0].HasField("embedding")
        error = from_status(results[1].error)
        assert (type(error), error.reason, error.field) == (InvalidInput, reason, f"audios[1].{field}")


@pytest.mark.parametrize(
    ("window_ms", "hop_ms", "field"), [(50, 0, "window_ms"), (0, 50, "window_ms"), (1000, 5, "hop_ms")]
)
async def test_windows_out_of_range_are_refused(window_ms: int, hop_ms: int, field: str) -> None:
    async with running(serving, Config) as (channel, _):
        stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
        with pytest.raises(InvalidInput) as refusal:
            await call(stub.EncodeAudio, request(b"x", window_ms=window_ms, hop_ms=hop_ms), timeout_s=10)
        assert refusal.value.field == field
