"""Fuse: one vector for each item, joined from what its parts say."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sensorium.errors import SensoriumError
from sensorium.v1.fusion_pb2 import FusionItem, FusionServiceFuseRequest, FusionServiceFuseResponse
from sensorium.v1.orchestrator_pb2 import ContentError, FuseRequest, FuseResponse, FuseResult
from services.orchestrator.batches import Outcome, vector_of
from services.orchestrator.checks import check_count, check_prompt
from services.orchestrator.fusers import choose_fuser
from services.orchestrator.items import Item, encode_views, item_error, read_items, send_on
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from services.orchestrator.spaces import model_id
from shared.serving.items import failed_item


async def fuse(request: FuseRequest, mesh: Mesh, max_items: int) -> FuseResponse:
    """Returns one result an item, in request order: its parts are encoded side by side, then joined by a fusion model.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with an item is that item's result.
    """
    started = time.perf_counter_ns()
    check_count("items", len(request.items), max_items)
    space = mesh.space(request.space)
    check_prompt("prompt_name", request.prompt_name, space, mesh)
    fusion, model = choose_fuser(request.model, space, mesh)
    items = read_items(request.items, request.prompt_name)

    async def send(batch: Sequence[FusionItem]) -> FusionServiceFuseResponse:
        asked = FusionServiceFuseRequest(items=batch, model=model_id(model))
        return await fusion.peer.compute(fusion.stub.Fuse, asked)

    receipts = await encode_views(items, space, mesh, allow_partial=request.allow_partial)
    joined = await send_on(items, model.limits, send, vector_of)
    total_ns = time.perf_counter_ns() - started
    return FuseResponse(
        results=[_result(item, outcome) for item, outcome in zip(items, joined.outcomes, strict=True)],
        receipt=receipt([*receipts, *joined.receipts], total_ns),
    )


def _result(item: Item, outcome: Outcome) -> FuseResult:
    part_errors = [ContentError(index=view.place, error=failed_item(error)) for view, error in item.failed]
    if isinstance(outcome, SensoriumError):
        return FuseResult(error=item_error(outcome, item), part_errors=part_errors)
    modalities = sorted({view.modality for view, _ in item.kept})
    return FuseResult(embedding=outcome, modalities=modalities, part_errors=part_errors)
