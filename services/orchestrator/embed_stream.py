"""EmbedStream: Embed for ingest, a message a content, gathered into batches on their way to the encoders."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from sensorium.channel import MAX_MESSAGE_BYTES
from sensorium.errors import Overloaded, SensoriumError
from sensorium.v1.embedding_pb2 import Embedding, Receipt
from sensorium.v1.orchestrator_pb2 import EmbedStreamRequest, EmbedStreamResponse
from services.orchestrator.batches import Outcome, Outcomes
from services.orchestrator.checks import check_options, check_prompt
from services.orchestrator.concurrency import first_cause
from services.orchestrator.contents import piece
from services.orchestrator.embed import item_result
from services.orchestrator.encode import encode
from services.orchestrator.mesh import Mesh
from services.orchestrator.receipts import receipt
from shared.serving.call import current_call, enter_call
from shared.serving.streams import Window, patiently

# Guesses: batches of 32 make the cost of a call small beside that of its items, four of them keep an encoder busy while
# one is on the way, and as many again may gather meanwhile.
_BATCH_ITEMS = 32
_BATCHES_IN_FLIGHT = 4
_WINDOW_ITEMS = 2 * _BATCH_ITEMS * _BATCHES_IN_FLIGHT
_WINDOW_BYTES = MAX_MESSAGE_BYTES

Write = Callable[[EmbedStreamResponse], Awaitable[None]]
# What can be encoded in one call: the kind of content, the space, the prompt, and the options, as bytes.
_LaneKey = tuple[str, str, str, bytes]


async def embed_stream(requests: AsyncIterator[EmbedStreamRequest], write: Write, mesh: Mesh) -> None:
    """Writes one answer a message, as soon as it is there; returns when the caller has closed and all are written.

    What is wrong with a message is its own answer. No further message is read while too much is unanswered. Where the
    caller's side breaks, what was read is answered all the same: a write that is cut off would leave the call open.
    """
    stream = _Stream(write, mesh)
    broken: SensoriumError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            try:
                async for request in requests:
                    await stream.window.enter(request.ByteSize())
                    drain = stream.accept(request)
                    if drain is not None:
                        group.create_task(stream.drain(*drain))
            except SensoriumError as error:
                broken = error
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None
    if broken is not None:
        raise broken


@dataclass(slots=True)
class _Lane:
    """Messages that can share a call, and how many tasks take batches from them."""

    waiting: deque[EmbedStreamRequest] = field(default_factory=deque)
    drain_count: int = 0


class _Stream:
    """One stream: its lanes, and what is on its way."""

    def __init__(self, write: Write, mesh: Mesh) -> None:
        self.window = Window(_WINDOW_ITEMS, _WINDOW_BYTES)
        self._write = write
        self._mesh = mesh
        self._lanes: dict[_LaneKey, _Lane] = {}
        self._writing = asyncio.Lock()  # gRPC takes one message of a stream at a time

    def accept(self, request: EmbedStreamRequest) -> tuple[_LaneKey, _Lane] | None:
        """Puts a message in its lane; returns the lane where one more task should drain it.

        There is no timer: the first messages leave at once, and what arrives while they are on their way gathers.
        """
        kind = request.content.WhichOneof("kind") or ""
        key = (kind, request.space, request.prompt_name, request.options.SerializeToString(deterministic=True))
        lane = self._lanes.setdefault(key, _Lane())
        lane.waiting.append(request)
        if lane.drain_count == _BATCHES_IN_FLIGHT:
            return None
        lane.drain_count += 1
        return key, lane

    async def drain(self, key: _LaneKey, lane: _Lane) -> None:
        """Answers the messages of a lane, batch by batch, until none waits."""
        while lane.waiting:
            batch = [lane.waiting.popleft() for _ in range(min(_BATCH_ITEMS, len(lane.waiting)))]
            outcomes, cost = await self._encode(batch)
            async with self._writing:
                for request, outcome in zip(batch, outcomes, strict=True):
                    await self._write(EmbedStreamResponse(id=request.id, result=item_result(outcome), receipt=cost))
            await self.window.leave(len(batch), sum(request.ByteSize() for request in batch))
        lane.drain_count -= 1
        if not lane.drain_count:
            del self._lanes[key]  # a caller may vary its options without end

    async def _encode(self, batch: Sequence[EmbedStreamRequest]) -> tuple[Sequence[Outcome], Receipt | None]:
        """Returns what became of messages that share space and options, and what the encoder's call cost."""
        running = current_call()
        call = dataclasses.replace(running, deadline=running.item_deadline())
        enter_call(call)  # seen by this task alone
        started = time.perf_counter_ns()
        try:
            encoded = await self._encode_patiently(batch, call.deadline)
        except SensoriumError as error:
            return [error] * len(batch), None
        finally:
            enter_call(running)
        if len(encoded.receipts) == 1:
            return encoded.outcomes, encoded.receipts[0]
        return encoded.outcomes, receipt(encoded.receipts, time.perf_counter_ns() - started)

    async def _encode_patiently(self, batch: Sequence[EmbedStreamRequest], deadline: float) -> Outcomes[Embedding]:
        """Encodes a batch, and again what a full queue refused of it: a stream is slowed down, not refused."""
        options, prompt = batch[0].options, batch[0].prompt_name
        space = self._mesh.space(batch[0].space)
        check_options(options, space)
        check_prompt("prompt_name", prompt, space, self._mesh)
        outcomes: dict[int, Outcome] = {}
        receipts: list[Receipt] = []

        async def attempt() -> None:
            left = [place for place in range(len(batch)) if isinstance(outcomes.get(place), Overloaded | None)]
            pieces = [piece(batch[place].content, "content", prompt) for place in left]
            encoded = await encode(pieces, space, self._mesh, options)
            outcomes.update(zip(left, encoded.outcomes, strict=True))
            receipts.extend(encoded.receipts)
            for outcome in encoded.outcomes:
                if isinstance(outcome, Overloaded):
                    raise outcome

        with contextlib.suppress(Overloaded):  # to the end: then that is their answer
            await patiently(attempt, deadline)
        return Outcomes([outcomes[place] for place in range(len(batch))], receipts)
