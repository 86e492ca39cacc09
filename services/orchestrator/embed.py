"""Embed: one vector for each content, whatever it is."""

from __future__ import annotations

import time

from sensorium.errors import SensoriumError
from sensorium.v1.embedding_pb2 import ItemResult
from sensorium.v1.orchestrator_pb2 import EmbedRequest, EmbedResponse
from services.orchestrator.batches import Outcome
from services.orchestrator.checks import check_count, check_options, check_prompt
from services.orchestrator.contents import pieces
from services.orchestrator.encode import encode
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from shared.serving.items import failed_item


async def embed(request: EmbedRequest, mesh: Mesh, max_items: int) -> EmbedResponse:
    """Returns one result a content, in request order, all in one space.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with a content is that content's result.
    """
    started = time.perf_counter_ns()
    check_count("contents", len(request.contents), max_items)
    space = mesh.space(request.space)
    check_options(request.options, space)
    check_prompt("prompt_name", request.prompt_name, space, mesh)
    contents = pieces("contents", request.contents, request.prompt_name)
    encoded = await encode(contents, space, mesh, request.options)
    return EmbedResponse(
        results=[item_result(outcome) for outcome in encoded.outcomes],
        receipt=receipt(encoded.receipts, time.perf_counter_ns() - started),
    )


def item_result(outcome: Outcome) -> ItemResult:
    """Returns the message of what became of one item."""
    if isinstance(outcome, SensoriumError):
        return ItemResult(error=failed_item(outcome))
    return ItemResult(embedding=outcome)
