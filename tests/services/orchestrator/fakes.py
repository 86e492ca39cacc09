"""Fake peers: real gRPC servers over toy models, that fail, hang or refuse when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from sensorium.channel import WIRE_MESSAGE_BYTES
from sensorium.errors import NotFound, SensoriumError
from sensorium.v1 import (
    audio_pb2_grpc,
    content_pb2,
    embedding_pb2,
    fusion_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    text_pb2_grpc,
    vision_pb2_grpc,
)
from tests.services.orchestrator.fake_services import (
    Context,
    FakeAudio,
    FakeFusion,
    FakeModels,
    FakeText,
    FakeVision,
    abort,
)
from tests.services.orchestrator.toys import model, sigmoid_calibration, softmax_calibration


class FakePeer:
    """One service of the mesh. What it is told and what it saw are its public fields.

    refusal: what every call is refused with, if anything.
    gate: calls wait until it is set.
    requests, metadata, time_remaining_s: of the calls that came, in order.
    cancelled: set when a waiting call was cancelled.
    tls: its key and its certificate as PEM; None speaks plain text.
    """

    def __init__(self, name: str, models: Sequence[model_pb2.Model]) -> None:
        self.name = name
        self.models = list(models)
        self.refusal: SensoriumError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[Any] = []  # Any: of whatever rpc
        self.metadata: list[dict[str, str | bytes]] = []
        self.time_remaining_s: list[float | None] = []
        self._came = asyncio.Condition()
        self.cancelled = asyncio.Event()
        self.tls: tuple[bytes, bytes] | None = None
        self.running = 0
        self.most_running = 0
        self.port = 0
        self._server: grpc.aio.Server | None = None
        self._health = HealthServicer()

    def add_services(self, server: grpc.aio.Server) -> None:
        """Adds all services but health."""
        model_pb2_grpc.add_ModelServiceServicer_to_server(FakeModels(self), server)
        text_pb2_grpc.add_TextEncoderServiceServicer_to_server(FakeText(self), server)
        vision_pb2_grpc.add_VisionEncoderServiceServicer_to_server(FakeVision(self), server)
        audio_pb2_grpc.add_AudioEncoderServiceServicer_to_server(FakeAudio(self), server)
        fusion_pb2_grpc.add_FusionServiceServicer_to_server(FakeFusion(self), server)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    async def start(self, *, serving: bool = True) -> None:
        """Listens: on a free port the first time, on the same one after a stop."""
        options = [("grpc.max_receive_message_length", WIRE_MESSAGE_BYTES)]
        self._server = grpc.aio.server(options=options)
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.add_services(self._server)
        address = f"127.0.0.1:{self.port}"
        if self.tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([self.tls]))
        await self.set_serving(serving)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("TextEncoderService", "VisionEncoderService", "AudioEncoderService", "FusionService"):
            await self._health.set(f"sensorium.v1.{service}", state)

    async def stop(self) -> None:
        """Stops at once, as a killed process does."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def calls(self, count: int) -> None:
        """Returns once so many calls have come."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.requests) >= count)

    async def meet(self, request: object, context: Context) -> None:
        """Records a call, lets it wait at the gate, and refuses it where told to."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.time_remaining_s.append(context.time_remaining())
        async with self._came:
            self._came.notify_all()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.running -= 1
        if self.refusal is not None:
            await abort(context, self.refusal)

    async def chosen(self, name: str, context: Context) -> model_pb2.Model:
        for each in self.models:
            if name in ("", each.name, f"{each.name}@{each.version}"):
                return each
        await abort(context, NotFound(f"is {name!r}", field="options.model"))
        raise AssertionError("abort does not return")

    def receipt(self, chosen: model_pb2.Model, count: int) -> embedding_pb2.Receipt:
        return embedding_pb2.Receipt(
            model=chosen.name,
            version=chosen.version,
            fingerprint="f1",
            preprocess_ns=10 * count,
            queue_ns=5,
            inference_ns=7,
            total_ns=30,
            token_count=count,
            batch_size=count,
        )


def text_peer(**fields: Any) -> FakePeer:
    """Any: whatever fields of Model a test wants otherwise."""
    made: dict[str, Any] = {"calibration": softmax_calibration(), "templates": ["a photo of a {}", "{}"], **fields}
    return FakePeer("text", [model("toy-text", content_pb2.MODALITY_TEXT, **made)])


def vision_peer(**fields: Any) -> FakePeer:
    """Any: whatever fields of Model a test wants otherwise."""
    made: dict[str, Any] = {"calibration": sigmoid_calibration(), **fields}
    return FakePeer("vision", [model("toy-vision", content_pb2.MODALITY_IMAGE, **made)])


def audio_peer(**fields: Any) -> FakePeer:
    """Any: whatever fields of Model a test wants otherwise. It has no calibration."""
    return FakePeer("audio", [model("toy-audio", content_pb2.MODALITY_AUDIO, **fields)])


def fusion_peer(*more: model_pb2.Model) -> FakePeer:
    """A fuser of the toy space, a bridge from `other@1`, and more models."""
    return FakePeer(
        "fusion",
        [
            model("toy-fusion", task=model_pb2.MODEL_TASK_FUSE),
            *more,
            model("toy-bridge", task=model_pb2.MODEL_TASK_PROJECT, source_space="other@1"),
        ],
    )


@asynccontextmanager
async def started(*peers: FakePeer) -> AsyncIterator[None]:
    """Peers that listen while the block runs."""
    for peer in peers:
        await peer.start()
    try:
        yield
    finally:
        for peer in peers:
            peer.gate.set()
            await peer.stop()
