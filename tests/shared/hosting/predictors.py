"""Serves small predictors, whose calls name a model, and keeps an eye on what becomes of each that was opened."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from sensorium.channel import call, open_channel
from sensorium.v1 import content_pb2, embedding_pb2, fusion_pb2, fusion_pb2_grpc, model_pb2, model_pb2_grpc
from services.fusion.preprocess import Parts, alone, prepare_vector
from services.fusion.servicer import FusionServicer
from shared.hosting.config import HostingConfig
from shared.hosting.host import Host, Program, hosting
from shared.hosting.repository import Repository
from shared.inference.encoder import Encoder
from shared.inference.model import Model
from shared.inference.package import Package
from shared.serving.server import Running
from tests.packages import linear, write_package
from tests.running import server_config

SERVICE = "sensorium.v1.FusionService"

_DIM = 250
_LABELS_PER_MB = 1000  # of 250 float32 each


def predictor(root: Path, name: str, version: str = "1", size_mb: float = 1.0) -> Path:
    """Writes a predictor of vectors of the space a@1; its graph takes a few bytes more than `size_mb`."""
    labels = [str(label) for label in range(int(_LABELS_PER_MB * size_mb))]
    weights = np.random.default_rng(int(version)).standard_normal((_DIM, len(labels))).astype(np.float32)
    return write_package(root, name, linear(weights, "embedding", "logits"), version, task="predict",
                         space="a@1", dim=_DIM, output="logits", labels=labels)  # fmt: skip


@dataclass
class Served:
    """A running server of predictors. Any: a channel, whose stubs are not typed for health.

    opened: every encoder there ever was, with its onnxruntime session, as long as they live.
    """

    channel: Any = None
    running: Running = None  # type: ignore[assignment]  # set before anybody sees it
    repository: Repository[Parts] = None  # type: ignore[assignment]  # as above
    opened: list[tuple[weakref.ref[Encoder[Parts]], weakref.ref[object]]] = field(default_factory=list)

    def living(self) -> int:
        """Returns how many encoders or sessions are alive."""
        return sum(encoder() is not None or session() is not None for encoder, session in self.opened)

    def loaded(self) -> Sequence[str]:
        """Returns what is served, in the order of loading."""
        return [encoder.package.manifest.id for encoder in self.repository.encoders]

    def gauges(self, model: str) -> set[str]:
        """Returns the names of the gauges that `/metrics` has of a model, without what all of ours start with."""
        name, _, version = model.partition("@")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.running.metrics_port}/metrics", timeout=5) as page:
            families = list(text_string_to_metric_families(page.read().decode()))
        return {
            family.name.removeprefix("sensorium_")
            for family in families
            for sample in family.samples
            if family.type == "gauge"
            and not family.name.endswith("_created")
            and (sample.labels.get("model"), sample.labels.get("version", "")) in ((model, ""), (name, version))
        }

    async def load(self, model: str, timeout_s: float = 10.0) -> None:
        stub = model_pb2_grpc.ModelServiceStub(self.channel)
        await call(stub.LoadModel, model_pb2.LoadModelRequest(model=model), timeout_s=timeout_s)

    async def unload(self, model: str) -> None:
        stub = model_pb2_grpc.ModelServiceStub(self.channel)
        await call(stub.UnloadModel, model_pb2.UnloadModelRequest(model=model), timeout_s=10)

    async def predict(self, model: str) -> fusion_pb2.PredictResult:
        vector = embedding_pb2.Embedding(values=[1.0] * _DIM, space="a@1")
        part = fusion_pb2.FusionPart(modality=content_pb2.MODALITY_TEXT, embedding=vector)
        request = fusion_pb2.PredictRequest(model=model, items=[fusion_pb2.FusionItem(parts=[part])], top_k=1)
        answer = await call(fusion_pb2_grpc.FusionServiceStub(self.channel).Predict, request, timeout_s=10)
        result: fusion_pb2.PredictResult = answer.results[0]
        return result

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns once it holds; fails after some seconds."""
        async with asyncio.timeout(10):
            while not holds():  # each look is a call of its own
                stub = model_pb2_grpc.ModelServiceStub(self.channel)
                await call(stub.ListModels, model_pb2.ListModelsRequest(), timeout_s=5)


@contextlib.asynccontextmanager
async def serving(
    models: Path,
    kind: type[Model] = Model,
    opening: Callable[[Served, Package], None] = lambda *_: None,
    **hosted: Any,
) -> AsyncIterator[Served]:
    """Serves the predictors and bridges of a folder. Any: more of the configuration.

    opening: is called in the thread that opens a package, before it does.
    """
    served = Served()

    def open_encoder(package: Package, shared: Host) -> Encoder[Parts]:
        opening(served, package)
        model = kind(package)
        width = package.manifest.source_dim or _DIM
        encoder = shared.encoder(model, prepare_vector, alone(np.ones(width, np.float32)))
        served.opened.append((weakref.ref(encoder), weakref.ref(model._session)))
        return encoder

    def add(repository: Repository[Parts], server: Any) -> None:
        served.repository = repository
        fusion_pb2_grpc.add_FusionServiceServicer_to_server(FusionServicer(repository, 16), server)

    program = Program("test", SERVICE, model_pb2.Limits(), lambda _: True, open_encoder, add)
    async with hosting(program, server_config(), HostingConfig(models=models, **hosted)) as served.running:
        served.channel = open_channel(f"127.0.0.1:{served.running.port}")
        yield served
        await served.channel.close()
