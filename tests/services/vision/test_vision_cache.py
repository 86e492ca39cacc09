"""The vision service knows a picture by its pixels, whatever file they come in."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from sensorium.channel import call
from sensorium.v1 import content_pb2, vision_pb2, vision_pb2_grpc
from services.vision.app import serving
from services.vision.config import Config
from shared.hosting.config import HostingConfig
from tests.running import metric, running

PIXELS = np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)


def file(suffix: str, pixels: Any = PIXELS) -> bytes:
    """Returns an encoded picture. Any: an array of pixels, as OpenCV has them."""
    return bytes(cv2.imencode(suffix, pixels)[1])


async def encode(channel: Any, *files: bytes) -> vision_pb2.EncodeImageResponse:
    request = vision_pb2.EncodeImageRequest(images=[content_pb2.Image(data=data) for data in files])
    return await call(vision_pb2_grpc.VisionEncoderServiceStub(channel).EncodeImage, request, timeout_s=10)


async def test_the_same_pixels_in_another_format_are_not_computed_again() -> None:
    async with running(serving, Config) as (channel, service):
        png = await encode(channel, file(".png"))
        bmp = await encode(channel, file(".bmp"))
        assert (png.receipt.cache_hit_count, bmp.receipt.cache_hit_count) == (0, 1)
        assert bmp.receipt.preprocess_ns > 0
        assert (bmp.receipt.batch_size, bmp.receipt.queue_ns, bmp.receipt.inference_ns) == (0, 0, 0)
        assert bmp.results[0].embedding == png.results[0].embedding
        assert metric(service, "sensorium_items_total") == 1


async def test_the_same_file_is_not_even_decoded_again() -> None:
    async with running(serving, Config) as (channel, service):
        first = await encode(channel, file(".jpg"))
        again = await encode(channel, file(".jpg"))
        assert again.results[0].embedding == first.results[0].embedding
        assert (again.receipt.cache_hit_count, again.receipt.preprocess_ns) == (1, 0)
        assert again.receipt.pixel_count == first.receipt.pixel_count == 90 * 120
        stage = 'sensorium_stage_duration_seconds_count{model="tiny-vision@1",stage="preprocess"}'
        assert metric(service, stage) == 1


async def test_one_pixel_makes_another_picture_and_a_large_file_is_known_too() -> None:
    other = PIXELS.copy()
    other[45, 60] ^= 255
    large = file(".bmp", np.tile(PIXELS, (8, 8, 1)))
    async with running(serving, Config) as (channel, service):
        await encode(channel, file(".png"), large)
        answer = await encode(channel, file(".png", other), large)
        assert answer.receipt.cache_hit_count == 1
        assert metric(service, "sensorium_items_total") == 3


async def test_a_broken_picture_is_refused_each_time_beside_one_that_is_known() -> None:
    broken = file(".png")[:2000]
    async with running(serving, Config) as (channel, service):
        for hits in (0, 1):
            answer = await encode(channel, broken, file(".png"))
            assert [result.HasField("error") for result in answer.results] == [True, False]
            assert answer.receipt.cache_hit_count == hits
        assert metric(service, "sensorium_model_item_errors_total") == 2


async def test_without_a_cache_every_picture_is_computed() -> None:
    async with running(serving, Config, hosting=HostingConfig(cache_mb=0)) as (channel, service):
        for _ in range(2):
            assert not (await encode(channel, file(".png"))).receipt.cache_hit_count
        assert metric(service, "sensorium_items_total") == 2
