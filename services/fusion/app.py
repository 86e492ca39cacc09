"""Wires the fusion service together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np

from sensorium.v1 import fusion_pb2, fusion_pb2_grpc, model_pb2
from services.fusion.config import Config
from services.fusion.open_inference import native
from services.fusion.preprocess import Parts, VectorNumbers, alone, prepare_parts, prepare_vector
from services.fusion.servicer import FusionServicer
from shared.hosting.host import Host, Program, hosting
from shared.inference.encoder import Encoder
from shared.inference.manifest import read_numbers
from shared.inference.model import Model
from shared.inference.package import Package
from shared.inference.typed import typed
from shared.serving.server import Running, run

_SERVICE = fusion_pb2.DESCRIPTOR.services_by_name["FusionService"].full_name

# A fusion model's padding: parts of weight 0 change nothing.
_NO_PART = {"parts": 0.0, "modality": 0, "weights": 0.0}

# Reading vectors costs microseconds: one thread job for many.
_ITEMS_PER_JOB = 256


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Running]:
    """Serves until the block is left; raises SensoriumError or OSError where it cannot start."""
    program = Program(
        name="fusion",
        service=_SERVICE,
        limits=model_pb2.Limits(),
        accepts=lambda manifest: manifest.task in ("fuse", "project", "predict"),
        open_encoder=open_encoder,
        add=lambda models, server: fusion_pb2_grpc.add_FusionServiceServicer_to_server(
            FusionServicer(models, config.server.max_items), server
        ),
        native=lambda models: native(FusionServicer(models, config.server.max_items), models),
    )
    async with hosting(program, config.server, config.hosting) as running:
        yield running


def open_encoder(package: Package, shared: Host) -> Encoder[Parts]:
    """Returns one package ready to serve, warmed up; raises FailedPrecondition where it does not fit."""
    manifest = package.manifest
    width = manifest.source_dim if manifest.task == "project" else manifest.dim
    canary = alone(np.full(width, width**-0.5, np.float32))
    read_numbers(manifest, lambda numbers: typed(numbers, VectorNumbers))
    is_fuser = manifest.task == "fuse"
    model = Model(package, _NO_PART if is_fuser else {}, execution=shared.execution)
    prepare = prepare_parts if is_fuser else prepare_vector
    return shared.encoder(model, prepare, canary, _ITEMS_PER_JOB, is_quick=lambda _: True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the service with the flags `argv` (None: those of the process) until a signal; returns the exit code."""
    return run("fusion", Config, serving, lambda config: config.server, argv)
