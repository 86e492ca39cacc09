"""Pictures and sounds are decoded in other processes: to the same bits, and at nobody else's risk."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import grpc.aio
import numpy as np
import pytest
import soundfile

from sensorium import vectors
from sensorium.channel import call
from sensorium.errors import FailedPrecondition, InvalidInput, Reason
from sensorium.status import from_status
from sensorium.v1 import audio_pb2, audio_pb2_grpc, content_pb2, embedding_pb2, vision_pb2, vision_pb2_grpc
from services.audio.app import serving as serving_audio
from services.audio.config import Config as AudioConfig
from services.vision.app import serving as serving_vision
from services.vision.config import Config as VisionConfig
from shared.hosting.config import HostingConfig
from shared.hosting.decoding import DecodingConfig
from tests.running import metric, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation is for Linux")

ROOT = Path(__file__).parents[2]
FOLDERS = ("demo/inputs", "tests/conformance/inputs", "tests/conformance/inputs/odd", "tests/fixtures/images")
SOUNDS = {".wav", ".flac", ".ogg", ".mp3"}
UNCACHED = HostingConfig(cache_mb=0)
PLACES = ("inline", "isolated")


def files(*, are_sounds: bool) -> list[bytes]:
    """Returns every picture, or every sound, that lies in the repository, and a part of each."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.*"))]
    whole = [path.read_bytes() for path in found if (path.suffix in SOUNDS) == are_sounds and path.suffix != ".md"]
    return [*whole, *(data[: len(data) * 2 // 3] for data in whole)]


def outcome(result: embedding_pb2.ItemResult) -> bytes | str:
    """Returns the bits of a vector, or all that an error says."""
    if result.HasField("error"):
        error = from_status(result.error)
        return f"{error.reason} {error.field} {error.problem} {error.metadata}"
    return vectors.read(result.embedding).tobytes()


async def encode_images(channel: grpc.aio.Channel, *data: bytes) -> list[embedding_pb2.ItemResult]:
    request = vision_pb2.EncodeImageRequest(images=[content_pb2.Image(data=each) for each in data])
    stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
    return list((await call(stub.EncodeImage, request, timeout_s=20)).results)


async def encode_audios(channel: grpc.aio.Channel, *data: bytes) -> list[embedding_pb2.ItemResult]:
    request = audio_pb2.EncodeAudioRequest(audios=[content_pb2.Audio(data=each) for each in data])
    stub = audio_pb2_grpc.AudioEncoderServiceStub(channel)
    return list((await call(stub.EncodeAudio, request, timeout_s=20)).results)


async def test_every_picture_and_every_refusal_is_the_same_to_the_bit() -> None:
    found = []
    for place in PLACES:
        decoding = DecodingConfig(decode=place)
        async with running(serving_vision, VisionConfig, hosting=UNCACHED, decoding=decoding) as (channel, service):
            data = files(are_sounds=False)
            found.append([outcome((await encode_images(channel, each))[0]) for each in data])
            assert metric(service, "sensorium_decoder_restarts_total") == 0
    assert len(found[0]) > 60
    assert found[0] == found[1]


async def test_every_sound_and_every_refusal_is_the_same_to_the_bit() -> None:
    found = []
    for place in PLACES:
        decoding = DecodingConfig(decode=place)
        async with running(serving_audio, AudioConfig, hosting=UNCACHED, decoding=decoding) as (channel, service):
            data = files(are_sounds=True)
            found.append([outcome((await encode_audios(channel, each))[0]) for each in data])
            assert metric(service, "sensorium_decoder_restarts_total") == 0
    assert len(found[0]) > 40
    assert found[0] == found[1]


async def test_a_picture_that_takes_too_much_memory_fails_alone() -> None:
    large = bytes(cv2.imencode(".png", np.zeros((6000, 6000, 3), np.uint8))[1])  # 108 MB of pixels in 105 kB
    deep = bytes(cv2.imencode(".tiff", np.zeros((5000, 5000, 4), np.uint8))[1])  # by the other library
    small = bytes(cv2.imencode(".png", np.zeros((60, 60, 3), np.uint8))[1])
    decoding = DecodingConfig(decode_memory_mb=64)
    async with running(serving_vision, VisionConfig, decoding=decoding) as (channel, service):
        results = await encode_images(channel, small, large, small, deep)
        assert [result.HasField("error") for result in results] == [False, True, False, True]
        for place in (1, 3):
            error = from_status(results[place].error)
            assert isinstance(error, InvalidInput)
            assert (error.reason, error.field) == (Reason.MEDIA_TOO_LARGE, f"images[{place}].data")
            assert "takes more than 64 MB of memory to decode" in error.problem
        assert metric(service, 'sensorium_decoder_restarts_total{reason="memory"}') == 2
        assert not (await encode_images(channel, small))[0].HasField("error")


async def test_a_sound_that_takes_too_much_memory_fails_alone() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((8_000_000, 4), np.int16), 48_000, "PCM_16", format="FLAC")  # 128 MB of samples
    decoding = DecodingConfig(decode_memory_mb=64)
    async with running(serving_audio, AudioConfig, decoding=decoding) as (channel, service):
        good = (ROOT / "demo/inputs/spoken-seven-en-us.wav").read_bytes()
        results = await encode_audios(channel, file.getvalue(), good)
        assert [result.HasField("error") for result in results] == [True, False]
        assert from_status(results[0].error).reason is Reason.MEDIA_TOO_LARGE
        assert metric(service, 'sensorium_decoder_restarts_total{reason="memory"}') == 1


async def test_no_answer_is_lost_where_decoders_are_killed() -> None:
    rng = np.random.default_rng(1)
    pictures = [bytes(cv2.imencode(".png", rng.integers(0, 256, (50, 50, 3), np.uint8))[1]) for _ in range(40)]
    async with running(serving_vision, VisionConfig) as (channel, service):
        for start in range(0, 40, 4):
            os.kill(decoders(os.getpid())[0], signal.SIGKILL)
            results = await encode_images(channel, *pictures[start : start + 4])
            assert not any(result.HasField("error") for result in results)
        assert metric(service, 'sensorium_decoder_restarts_total{reason="killed"}') >= 1


async def test_another_place_is_refused_at_the_start() -> None:
    with pytest.raises(FailedPrecondition, match="give isolated or inline"):
        async with running(serving_vision, VisionConfig, decoding=DecodingConfig(decode="elsewhere")):
            pass


@pytest.fixture
def service() -> Iterator[subprocess.Popen[bytes]]:
    """A vision service of its own, with a decoder that runs."""
    command = [sys.executable, "-m", "services.vision", "--port", "0", "--metrics-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        wait_for(lambda: bool(decoders(process.pid)), 30)
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_decoder_outlives_its_service(service: subprocess.Popen[bytes], number: int) -> None:
    left = [*nurseries(service.pid), *decoders(service.pid)]
    assert len(left) >= 2
    service.send_signal(number)
    assert service.wait(20) == (-number if number == signal.SIGKILL else 0)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), 5)


def nurseries(pid: int) -> list[int]:
    """Returns the children of a process that fork decoders."""
    return [
        child for child in children(pid) if b"shared.inference.confined" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def decoders(pid: int) -> list[int]:
    """Returns the decoders of a service."""
    return [decoder for nursery in nurseries(pid) for decoder in children(nursery)]


def children(pid: int) -> list[int]:
    """Returns the children of all threads of a process."""
    try:
        lists = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for each in lists for child in each.split()]


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
