"""Compare: how alike each query is to each candidate."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from sensorium.errors import SensoriumError
from sensorium.v1.orchestrator_pb2 import CompareRequest, CompareResponse, ContentError
from services.orchestrator.checks import check_count, check_prompt
from services.orchestrator.contents import pieces
from services.orchestrator.encode import encode_rows
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from services.orchestrator.scores import cosines, probabilities
from shared.serving.items import failed_item


async def compare(request: CompareRequest, mesh: Mesh, max_items: int) -> CompareResponse:
    """Returns the matrix of cosines, and of probabilities where a query's modality has a calibration.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with a content makes its row or column NaN.
    """
    started = time.perf_counter_ns()
    check_count("queries", len(request.queries), max_items)
    check_count("candidates", len(request.candidates), max_items)
    space = mesh.space(request.space)
    check_prompt("query_prompt_name", request.query_prompt_name, space, mesh)
    check_prompt("candidate_prompt_name", request.candidate_prompt_name, space, mesh)
    queries = pieces("queries", request.queries, request.query_prompt_name)
    candidates = pieces("candidates", request.candidates, request.candidate_prompt_name)
    encoded = await encode_rows([*queries, *candidates], space, mesh)

    split = len(queries)
    scores = cosines(encoded.rows[:split], encoded.rows[split:])  # (q, c)
    calibrations = [space.calibration(query.modality) for query in queries]
    is_calibrated = any(calibration is not None for calibration in calibrations)
    return CompareResponse(
        query_count=scores.shape[0],
        candidate_count=scores.shape[1],
        scores=scores.ravel().tolist(),
        probabilities=probabilities(scores, calibrations).ravel().tolist() if is_calibrated else (),
        query_errors=content_errors(encoded.errors, range(split)),
        candidate_errors=content_errors(encoded.errors, range(split, len(encoded.rows))),
        space=space.name,
        receipt=receipt(encoded.receipts, time.perf_counter_ns() - started),
    )


def content_errors(errors: Mapping[int, SensoriumError], places: range) -> Sequence[ContentError]:
    """Returns the errors of a stretch of contents, counted from its start."""
    return [
        ContentError(index=place - places.start, error=failed_item(errors[place]))
        for place in places
        if place in errors
    ]
