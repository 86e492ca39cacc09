"""Wires the orchestrator together: channels to its peers, the mesh that they make, the servicers, the server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Sequence

import grpc.aio

from sensorium.v1 import model_pb2, model_pb2_grpc, orchestrator_pb2, orchestrator_pb2_grpc
from services.orchestrator.config import Config
from services.orchestrator.limiter import Limiter
from services.orchestrator.mesh import open_mesh
from services.orchestrator.open_inference import Spaces
from services.orchestrator.servicer import ModelServicer, OrchestratorServicer
from shared.serving.metrics import Metrics
from shared.serving.server import Running, listening, run
from shared.serving.tracing import Tracing

_SERVICES = (
    orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"].full_name,
    model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Running]:
    """Serves the orchestrator until the block is left. It starts without its peers, and serves once an encoder does.

    Raises:
        ConfigError: a file that is named cannot be used.
        OSError: a port is taken.
    """
    metrics, tracing = Metrics("orchestrator"), Tracing("orchestrator", os.environ)
    limiter = Limiter(config.max_concurrency, metrics)
    async with open_mesh(config, metrics) as mesh:
        spaces = Spaces(mesh, config.server.max_items, limiter)

        def add(server: grpc.aio.Server) -> None:
            servicer = OrchestratorServicer(mesh, config.server, limiter)
            orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(servicer, server)
            model_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(mesh), server)

        async with (
            listening("orchestrator", config.server, _SERVICES, add, metrics, tracing, limiter, spaces) as running,
            mesh.watched(running.health.set_serving),
        ):
            yield running


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the orchestrator until it is told to stop; returns the exit code."""
    return run("orchestrator", Config, serving, lambda config: config.server, argv)
