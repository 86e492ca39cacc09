"""`FusionService`: protobuf in, models, protobuf out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.errors import FailedPrecondition, InvalidInput, Reason, SensoriumError
from sensorium.v1 import embedding_pb2, fusion_pb2, fusion_pb2_grpc
from services.fusion.predictions import prediction
from services.fusion.preprocess import Parts, alone
from services.fusion.read import read_item, read_vector
from shared.hosting import results
from shared.hosting.repository import Repository
from shared.inference.encoded import Encoded
from shared.inference.encoder import Encoder
from shared.serving.call import current_call
from shared.serving.items import failed_item

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]  # Any: of whatever message; nothing here looks into it

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Vector = NDArray[np.float32]


class FusionServicer(fusion_pb2_grpc.FusionServiceServicer):
    """See `fusion.proto`."""

    def __init__(self, repository: Repository[Parts], max_items: int) -> None:
        """Takes the loaded models and the most items of a call."""
        self._repository = repository
        self._max_items = max_items

    async def Fuse(
        self, request: fusion_pb2.FusionServiceFuseRequest, context: _Context
    ) -> fusion_pb2.FusionServiceFuseResponse:
        """Returns one joint vector an item."""
        started = time.perf_counter_ns()
        results.check_count(len(request.items), self._max_items, "items")
        fuser = self._repository.get(request.model, "fuse")
        items = _read_items(request.items, fuser)
        joint, encoded = await _compute(fuser, items)
        return fusion_pb2.FusionServiceFuseResponse(
            results=_results(joint, fuser.package.manifest.space),
            receipt=results.receipt(fuser.package, encoded, started),
        )

    async def Predict(self, request: fusion_pb2.PredictRequest, context: _Context) -> fusion_pb2.PredictResponse:
        """Returns class probabilities an item: the softmax of the predictor's logits, or the sigmoid of each."""
        started = time.perf_counter_ns()
        results.check_count(len(request.items), self._max_items, "items")
        if request.top_k < 0:
            raise InvalidInput(f"is {request.top_k}; give 1 or more, or 0 for all", field="top_k")
        predictor = self._predictor(request)
        joint = await self._joined(_read_items(request.items, predictor), predictor.package.manifest.space)
        logits, encoded = await _compute(predictor, _each(joint, alone))
        return fusion_pb2.PredictResponse(
            results=[prediction(each, predictor.package.manifest, request.top_k) for each in logits],
            receipt=results.receipt(predictor.package, encoded, started),
        )

    async def Project(self, request: fusion_pb2.ProjectRequest, context: _Context) -> fusion_pb2.ProjectResponse:
        """Carries vectors to another space; those that are there already come back as they are."""
        started = time.perf_counter_ns()
        results.check_count(len(request.embeddings), self._max_items, "embeddings")
        if not request.to_space:
            raise InvalidInput("is empty; name the space that is wanted", reason=Reason.FIELD_MISSING, field="to_space")
        answers: dict[int, _Vector | SensoriumError] = {}
        receipts: list[embedding_pb2.Receipt] = []
        for source in sorted({embedding.space for embedding in request.embeddings}):
            places = [at for at, embedding in enumerate(request.embeddings) if embedding.space == source]
            chosen = [request.embeddings[at] for at in places]
            projected = await self._project(chosen, source, request.to_space, receipts)
            answers |= zip(places, _rooted(projected, [f"embeddings[{at}]" for at in places]), strict=True)
        receipt = receipts[0] if len(receipts) == 1 else embedding_pb2.Receipt(parts=receipts)
        receipt.total_ns = time.perf_counter_ns() - started
        in_order = [answers[at] for at in range(len(request.embeddings))]
        return fusion_pb2.ProjectResponse(results=_results(in_order, request.to_space), receipt=receipt)

    def _predictor(self, request: fusion_pb2.PredictRequest) -> Encoder[Parts]:
        """Returns the model that is named, or that of the only space that the embeddings name, or the default one."""
        spaces = {part.embedding.space for item in request.items for part in item.parts}
        fitting = self._find("predict", spaces.pop()) if len(spaces) == 1 and not request.model else None
        return fitting or self._repository.get(request.model, "predict")

    async def _joined(self, items: Sequence[Parts | SensoriumError], space: str) -> Sequence[_Vector | SensoriumError]:
        """Returns each item's vector: its only part, or its parts fused by the model of their space."""
        several = [item for item in items if isinstance(item, Parts) and len(item.weights) > 1]
        if not several:
            return _each(items, lambda item: item.vectors[0])
        fuser = self._find("fuse", space)
        if fuser is None:
            raise FailedPrecondition(
                f"items with several parts need a fusion model of the space {space}, and none is loaded; "
                "load one, or give one part an item",
                reason=Reason.MODALITY_UNSUPPORTED,
            )
        fused, _ = await _compute(fuser, several)
        in_order = iter(fused)
        return [
            next(in_order) if isinstance(item, Parts) and len(item.weights) > 1 else only
            for item, only in zip(items, _each(items, lambda item: item.vectors[0]), strict=True)
        ]

    async def _project(
        self,
        embeddings: Sequence[embedding_pb2.Embedding],
        source: str,
        target: str,
        receipts: list[embedding_pb2.Receipt],
    ) -> Sequence[_Vector | SensoriumError]:
        if source == target:
            return _each(embeddings, vectors.read)
        bridge = self._find("project", target, source)
        if bridge is None:
            return [_no_bridge(source, target)] * len(embeddings)
        started = time.perf_counter_ns()
        width = bridge.package.manifest.source_dim
        read = _each(embeddings, lambda embedding: alone(read_vector(embedding, source, width)))
        projected, encoded = await _compute(bridge, read)
        receipts.append(results.receipt(bridge.package, encoded, started))
        return projected

    def _find(self, task: str, space: str, source_space: str = "") -> Encoder[Parts] | None:
        return self._repository.of_space(task, space, source_space)


async def _compute(
    encoder: Encoder[Parts], items: Sequence[Parts | SensoriumError]
) -> tuple[Sequence[_Vector | SensoriumError], Sequence[Encoded | SensoriumError]]:
    """Returns each item's row of output, or the error that it had or got; and what the encoder said."""
    good = [item for item in items if isinstance(item, Parts)]
    call = current_call()
    encoded = await encoder.encode(good, deadline=call.deadline, priority=call.priority) if good else []
    in_order = iter(encoded)
    rows = [item if isinstance(item, SensoriumError) else next(in_order) for item in items]
    return [row if isinstance(row, SensoriumError) else row.vectors[0] for row in rows], encoded


def _read_items(items: Iterable[fusion_pb2.FusionItem], encoder: Encoder[Parts]) -> Sequence[Parts | SensoriumError]:
    manifest = encoder.package.manifest
    is_scaled = bool(manifest.preprocess.get("scales", True))
    read = _each(items, lambda item: read_item(item, manifest.space, manifest.dim, is_scaled=is_scaled))
    return _rooted(read, [f"items[{at}]" for at in range(len(read))])


def _each(items: Iterable[_In | SensoriumError], do: Callable[[_In], _Out]) -> list[_Out | SensoriumError]:
    """Returns what `do` makes of each item; an item's error stays in its place."""
    done: list[_Out | SensoriumError] = []
    for item in items:
        try:
            done.append(item if isinstance(item, SensoriumError) else do(item))
        except SensoriumError as error:
            done.append(error)
    return done


def _rooted(items: Sequence[_Out | SensoriumError], fields: Sequence[str]) -> list[_Out | SensoriumError]:
    """Puts each error's field below its item's."""
    return [
        item.under(field) if isinstance(item, SensoriumError) else item
        for item, field in zip(items, fields, strict=True)
    ]


def _results(rows: Iterable[_Vector | SensoriumError], space: str) -> list[embedding_pb2.ItemResult]:
    return [
        embedding_pb2.ItemResult(error=failed_item(row))
        if isinstance(row, SensoriumError)
        else embedding_pb2.ItemResult(embedding=vectors.write(results.unit(row), space))
        for row in rows
    ]


def _no_bridge(source: str, target: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"is {source!r}, and no bridge from it to {target!r} is loaded",
        reason=Reason.SPACES_DIFFER,
        field="space",
        metadata={"from_space": source[:100], "to_space": target[:100]},
    )
