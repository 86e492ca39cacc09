"""Project: vectors that callers bring, carried to another embedding space."""

from __future__ import annotations

import time

from sensorium.errors import InvalidInput, NotFound, Reason
from sensorium.v1.content_pb2 import Content
from sensorium.v1.embedding_pb2 import EncodeOptions
from sensorium.v1.orchestrator_pb2 import OrchestratorServiceProjectRequest, OrchestratorServiceProjectResponse
from services.orchestrator.bridge import carry
from services.orchestrator.checks import check_count
from services.orchestrator.contents import Piece
from services.orchestrator.embed import item_result
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt


async def project(
    request: OrchestratorServiceProjectRequest, mesh: Mesh, max_items: int
) -> OrchestratorServiceProjectResponse:
    """Returns one result a vector, in request order.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with a vector is that vector's result.
    """
    started = time.perf_counter_ns()
    check_count("embeddings", len(request.embeddings), max_items)
    if not request.to_space:
        raise InvalidInput("is empty; name the space that is wanted", reason=Reason.FIELD_MISSING, field="to_space")
    try:
        space = mesh.space(request.to_space)
    except NotFound as error:
        raise error.at("to_space") from None
    pieces = [
        Piece(Content(embedding=embedding), f"embeddings[{index}]", "embedding")
        for index, embedding in enumerate(request.embeddings)
    ]
    carried = await carry(pieces, space, mesh, EncodeOptions())
    return OrchestratorServiceProjectResponse(
        results=[item_result(outcome) for outcome in carried.outcomes],
        receipt=receipt(carried.receipts, time.perf_counter_ns() - started),
    )
