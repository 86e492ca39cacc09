"""An orchestrator that refuses what it is told to, on a real server, and counts what arrives."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import NoReturn

import grpc.aio
import numpy as np
from google.protobuf.message import Message

from sensorium import vectors
from sensorium.channel import WIRE_MESSAGE_BYTES
from sensorium.errors import SensoriumError
from sensorium.status import to_status
from sensorium.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from sensorium.v1.embedding_pb2 import ItemResult
from sensorium.v1.orchestrator_pb2 import EmbedStreamRequest, EmbedStreamResponse

Context = grpc.aio.ServicerContext[Message, Message]


class Refusing(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """Answers by the length of the text, once all refusals are used up.

    calls: refusals of whole calls, in turn; streams: of streams, after `stream_answers` answers each.
    items: by text, what becomes of that content of a call or stream, in turn.
    arrived_s: when unary calls arrived, by `time.monotonic()`; read: the texts of streams, in order of arrival.
    """

    def __init__(self) -> None:
        self.calls: deque[SensoriumError] = deque()
        self.streams: deque[SensoriumError] = deque()
        self.stream_answers = 1
        self.items: dict[str, deque[SensoriumError]] = {}
        self.arrived_s: list[float] = []
        self.read: list[str] = []
        self.peers: set[str] = set()

    async def Embed(self, request: orchestrator_pb2.EmbedRequest, context: Context) -> orchestrator_pb2.EmbedResponse:
        self.arrived_s.append(time.monotonic())
        self.peers.add(context.peer())
        if self.calls:
            await _abort(self.calls.popleft(), context)
        return orchestrator_pb2.EmbedResponse(results=[self._result(content.text) for content in request.contents])

    async def Describe(
        self, request: orchestrator_pb2.DescribeRequest, context: Context
    ) -> orchestrator_pb2.DescribeResponse:
        """Is asked by clients whose stream ended without a status that they could read."""
        if self.streams:
            await _abort(self.streams[0], context)
        return orchestrator_pb2.DescribeResponse()

    async def EmbedStream(
        self, requests: AsyncIterator[EmbedStreamRequest], context: Context
    ) -> AsyncIterator[EmbedStreamResponse]:
        end, left = (self.streams.popleft(), self.stream_answers) if self.streams else (None, 0)
        async for request in requests:
            text = request.content.text
            self.read.append(text)
            if end is not None and not left:
                await _abort(end, context)
            left -= 1
            yield EmbedStreamResponse(id=request.id, result=self._result(text))

    def _result(self, text: str) -> ItemResult:
        refusals = self.items.get(text)
        return ItemResult(error=to_status(refusals.popleft())) if refusals else _vector(text)


def _vector(text: str) -> ItemResult:
    return ItemResult(embedding=vectors.write(np.full(3, len(text) or 1, np.float32), "toy@1"))


async def _abort(error: SensoriumError, context: Context) -> NoReturn:
    detail = to_status(error).SerializeToString()
    code = next(code for code in grpc.StatusCode if code.value[0] == error.code)
    await context.abort(code, error.problem, (("grpc-status-details-bin", detail),))
    raise AssertionError


@contextlib.asynccontextmanager
async def refusing() -> AsyncIterator[tuple[Refusing, str]]:
    options = [("grpc.max_receive_message_length", WIRE_MESSAGE_BYTES)]
    servicer, server = Refusing(), grpc.aio.server(options=options)  # type: ignore[abstract]  # some rpcs stay unimplemented
    orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
