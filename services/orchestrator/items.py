"""Items that are seen in several ways: read from a request, their parts encoded, then sent on to the fusion service."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from google.rpc import status_pb2

from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.status import to_status
from sensorium.v1 import content_pb2
from sensorium.v1.embedding_pb2 import Embedding, EncodeOptions, Receipt
from sensorium.v1.fusion_pb2 import FusionItem, FusionPart
from sensorium.v1.model_pb2 import Limits
from sensorium.v1.orchestrator_pb2 import FuseItem, FusePart
from services.orchestrator.batches import Outcomes, Response, in_batches
from services.orchestrator.checks import check_count
from services.orchestrator.contents import Piece, piece
from services.orchestrator.encode import encode
from services.orchestrator.mesh import Mesh
from services.orchestrator.spaces import Space
from shared.serving.items import failed_item

_MAX_PARTS = 16  # these two are of the contract: see FuseItem and FusePart
_MAX_WEIGHT = 1000.0

_Made = TypeVar("_Made")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class View:
    """One part of an item that counts. place: where it is in the item."""

    place: int
    piece: Piece
    modality: content_pb2.Modality.ValueType
    weight: float


@dataclass(slots=True)
class Item:
    """One item on its way: its views, and what became of each.

    error: why the item cannot go on; None while it can.
    """

    path: str
    views: Sequence[View] = ()
    kept: list[tuple[View, Embedding]] = field(default_factory=list)
    failed: list[tuple[View, SensoriumError]] = field(default_factory=list)
    error: SensoriumError | None = None


def read_items(items: Iterable[FuseItem], prompt: str) -> Sequence[Item]:
    """Returns the items of the field `items`; what is wrong with one is its error. The prompt is for their texts."""
    return [_read(item, f"items[{index}]", prompt) for index, item in enumerate(items)]


def _read(item: FuseItem, path: str, prompt: str) -> Item:
    try:
        return Item(path, _views(item, path, prompt))
    except InvalidInput as error:
        return Item(path, error=error)


def _views(item: FuseItem, path: str, prompt: str) -> Sequence[View]:
    """Returns the parts of an item that count.

    Raises:
        InvalidInput: there are none or too many, or one has a bad weight or modality.
    """
    check_count(f"{path}.parts", len(item.parts), _MAX_PARTS)
    views = [_view(part, place, f"{path}.parts[{place}]", prompt) for place, part in enumerate(item.parts)]
    counting = [view for view in views if view.weight > 0]
    if not counting:
        raise InvalidInput("has only parts of weight 0; at least one must count", field=f"{path}.parts")
    return counting


def _view(part: FusePart, place: int, path: str, prompt: str) -> View:
    weight = part.weight if part.HasField("weight") else 1.0
    if not 0 <= weight <= _MAX_WEIGHT:  # nor is NaN
        raise InvalidInput(f"is {weight}; give 0 to {_MAX_WEIGHT:g}", field=f"{path}.weight")
    seen = piece(part.content, f"{path}.content", prompt)
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
    return View(place, seen, modality, weight)


async def encode_views(items: Sequence[Item], space: Space, mesh: Mesh, *, allow_partial: bool) -> Sequence[Receipt]:
    """Hands every view of the items what became of it, and ends the items that must not go on without some of them.

    Raises:
        DeadlineExceeded: the time of the call is over.
    """
    encoded = await encode([view.piece for item in items for view in item.views], space, mesh, EncodeOptions())
    outcomes = iter(encoded.outcomes)
    for item in items:
        for view in item.views:
            outcome = next(outcomes)
            if isinstance(outcome, SensoriumError):
                item.failed.append((view, outcome))
            else:
                item.kept.append((view, outcome))
        if item.failed and not (allow_partial and item.kept):
            item.error = item.failed[0][1]
    return encoded.receipts


async def send_on(
    items: Sequence[Item],
    limits: Limits,
    send: Callable[[Sequence[FusionItem]], Awaitable[Response[_Result]]],
    read: Callable[[_Result], _Made | SensoriumError],
) -> Outcomes[_Made]:
    """Returns what the fusion service made of each item that can go on, and of the others their error.

    send, read: see `in_batches`.

    Raises:
        DeadlineExceeded: the time of the call is over.
    """
    ready = [item for item in items if item.error is None]
    if not ready:
        return Outcomes([item.error for item in items if item.error is not None])
    answer = await in_batches([_message(item) for item in ready], limits, FusionItem.ByteSize, send, read)
    made = iter(answer.outcomes)
    outcomes = [_rooted(next(made), item) if item.error is None else item.error for item in items]
    return Outcomes(outcomes, answer.receipts)


def item_error(error: SensoriumError, item: Item) -> status_pb2.Status:
    """Returns the error of an item; one that failed for a part's sake was counted with that part."""
    return to_status(error) if item.failed else failed_item(error)


def _message(item: Item) -> FusionItem:
    return FusionItem(
        parts=[
            FusionPart(embedding=embedding, modality=view.modality, weight=view.weight) for view, embedding in item.kept
        ]
    )


# The fusion service says `items[2].parts[1].embedding.values`.
_PART = re.compile(r"^items\[\d+\]\.parts\[(\d+)\]\.?")


def _rooted(outcome: _Made | SensoriumError, item: Item) -> _Made | SensoriumError:
    """Returns an outcome; an error of the fusion service with the field as the caller knows it."""
    if not isinstance(outcome, SensoriumError):
        return outcome
    part = _PART.match(outcome.field)
    if part is None:
        return outcome.at(item.path) if outcome.field else outcome
    return outcome.at(f"{item.path}.parts[{item.kept[int(part[1])][0].place}]")
