"""Classify: labels for each content, named by text (zero-shot), shown by examples (few-shot), or both."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import FailedPrecondition, InvalidInput, Reason
from sensorium.v1.model_pb2 import Calibration
from sensorium.v1.orchestrator_pb2 import ClassifyRequest, ClassifyResponse, ClassifyResult, LabelRanking, ScoredLabel
from services.orchestrator.checks import check_count, check_prompt
from services.orchestrator.contents import Piece, pieces
from services.orchestrator.encode import encode_rows
from services.orchestrator.labels import Definition, check_labels, definitions, prototypes
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from services.orchestrator.scores import cosines, sigmoid, softmax
from services.orchestrator.spaces import Space, model_id
from shared.serving.items import failed_item


async def classify(request: ClassifyRequest, mesh: Mesh, max_items: int) -> ClassifyResponse:
    """Returns the labels of each content, the best first.

    Raises:
        SensoriumError: the request as a whole is refused, or a label could not be encoded; what is wrong with a content
            is that content's result.
    """
    started = time.perf_counter_ns()
    _check(request, max_items)
    space = mesh.space(request.space)
    check_prompt("prompt_name", request.prompt_name, space, mesh)
    check_prompt("label_prompt_name", request.label_prompt_name, space, mesh)
    contents = pieces("contents", request.contents, request.prompt_name)
    calibrations = [space.calibration(content.modality) for content in contents]
    levels = _none_cosines(request, contents, calibrations)
    if request.multi_label:
        _check_bias(contents, calibrations, space)
    defined = definitions(request.labels, request.templates or space.templates, request.label_prompt_name)
    encoded = await encode_rows([*contents, *_all_pieces(defined)], space, mesh)

    split = len(contents)
    label_errors = {place - split: error for place, error in encoded.errors.items() if place >= split}
    scores = cosines(encoded.rows[:split], prototypes(defined, encoded.rows[split:], label_errors))  # (n, labels)
    results = [
        ClassifyResult(error=failed_item(encoded.errors[place]))
        if place in encoded.errors
        else ClassifyResult(ranking=_ranking(request, scores[place], calibrations[place], levels[place]))
        for place in range(split)
    ]
    total_ns = time.perf_counter_ns() - started
    return ClassifyResponse(results=results, space=space.name, receipt=receipt(encoded.receipts, total_ns))


def _check(request: ClassifyRequest, max_items: int) -> None:
    check_count("contents", len(request.contents), max_items)
    check_labels(request.labels, request.templates)
    if request.top_k < 0:
        raise InvalidInput(f"is {request.top_k}; give the most labels to return, or 0 for all", field="top_k")


def _check_bias(contents: Sequence[Piece], calibrations: Sequence[Calibration | None], space: Space) -> None:
    """Refuses to judge labels one by one where the model of a content has no bias; known before anything is encoded."""
    for content, calibration in zip(contents, calibrations, strict=True):
        route = space.routes.get(content.modality)
        if route is None and content.kind != "embedding":
            continue  # it cannot be encoded either, which its own result says
        if calibration is None or not calibration.HasField("logit_bias"):
            model = model_id(route.model) if route is not None else f"the space {space.name}"
            raise FailedPrecondition(
                f"asks for independent probabilities, but {model} has no logit_bias to make them of; leave it off",
                reason=Reason.NOT_CALIBRATED,
                field="multi_label",
                metadata={"model": model},
            )


def _all_pieces(defined: Sequence[Definition]) -> Iterator[Piece]:
    return itertools.chain.from_iterable((*label.names, *label.examples) for label in defined)


def _none_cosines(
    request: ClassifyRequest, contents: Sequence[Piece], calibrations: Sequence[Calibration | None]
) -> Sequence[float | None]:
    """Returns the level below which the best label of each content is probably none of these, where one applies.

    It was measured for one modality against labels that are named: the cosines of examples are of another height.
    """
    if any(label.examples for label in request.labels):
        return [None] * len(contents)
    return [
        calibration.none_cosine
        if content.kind != "embedding" and calibration is not None and calibration.HasField("none_cosine")
        else None
        for content, calibration in zip(contents, calibrations, strict=True)
    ]


def _ranking(
    request: ClassifyRequest,
    scores: NDArray[np.float32],
    calibration: Calibration | None,
    none_cosine: float | None,
) -> LabelRanking:
    """Returns the best labels of one content by its (labels,) cosines; equal ones stay in the order of the request."""
    best = np.argsort(-scores, kind="stable")[: request.top_k or None]
    ranked = LabelRanking(
        labels=[
            ScoredLabel(name=request.labels[index].name, index=index, score=score)
            for index, score in zip(best.tolist(), scores[best].tolist(), strict=True)
        ],
        none_cosine=none_cosine,
        is_unsure=none_cosine is not None and float(scores[best[0]]) < none_cosine,
    )
    if calibration is not None:
        chances = _probabilities(scores, calibration, multi_label=request.multi_label)[best]
        for label, probability in zip(ranked.labels, chances.tolist(), strict=True):
            label.probability = probability
    return ranked


def _probabilities(scores: NDArray[np.float32], calibration: Calibration, *, multi_label: bool) -> NDArray[np.float32]:
    """Returns the (labels,) probabilities of one content, of all labels, before any is left out.

    One label of many: softmax(logit_scale * cos), as in CLIP; a sigmoid model's bias would cancel out. Several or none:
    sigmoid(logit_scale * cos + logit_bias), as in SigLIP. `scores.py` cites both.
    """
    if multi_label:
        return sigmoid(calibration.logit_scale * scores + calibration.logit_bias)
    return softmax(calibration.logit_scale * scores)
