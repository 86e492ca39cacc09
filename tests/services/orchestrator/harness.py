"""The real orchestrator over fake peers, and how tests speak to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.channel import open_channel
from sensorium.errors import SensoriumError
from sensorium.status import from_rpc_error, from_status
from sensorium.v1 import content_pb2, model_pb2_grpc, orchestrator_pb2, orchestrator_pb2_grpc
from sensorium.v1.content_pb2 import Audio, Content, Image
from sensorium.v1.embedding_pb2 import Embedding, ItemResult
from services.orchestrator.app import serving
from services.orchestrator.config import Config
from shared.serving.config import ServerConfig
from tests.services.orchestrator.fakes import FakePeer
from tests.services.orchestrator.toys import SPACE

if TYPE_CHECKING:
    from sensorium.v1.model_pb2_grpc import ModelServiceAsyncStub
    from sensorium.v1.orchestrator_pb2_grpc import OrchestratorServiceAsyncStub

TEXT, IMAGE, AUDIO = content_pb2.MODALITY_TEXT, content_pb2.MODALITY_IMAGE, content_pb2.MODALITY_AUDIO


def text(value: str) -> Content:
    return Content(text=value)


def image(value: bytes) -> Content:
    return Content(image=Image(data=value))


def audio(value: bytes) -> Content:
    return Content(audio=Audio(data=value))


def embedded(vector: NDArray[np.float32] | Sequence[float], space: str = SPACE) -> Content:
    return Content(embedding=Embedding(values=np.asarray(vector, np.float32).tolist(), space=space))


@dataclass(frozen=True)
class Orchestrated:
    """An orchestrator that runs, and stubs for it."""

    stub: OrchestratorServiceAsyncStub
    models: ModelServiceAsyncStub
    channel: grpc.aio.Channel
    port: int
    metrics_port: int

    async def until(self, holds: Callable[[orchestrator_pb2.DescribeResponse], bool]) -> None:
        """Asks for the description until it is as wanted; the test's own time limit ends a vain wait."""
        while not holds(await self.stub.Describe(orchestrator_pb2.DescribeRequest())):
            continue

    async def until_state(self, name: str, state: orchestrator_pb2.ServiceState.ValueType) -> None:
        await self.until(lambda seen: any(each.name == name and each.state == state for each in seen.services))


def _all_known(peers: Sequence[FakePeer]) -> Callable[[orchestrator_pb2.DescribeResponse], bool]:
    def holds(seen: orchestrator_pb2.DescribeResponse) -> bool:
        known = {service.name: len(service.models) for service in seen.services}
        return all(known[peer.name] == len(peer.models) for peer in peers)

    return holds


@asynccontextmanager
async def orchestrating(
    *peers: FakePeer, server: ServerConfig | None = None, **config: Any
) -> AsyncIterator[Orchestrated]:
    """The orchestrator over peers; those that listen by now have been seen. Any: further fields of Config."""
    server = server or ServerConfig(port=0, metrics_port=0, drain_grace_s=1.0)
    config |= {f"{peer.name}_addr": peer.address for peer in peers}
    async with (
        serving(Config(server=server, **config)) as running,
        open_channel(f"127.0.0.1:{running.port}") as channel,
    ):
        orchestrated = Orchestrated(
            orchestrator_pb2_grpc.OrchestratorServiceStub(channel),
            model_pb2_grpc.ModelServiceStub(channel),
            channel,
            running.port,
            running.metrics_port,
        )
        await orchestrated.until(_all_known([peer for peer in peers if peer.is_listening]))
        yield orchestrated


async def refused(call: Awaitable[object]) -> SensoriumError:
    """Returns the error that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError("the call was answered")


def vector_of(result: ItemResult) -> NDArray[np.float32]:
    assert result.HasField("embedding"), result.error.message
    return vectors.read(result.embedding)


def error_of(result: Any) -> SensoriumError:  # Any: every result message has an error
    assert result.HasField("error")
    return from_status(result.error)
