"""Wires the vision service together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import cv2
import numpy as np

from sensorium.v1 import model_pb2, vision_pb2, vision_pb2_grpc
from services.vision.config import Config
from services.vision.decode import ImageLimits, check, decode, quiet
from services.vision.open_inference import native
from services.vision.preprocess import ImageNumbers, preprocess
from services.vision.servicer import VisionServicer
from shared.hosting.decoding import Codec, decoding, inline
from shared.hosting.host import Host, Program, hosting
from shared.inference.cache import Identity
from shared.inference.encoder import Encoder
from shared.inference.features import Prepared
from shared.inference.isolation import Decoder
from shared.inference.manifest import read_numbers
from shared.inference.model import Model
from shared.inference.package import Package
from shared.serving.metrics import Metrics
from shared.serving.server import Running, run

_SERVICE = vision_pb2.DESCRIPTOR.services_by_name["VisionEncoderService"].full_name


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Running]:
    """Serves until the block is left; raises SensoriumError or OSError where it cannot start."""
    quiet()
    metrics = Metrics("vision")
    with decoding(codec(config), config.decoding, config.hosting, metrics) as decoder:
        program = Program(
            name="vision",
            service=_SERVICE,
            limits=model_pb2.Limits(max_item_bytes=config.max_image_bytes, max_pixels=config.max_pixels),
            accepts=lambda manifest: manifest.modality == "image",
            open_encoder=lambda package, shared: open_encoder(package, config, shared, decoder),
            add=lambda models, server: vision_pb2_grpc.add_VisionEncoderServiceServicer_to_server(
                VisionServicer(models, config.server.max_items), server
            ),
            native=lambda models: native(models, config.server.max_items),
        )
        async with hosting(program, config.server, config.hosting, metrics) as running:
            yield running


def open_encoder(package: Package, config: Config, shared: Host, decoder: Decoder | None = None) -> Encoder[bytes]:
    """Returns one package ready to serve, warmed up; raises FailedPrecondition where it does not fit.

    decoder: what makes pixels of files; None: the thread that prepares them.
    """
    numbers = read_numbers(package.manifest, ImageNumbers.of)
    decoded = decoder or inline(codec(config))

    def prepare(data: bytes) -> Prepared:
        with decoded(data) as (rgb, _):
            return preprocess(rgb, numbers)

    model = Model(package, execution=shared.execution)
    return shared.encoder(model, prepare, _canary(), identity=Identity(lambda data: (data,), len))


def codec(config: Config) -> Codec:
    """Returns how this service decodes pictures."""
    limits = ImageLimits(config.max_image_bytes, config.max_pixels)
    return Codec(
        inline=lambda data: (decode(data, limits), 0),
        check=lambda data: check(data, limits),
        entry="services.vision.decode:set_up",
        arguments={"max_bytes": limits.max_bytes, "max_pixels": limits.max_pixels},
        input_bytes=limits.max_bytes,
        output_bytes=3 * limits.max_pixels,
    )


def _canary() -> bytes:
    """Returns a small picture of a gradient, as a PNG file."""
    ramp = np.arange(64, dtype=np.uint8)
    picture = np.stack([np.add.outer(ramp, ramp), np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64))], axis=-1)
    return bytes(cv2.imencode(".png", picture)[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the service with the flags `argv` (None: those of the process) until a signal; returns the exit code."""
    return run("vision", Config, serving, lambda config: config.server, argv)
