"""A backend for tests of the transport: our real server around a text encoder that says which backend answered.

Run as a process of its own, since tests stop and kill it: `python -m tests.balancing.backend HOST PORT [BEHAVIOUR]`.
The behaviours: `delay_s=0.2` answers late, `every=20` makes only every 20th answer late, `fail=UNAVAILABLE` refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
from typing import Any, NoReturn

import grpc
import grpc.aio

from sensorium.errors import BY_CODE
from sensorium.v1 import text_pb2, text_pb2_grpc
from sensorium.v1.embedding_pb2 import Embedding, ItemResult
from shared.serving.config import ServerConfig
from shared.serving.metrics import Metrics
from shared.serving.server import listening
from shared.serving.tracing import Tracing

SERVICE = text_pb2.DESCRIPTOR.services_by_name["TextEncoderService"].full_name


class Encoder(text_pb2_grpc.TextEncoderServiceServicer):
    """Answers every text with the backend's host as the space of its vector."""

    def __init__(self, host: str, *, delay_s: float = 0.0, every: int = 1, fail: str = "") -> None:
        self._host, self._delay_s, self._every, self._fail = host, delay_s, every, fail
        self._count = itertools.count(1)

    async def Tokenize(self, request: text_pb2.TokenizeRequest, context: object) -> text_pb2.TokenizeResponse:
        raise NotImplementedError

    def EncodeTextStream(self, requests: object, context: object) -> NoReturn:
        raise NotImplementedError

    async def EncodeText(self, request: text_pb2.EncodeTextRequest, context: object) -> text_pb2.EncodeTextResponse:
        if next(self._count) % self._every == 0 and self._delay_s:
            await asyncio.sleep(self._delay_s)
        if self._fail:
            raise BY_CODE[grpc.StatusCode[self._fail].value[0]](f"{self._host} was told to fail")
        result = ItemResult(embedding=Embedding(space=self._host, values=[1.0], dim=1))
        return text_pb2.EncodeTextResponse(results=[result] * len(request.texts))


async def serve(host: str, port: int, server: dict[str, Any], behaviour: dict[str, Any]) -> None:
    """Serves until SIGTERM; prints the ports that were bound: of gRPC and of the metrics."""
    config = ServerConfig(host=host, port=port, metrics_port=0, **{"drain_grace_s": 1.0, **server})
    encoder = Encoder(host, **behaviour)

    def add(to: grpc.aio.Server) -> None:
        text_pb2_grpc.add_TextEncoderServiceServicer_to_server(encoder, to)

    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with listening("text", config, [SERVICE], add, Metrics("text"), Tracing("text", {})) as running:
        await running.health.set_serving(True)
        print(running.port, running.metrics_port, flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await over.wait()


def _given(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    kinds = {"fail": str, "every": int, "max_concurrent_streams": int}
    return name, kinds.get(name, float)(value)


if __name__ == "__main__":
    options = dict(_given(each) for each in sys.argv[3:])
    own: dict[str, Any] = {name: options.pop(name) for name in ("delay_s", "every", "fail") if name in options}
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), options, own))
