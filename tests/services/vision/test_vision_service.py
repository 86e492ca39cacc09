"""The vision service, over gRPC, with the model that ships and pictures made here."""

from __future__ import annotations

import struct
import time
import zlib

import cv2
import numpy as np
import pytest

from sensorium import vectors
from sensorium.channel import call
from sensorium.errors import InvalidInput, Reason
from sensorium.status import from_status
from sensorium.v1 import content_pb2, vision_pb2, vision_pb2_grpc
from services.vision.app import serving
from services.vision.config import Config
from tests.running import running


def picture(seed: int, suffix: str = ".jpg", size: tuple[int, int] = (120, 160)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return bytes(cv2.imencode(suffix, cv2.GaussianBlur(noise, (9, 9), 3))[1])


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def request(*files: bytes) -> vision_pb2.EncodeImageRequest:
    return vision_pb2.EncodeImageRequest(images=[content_pb2.Image(data=file) for file in files])


async def test_every_format_of_the_contract_is_understood() -> None:
    suffixes = (".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif")
    async with running(serving, Config) as (channel, _):
        stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
        response = await call(stub.EncodeImage, request(*(picture(1, suffix) for suffix in suffixes)), timeout_s=10)
        rows = np.stack([vectors.read(result.embedding) for result in response.results])
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert (rows @ rows[1] > 0.9).all(), "the same picture, but for what the formats lose"
        assert response.receipt.pixel_count == len(suffixes) * 120 * 160


async def test_a_picture_has_the_same_vector_alone_and_in_a_batch() -> None:
    files = [picture(seed, size=(40 + seed, 90)) for seed in range(32)]
    async with running(serving, Config) as (channel, _):
        stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
        together = (await call(stub.EncodeImage, request(*files), timeout_s=10)).results
        for file, result in zip(files, together, strict=True):
            single = (await call(stub.EncodeImage, request(file), timeout_s=10)).results[0]
            assert np.abs(vectors.read(single.embedding) - vectors.read(result.embedding)).max() < 1e-5


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif"])
async def test_one_truncated_picture_among_eight_fails_alone(suffix: str) -> None:
    files = [picture(seed, suffix) for seed in range(8)]
    files[5] = files[5][: len(files[5]) * 2 // 3]
    async with running(serving, Config) as (channel, _):
        stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
        results = (await call(stub.EncodeImage, request(*files), timeout_s=10)).results
        assert [at for at, result in enumerate(results) if result.HasField("error")] == [5]
        error = from_status(results[5].error)
        assert (type(error), error.reason) == (InvalidInput, Reason.MEDIA_TRUNCATED)
        assert error.field == "images[5].data"


async def test_a_bomb_is_refused_from_its_header() -> None:
    async with running(serving, Config) as (channel, _):
        stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
        await call(stub.EncodeImage, request(picture(0)), timeout_s=10)
        started = time.perf_counter()
        results = (await call(stub.EncodeImage, request(png_that_claims(30_000, 30_000)), timeout_s=10)).results
        assert time.perf_counter() - started < 1  # decoding would take tens of seconds
        error = from_status(results[0].error)
        assert error.reason is Reason.MEDIA_TOO_LARGE
        assert error.metadata == {"limit": "50000000", "size": "900000000", "unit": "pixels"}


@pytest.mark.parametrize(
    ("data", "said", "reason"),
    [
        (b"", "is empty", Reason.MEDIA_UNDECODABLE),
        (b"hello", "is no picture that is known here", Reason.MEDIA_UNDECODABLE),
        (b"\xff\xd8\xff\xe0garbage", "header cannot be read, that ends early", Reason.MEDIA_TRUNCATED),
        (b"#?RADIANCE\n", "is no picture that is known here", Reason.MEDIA_UNDECODABLE),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "the format HEIC, which is not supported", Reason.MEDIA_UNDECODABLE),
        (png_that_claims(0, 10), "header cannot be read", Reason.MEDIA_UNDECODABLE),
    ],
)
async def test_what_is_no_picture_says_so(data: bytes, said: str, reason: Reason) -> None:
    async with running(serving, Config) as (channel, _):
        stub = vision_pb2_grpc.VisionEncoderServiceStub(channel)
        results = (await call(stub.EncodeImage, request(data), timeout_s=10)).results
        assert said in results[0].error.message
        assert from_status(results[0].error).reason is reason
