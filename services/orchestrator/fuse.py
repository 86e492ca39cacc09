"""Fuse: one vector for each item, joined from what its parts say."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.status import to_status
from sensorium.v1 import content_pb2
from sensorium.v1.embedding_pb2 import Embedding, EncodeOptions
from sensorium.v1.fusion_pb2 import FusionItem, FusionPart, FusionServiceFuseRequest, FusionServiceFuseResponse
from sensorium.v1.model_pb2 import Model
from sensorium.v1.orchestrator_pb2 import ContentError, FuseItem, FusePart, FuseRequest, FuseResponse, FuseResult
from services.orchestrator.batches import Outcome, Outcomes, in_batches
from services.orchestrator.checks import check_count
from services.orchestrator.contents import Piece, piece
from services.orchestrator.encode import encode
from services.orchestrator.fusers import choose_fuser
from services.orchestrator.mesh import Fusion, Mesh
from services.orchestrator.receipts import receipt
from services.orchestrator.spaces import model_id
from shared.serving.items import failed_item

_MAX_PARTS = 16  # these two are of the contract: see FuseItem and FusePart
_MAX_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True)
class _View:
    """One part of an item that counts. place: where it is in the item."""

    place: int
    piece: Piece
    modality: content_pb2.Modality.ValueType
    weight: float


@dataclass(slots=True)
class _Item:
    """One item on its way: its views, what became of each, and in the end of the item."""

    path: str
    views: Sequence[_View] = ()
    kept: list[tuple[_View, Embedding]] = field(default_factory=list)
    failed: list[tuple[_View, SensoriumError]] = field(default_factory=list)
    outcome: Outcome | None = None


async def fuse(request: FuseRequest, mesh: Mesh, max_items: int) -> FuseResponse:
    """Returns one result an item, in request order: its parts are encoded side by side, then joined by a fusion model.

    Raises:
        SensoriumError: the request as a whole is refused; what is wrong with an item is that item's result.
    """
    started = time.perf_counter_ns()
    check_count("items", len(request.items), max_items)
    space = mesh.space(request.space)
    fusion, model = choose_fuser(request.model, space, mesh)
    items = [_read(item, f"items[{index}]") for index, item in enumerate(request.items)]

    encoded = await encode([view.piece for item in items for view in item.views], space, mesh, EncodeOptions())
    _settle(items, encoded, allow_partial=request.allow_partial)
    ready = [item for item in items if item.outcome is None]
    joined = await _join(ready, fusion, model)
    for item, outcome in zip(ready, joined.outcomes, strict=True):
        item.outcome = _rooted(outcome, item) if isinstance(outcome, SensoriumError) else outcome
    total_ns = time.perf_counter_ns() - started
    return FuseResponse(
        results=[_result(item) for item in items], receipt=receipt([*encoded.receipts, *joined.receipts], total_ns)
    )


def _read(item: FuseItem, path: str) -> _Item:
    try:
        return _Item(path, _views(item, path))
    except InvalidInput as error:
        return _Item(path, outcome=error)


def _views(item: FuseItem, path: str) -> Sequence[_View]:
    """Returns the parts of an item that count.

    Raises:
        InvalidInput: there are none or too many, or one has a bad weight or modality.
    """
    check_count(f"{path}.parts", len(item.parts), _MAX_PARTS)
    views = [_view(part, place, f"{path}.parts[{place}]") for place, part in enumerate(item.parts)]
    counting = [view for view in views if view.weight > 0]
    if not counting:
        raise InvalidInput("has only parts of weight 0; at least one must count", field=f"{path}.parts")
    return counting


def _view(part: FusePart, place: int, path: str) -> _View:
    weight = part.weight if part.HasField("weight") else 1.0
    if not 0 <= weight <= _MAX_WEIGHT:  # nor is NaN
        raise InvalidInput(f"is {weight}; give 0 to {_MAX_WEIGHT:g}", field=f"{path}.weight")
    seen = piece(part.content, f"{path}.content")
    modality = seen.modality or part.modality
    if seen.kind == "embedding" and modality == content_pb2.MODALITY_UNSPECIFIED:
        raise InvalidInput(
            "is not set; an embedding does not tell what it was made from",
            reason=Reason.FIELD_MISSING,
            field=f"{path}.modality",
        )
    if (
        part.modality not in (content_pb2.MODALITY_UNSPECIFIED, modality)
        or modality not in content_pb2.Modality.values()
    ):
        raise InvalidInput(f"is {part.modality}, which the content is not", field=f"{path}.modality")
    return _View(place, seen, modality, weight)


def _settle(items: Sequence[_Item], encoded: Outcomes, *, allow_partial: bool) -> None:
    """Hands every view its outcome, and ends the items that must not go on without the views that failed."""
    outcomes = iter(encoded.outcomes)
    for item in items:
        for view in item.views:
            outcome = next(outcomes)
            if isinstance(outcome, SensoriumError):
                item.failed.append((view, outcome))
            else:
                item.kept.append((view, outcome))
        if item.failed and not (allow_partial and item.kept):
            item.outcome = item.failed[0][1]


async def _join(items: Sequence[_Item], fusion: Fusion, model: Model) -> Outcomes:
    """Returns the joint vectors of items."""
    if not items:
        return Outcomes([])

    async def send(batch: Sequence[FusionItem]) -> FusionServiceFuseResponse:
        request = FusionServiceFuseRequest(items=batch, model=model_id(model))
        return await fusion.peer.compute(fusion.stub.Fuse, request)

    return await in_batches([_message(item) for item in items], model.limits, FusionItem.ByteSize, send)


def _message(item: _Item) -> FusionItem:
    return FusionItem(
        parts=[
            FusionPart(embedding=embedding, modality=view.modality, weight=view.weight) for view, embedding in item.kept
        ]
    )


# The fusion service says `items[2].parts[1].embedding.values`.
_PART = re.compile(r"^items\[\d+\]\.parts\[(\d+)\]\.?")


def _rooted(error: SensoriumError, item: _Item) -> SensoriumError:
    """Returns an error of the fusion service with the field as the caller knows it."""
    part = _PART.match(error.field)
    if part is None:
        return error.at(item.path) if error.field else error
    return error.at(f"{item.path}.parts[{item.kept[int(part[1])][0].place}]")


def _result(item: _Item) -> FuseResult:
    part_errors = [ContentError(index=view.place, error=failed_item(error)) for view, error in item.failed]
    assert item.outcome is not None, "every item was either refused or joined"
    if isinstance(item.outcome, SensoriumError):
        # An item that failed for a part's sake was counted with that part.
        error = to_status(item.outcome) if item.failed else failed_item(item.outcome)
        return FuseResult(error=error, part_errors=part_errors)
    modalities = sorted({view.modality for view, _ in item.kept})
    return FuseResult(embedding=item.outcome, modalities=modalities, part_errors=part_errors)
