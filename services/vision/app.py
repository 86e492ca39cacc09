"""Wires the vision service together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import cv2
import numpy as np

from sensorium.v1 import model_pb2, vision_pb2, vision_pb2_grpc
from services.vision.config import Config
from services.vision.decode import ImageLimits, decode
from services.vision.preprocess import ImageNumbers, preprocess
from services.vision.servicer import VisionServicer
from shared.hosting.host import Host, Program, hosting
from shared.inference.encoder import Encoder
from shared.inference.features import Prepared
from shared.inference.manifest import read_numbers
from shared.inference.model import Model
from shared.inference.package import Package
from shared.serving.server import Running, run

_SERVICE = vision_pb2.DESCRIPTOR.services_by_name["VisionEncoderService"].full_name


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Running]:
    """Serves until the block is left; raises SensoriumError or OSError where it cannot start."""
    cv2.setNumThreads(1)  # the threads of preprocessing are enough; more would fight with the model's
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # a broken picture is told to its caller, not to the log
    program = Program(
        name="vision",
        service=_SERVICE,
        limits=model_pb2.Limits(max_item_bytes=config.max_image_bytes, max_pixels=config.max_pixels),
        accepts=lambda manifest: manifest.modality == "image",
        open_encoder=lambda package, shared: open_encoder(package, config, shared),
        add=lambda models, server: vision_pb2_grpc.add_VisionEncoderServiceServicer_to_server(
            VisionServicer(models, config.server.max_items), server
        ),
    )
    async with hosting(program, config.server, config.hosting) as running:
        yield running


def open_encoder(package: Package, config: Config, shared: Host) -> Encoder[bytes]:
    """Returns one package ready to serve, warmed up; raises FailedPrecondition where it does not fit."""
    numbers = read_numbers(package.manifest, ImageNumbers.of)
    limits = ImageLimits(config.max_image_bytes, config.max_pixels)

    def prepare(data: bytes) -> Prepared:
        return preprocess(decode(data, limits), numbers)

    model = Model(package, execution=shared.execution)
    return shared.encoder(model, prepare, _canary(), identify=lambda data: (data,))


def _canary() -> bytes:
    """Returns a small picture of a gradient, as a PNG file."""
    ramp = np.arange(64, dtype=np.uint8)
    picture = np.stack([np.add.outer(ramp, ramp), np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64))], axis=-1)
    return bytes(cv2.imencode(".png", picture)[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the service with the flags `argv` (None: those of the process) until a signal; returns the exit code."""
    return run("vision", Config, serving, lambda config: config.server, argv)
