"""Sends the items of one call to one model: in one batch, or in as few as its limits allow, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from sensorium.channel import MAX_MESSAGE_BYTES
from sensorium.errors import DeadlineExceeded, InternalError, SensoriumError
from sensorium.status import from_status
from sensorium.v1.embedding_pb2 import Embedding, ItemResult, Receipt
from sensorium.v1.model_pb2 import Limits
from services.orchestrator.concurrency import run_all
from shared.serving.call import current_call
from shared.serving.streams import patiently

_T = TypeVar("_T")
_Made = TypeVar("_Made")
_Result = TypeVar("_Result")
_Result_co = TypeVar("_Result_co", covariant=True)

# What becomes of one item that is to be a vector: that, or the reason why there is none.
Outcome = Embedding | SensoriumError


class Response(Protocol[_Result_co]):
    """What a peer answers to one batch: a result an item, and what that cost."""

    @property
    def results(self) -> Sequence[_Result_co]:
        """The results, in the order of the items."""

    @property
    def receipt(self) -> Receipt:
        """What the call cost."""


# Batches of one call on their way to one model at a time: one to be computed while the next is sent. More would only
# take room in its queue from other calls.
_SIDE_BY_SIDE = 2
# Room for what a request holds besides its items: options, and a tag and a length an item.
_RESERVED_BYTES = 4096
_RESERVED_ITEM_BYTES = 16


@dataclass(slots=True)
class Outcomes(Generic[_Made]):
    """What became of items, in the order they were given, and what that cost: each was made, or has an error."""

    outcomes: list[_Made | SensoriumError]
    receipts: list[Receipt] = field(default_factory=list)


async def in_batches(
    items: Sequence[_T],
    limits: Limits,
    byte_count: Callable[[_T], int],
    send: Callable[[Sequence[_T]], Awaitable[Response[_Result]]],
    read: Callable[[_Result], _Made | SensoriumError],
) -> Outcomes[_Made]:
    """Sends items in batches within a model's limits. A batch that fails fails its own items alone.

    A full queue refuses a lone batch, but several wait for one another: it may be they that filled it.

    send: makes one call for a batch.
    read: takes what was made, or the error, out of one result.

    Raises:
        DeadlineExceeded: the time of the whole call is over.
    """
    slots = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def send_patiently(batch: Sequence[_T]) -> Response[_Result]:
        async with slots:
            return await patiently(lambda: send(batch), current_call().deadline)

    batches = list(_split(items, limits, byte_count))
    if len(batches) == 1:
        return await _sent(batches[0], send, read)
    answers = await run_all(*(_sent(batch, send_patiently, read) for batch in batches))
    return Outcomes(
        [outcome for answer in answers for outcome in answer.outcomes],
        [receipt for answer in answers for receipt in answer.receipts],
    )


async def _sent(
    batch: Sequence[_T],
    send: Callable[[Sequence[_T]], Awaitable[Response[_Result]]],
    read: Callable[[_Result], _Made | SensoriumError],
) -> Outcomes[_Made]:
    try:
        response = await send(batch)
    except DeadlineExceeded:
        raise
    except SensoriumError as error:
        return Outcomes([error] * len(batch))
    if len(response.results) != len(batch):
        wrong = InternalError(f"a peer answered {len(batch)} items with {len(response.results)} results")
        return Outcomes([wrong] * len(batch))
    return Outcomes([read(result) for result in response.results], [response.receipt])


def vector_of(result: ItemResult) -> Outcome:
    """Returns the vector of a result, or its error."""
    return from_status(result.error) if result.HasField("error") else result.embedding


def _split(items: Sequence[_T], limits: Limits, byte_count: Callable[[_T], int]) -> Iterator[Sequence[_T]]:
    """Yields runs of items that one request may hold; an item that is too large by itself goes alone, to be refused."""
    most_items = limits.max_items or len(items)
    most_bytes = (limits.max_message_bytes or MAX_MESSAGE_BYTES) - _RESERVED_BYTES
    first, total = 0, 0
    for place, item in enumerate(items):
        size = byte_count(item) + _RESERVED_ITEM_BYTES
        if place > first and (place - first == most_items or total + size > most_bytes):
            yield items[first:place]
            first, total = place, 0
        total += size
    yield items[first:]
