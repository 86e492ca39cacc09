"""Predict: class probabilities for each item, by a head that was trained on vectors of a space."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sensorium.errors import InvalidInput, SensoriumError
from sensorium.status import from_status
from sensorium.v1.fusion_pb2 import FusionItem, Prediction, PredictRequest, PredictResponse, PredictResult
from sensorium.v1.orchestrator_pb2 import OrchestratorServicePredictRequest, OrchestratorServicePredictResponse
from services.orchestrator.checks import check_count, check_prompt
from services.orchestrator.fusers import choose_predictor
from services.orchestrator.items import Item, encode_views, item_error, read_items, send_on
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from services.orchestrator.spaces import model_id
from shared.serving.items import failed_item


async def predict(
    request: OrchestratorServicePredictRequest, mesh: Mesh, max_items: int
) -> OrchestratorServicePredictResponse:
    """Returns one result an item, in request order: its parts are encoded side by side, then go to a trained head.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with an item is that item's result.
    """
    started = time.perf_counter_ns()
    check_count("items", len(request.items), max_items)
    if request.top_k < 0:
        raise InvalidInput(f"is {request.top_k}; give the most classes to return, or 0 for all", field="top_k")
    fusion, model = choose_predictor(request.model, request.space, mesh)
    space = mesh.space(model.space)
    check_prompt("prompt_name", request.prompt_name, space, mesh)
    items = read_items(request.items, request.prompt_name)

    async def send(batch: Sequence[FusionItem]) -> PredictResponse:
        asked = PredictRequest(items=batch, model=model_id(model), top_k=request.top_k)
        return await fusion.peer.compute(fusion.stub.Predict, asked)

    receipts = await encode_views(items, space, mesh, allow_partial=False)
    predicted = await send_on(items, model.limits, send, _prediction)
    total_ns = time.perf_counter_ns() - started
    return OrchestratorServicePredictResponse(
        results=[_result(item, outcome) for item, outcome in zip(items, predicted.outcomes, strict=True)],
        receipt=receipt([*receipts, *predicted.receipts], total_ns),
    )


def _prediction(result: PredictResult) -> Prediction | SensoriumError:
    return from_status(result.error) if result.HasField("error") else result.prediction


def _result(item: Item, outcome: Prediction | SensoriumError) -> PredictResult:
    if not isinstance(outcome, SensoriumError):
        return PredictResult(prediction=outcome)
    for _, error in item.failed:
        failed_item(error)
    return PredictResult(error=item_error(outcome, item))
