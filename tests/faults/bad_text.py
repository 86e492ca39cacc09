"""A text service that answers, and wrongly: a real gRPC server whose faults are its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
import numpy as np

from sensorium import vectors
from sensorium.v1 import content_pb2, model_pb2_grpc, text_pb2
from sensorium.v1.embedding_pb2 import Embedding, ItemResult
from tests.services.orchestrator.fake_services import FakeModels
from tests.services.orchestrator.fakes import FakePeer
from tests.services.orchestrator.toys import DIM, SPACE, direction, model

_GOOD = vectors.write(direction("good"), SPACE)


def _answer(*embeddings: Embedding) -> bytes:
    results = [ItemResult(embedding=each) for each in embeddings]
    return text_pb2.EncodeTextResponse(results=results).SerializeToString()


def _with(vector: Sequence[float], space: str = SPACE, dim: int = DIM) -> bytes:
    return _answer(Embedding(space=space, dim=dim, values=vector))


# What comes for one text, by what is wrong with it.
GARBAGE: Mapping[str, bytes] = {
    "no protobuf": b"\xff\xfe<html>502 Bad Gateway</html>",
    "a message cut short": _answer(_GOOD)[:-9],
    "nothing": b"",
    "too many results": _answer(_GOOD, _GOOD),
    "a result that is neither": text_pb2.EncodeTextResponse(results=[ItemResult()]).SerializeToString(),
    "NaN": _with([float("nan")] * DIM),
    "infinity": _with([1.0] * (DIM - 1) + [float("inf")]),
    "zeros": _with([0.0] * DIM),
    "a vector too wide": _with([0.1] * 2 * DIM, dim=2 * DIM),
    "a vector wider than it says": _with([0.1] * 2 * DIM),
    "another space": _with([0.1] * DIM, space="elsewhere@1"),
    "17 million components": _with(np.zeros(17_000_000, np.float32).tolist(), dim=17_000_000),
}


class BadText(FakePeer):
    """A text service in the fakes' place. Its health and its models are in order.

    answer: the bytes of every answer of EncodeText.
    """

    def __init__(self, answer: bytes) -> None:
        super().__init__("text", [model("toy-text", content_pb2.MODALITY_TEXT)])
        self.answer = answer

    def add_services(self, server: grpc.aio.Server) -> None:
        async def encode(request: bytes, context: Any) -> bytes:  # Any: gRPC's, of no use here
            del request, context
            return self.answer

        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(encode)  # bytes in, bytes out
        own = grpc.method_handlers_generic_handler("sensorium.v1.TextEncoderService", {"EncodeText": method})
        server.add_generic_rpc_handlers((own,))
        model_pb2_grpc.add_ModelServiceServicer_to_server(FakeModels(self), server)
