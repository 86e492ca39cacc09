"""Tokenize: the tokens that the text model of a space would see."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sensorium.errors import SensoriumError
from sensorium.status import from_status
from sensorium.v1 import text_pb2_grpc
from sensorium.v1.content_pb2 import MODALITY_TEXT, Content
from sensorium.v1.orchestrator_pb2 import OrchestratorServiceTokenizeRequest, OrchestratorServiceTokenizeResponse
from sensorium.v1.text_pb2 import TokenizeRequest, TokenizeResponse, TokenizeResult, Tokens
from services.orchestrator.batches import in_batches
from services.orchestrator.checks import check_count, check_prompt
from services.orchestrator.contents import Piece
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from services.orchestrator.spaces import model_id
from shared.serving.items import failed_item

if TYPE_CHECKING:
    from sensorium.v1.text_pb2_grpc import TextEncoderServiceAsyncStub


async def tokenize(
    request: OrchestratorServiceTokenizeRequest, mesh: Mesh, max_items: int
) -> OrchestratorServiceTokenizeResponse:
    """Returns one result a text, in request order.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with a text is that text's result.
    """
    started = time.perf_counter_ns()
    check_count("texts", len(request.texts), max_items)
    space = mesh.space(request.space)
    check_prompt("prompt_name", request.prompt_name, space, mesh)
    route = mesh.route(space, MODALITY_TEXT)
    peer = route.encoder.peer
    stub: TextEncoderServiceAsyncStub = text_pb2_grpc.TextEncoderServiceStub(peer.channel)
    asked = TokenizeRequest(model=model_id(route.model), prompt_name=request.prompt_name)
    if request.HasField("truncate"):
        asked.truncate = request.truncate

    async def send(batch: Sequence[Piece]) -> TokenizeResponse:
        texts = TokenizeRequest(texts=[piece.content.text for piece in batch])
        texts.MergeFrom(asked)
        return await peer.compute(stub.Tokenize, texts)

    pieces = [Piece(Content(text=text), f"texts[{place}]", "text") for place, text in enumerate(request.texts)]
    answer = await in_batches(pieces, route.model.limits, lambda piece: piece.content.ByteSize(), send, _tokens)
    return OrchestratorServiceTokenizeResponse(
        results=[_result(outcome, piece) for outcome, piece in zip(answer.outcomes, pieces, strict=True)],
        receipt=receipt(answer.receipts, time.perf_counter_ns() - started),
    )


def _tokens(result: TokenizeResult) -> Tokens | SensoriumError:
    return from_status(result.error) if result.HasField("error") else result.tokens


def _result(outcome: Tokens | SensoriumError, piece: Piece) -> TokenizeResult:
    if isinstance(outcome, SensoriumError):
        return TokenizeResult(error=failed_item(piece.rooted(outcome)))
    return TokenizeResult(tokens=outcome)
