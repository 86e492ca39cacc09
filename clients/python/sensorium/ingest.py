"""Streams contents through a mesh: no further ahead than the answers allow, and again what was refused for now.

What moves, all on one loop:

    caller's iterable ──_read──▶ to send ──_messages──▶ gRPC ──_hear──▶ answers ──▶ caller
                                    ▲                              │
                                    └────── refused for now ◀──────┘

A content has a place in the window from when it is taken from the iterable until the caller takes its answer. So the
iterable is never read further ahead than that, and what must be sent again is still here.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from sensorium.answers import read_item
from sensorium.channel import MAX_MESSAGE_BYTES
from sensorium.errors import InternalError, SensoriumError
from sensorium.options import refusal_of_size
from sensorium.retries import retry_delay_s
from sensorium.v1.content_pb2 import Content
from sensorium.v1.orchestrator_pb2 import EmbedStreamRequest, EmbedStreamResponse

if TYPE_CHECKING:
    Stream = grpc.aio.StreamStreamCall[EmbedStreamRequest, EmbedStreamResponse]

Vector = NDArray[np.float32]
Contents = AsyncIterable[tuple[str, Content]] | Iterable[tuple[str, Content]]

# Twice what the orchestrator works on at once for one stream (`services/orchestrator/embed_stream.py`), so that it
# never waits for us; and as many bytes as it holds of them.
WINDOW_ITEMS = 512
_WINDOW_BYTES = MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream is.

    done: contents that have their vector. failed: those that have an error instead, for good.
    retried: how often one was sent again. in_flight: how many were taken from the iterable and have no answer yet.
    """

    done: int = 0
    failed: int = 0
    retried: int = 0
    in_flight: int = 0


OnProgress = Callable[[Progress], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """How contents are streamed.

    open_stream: starts a stream of messages with what is left of the time, in seconds.
    why: says of what a stream broke.
    template: every message, but for its id and content.
    timeout_s: for the whole; None is for ever.
    max_tries: of one content; and of streams in a row that give no answer.
    patience_s: the longest wait for another try that is worth it.
    """

    open_stream: Callable[[AsyncIterator[EmbedStreamRequest], float | None], Stream]
    why: Callable[[grpc.aio.AioRpcError], Awaitable[SensoriumError]]
    template: EmbedStreamRequest
    timeout_s: float | None
    max_tries: int
    patience_s: float


@dataclass(slots=True, eq=False)
class _Item:
    """One content on its way."""

    key: str
    request: EmbedStreamRequest
    size: int
    tries: int = 1
    timer: asyncio.TimerHandle | None = None  # while it waits to be sent again


@dataclass(slots=True)
class _Window:
    """Room for what is on its way, by count and by bytes. One always fits."""

    count: int = 0
    byte_count: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def room(self) -> None:
        """Waits until there is room for one more, of a size that nobody knows yet."""
        while self.count >= WINDOW_ITEMS or self.byte_count >= _WINDOW_BYTES:
            self.changed.clear()
            await self.changed.wait()

    def move(self, count: int, byte_count: int) -> None:
        self.count += count
        self.byte_count += byte_count
        self.changed.set()


class Ingest:
    """One run of contents through streams; see `answers`."""

    def __init__(self, plan: Plan, contents: Contents) -> None:
        """Starts nothing yet."""
        self._plan = plan
        self._contents = contents
        self._window = _Window()
        self._to_send: asyncio.Queue[_Item | None] = asyncio.Queue()
        self._unanswered: dict[str, _Item] = {}  # by the id on the wire, which is ours: callers may repeat theirs
        self._answers: asyncio.Queue[tuple[_Item, Vector | SensoriumError] | BaseException | None] = asyncio.Queue()
        self._is_read = False
        self._fault: Exception | None = None  # of the caller's iterable
        self._retried = 0

    async def answers(
        self, on_progress: OnProgress | None = None
    ) -> AsyncGenerator[tuple[str, Vector | SensoriumError], None]:
        """Yields (id, vector or error) in the order in which they come to be known.

        on_progress: told after every answer, before it is yielded.

        Raises:
            SensoriumError: the stream as a whole was refused, or broke, for good.
            Exception: what the iterable raised, after the answers to all that came before.
        """
        done = failed = 0
        running = asyncio.create_task(self._run())
        try:
            while (found := await self._answers.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                item, answer = found
                self._window.move(-1, -item.size)
                failed += isinstance(answer, SensoriumError)
                done += not isinstance(answer, SensoriumError)
                if on_progress is not None:
                    on_progress(Progress(done, failed, self._retried, self._window.count))
                yield item.key, answer
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def _run(self) -> None:
        """Streams until all is answered, and says so to whoever takes the answers, whatever happens."""
        end: BaseException | None = None
        reading = asyncio.create_task(self._read())
        try:
            await self._stream_until_answered()
            end = self._fault
        except asyncio.CancelledError:
            end = asyncio.CancelledError()  # by the channel that was closed, if anybody still listens
            raise
        except Exception as fault:  # noqa: BLE001  # it is raised where the answers are taken
            end = fault
        finally:
            reading.cancel()
            for item in self._unanswered.values():
                if item.timer is not None:
                    item.timer.cancel()
            self._answers.put_nowait(end)

    async def _read(self) -> None:
        """Takes contents from the caller's iterable while there is room."""
        contents = self._contents
        source = aiter(contents) if isinstance(contents, AsyncIterable) else _in_steps(contents)
        try:
            for number in itertools.count():
                await self._window.room()
                pair = await anext(source, None)
                if pair is None:
                    break
                self._accept(str(number), *pair)
        except Exception as fault:  # noqa: BLE001  # raised after the answers to what came before
            self._fault = fault
        self._is_read = True
        self._end_if_answered()

    def _accept(self, wire_id: str, key: str, content: Content) -> None:
        request = EmbedStreamRequest(id=wire_id, content=content)
        request.MergeFrom(self._plan.template)
        item = _Item(key, request, request.ByteSize())
        self._window.move(1, item.size)
        too_large = refusal_of_size(request, "content")
        if too_large is not None:  # one such message would end the whole stream
            self._answers.put_nowait((item, too_large))
            return
        self._unanswered[wire_id] = item
        self._to_send.put_nowait(item)

    async def _stream_until_answered(self) -> None:
        began = time.monotonic()
        barren = 0  # streams in a row that gave no answer
        while True:
            left_s = None if self._plan.timeout_s is None else self._plan.timeout_s - (time.monotonic() - began)
            count, error = await self._stream(left_s)
            if error is None:
                return
            barren = 1 if count else barren + 1
            wait_s = retry_delay_s(error, barren, self._plan.max_tries)
            if wait_s is None or wait_s > self._plan.patience_s:
                raise error
            await asyncio.sleep(wait_s)
            self._send_again()

    async def _stream(self, left_s: float | None) -> tuple[int, SensoriumError | None]:
        """Runs one stream; returns how many answers it gave, and of what it broke."""
        queue, count = self._to_send, 0
        stream = self._plan.open_stream(_messages(queue), left_s)
        try:
            async for response in stream:
                count += 1
                self._hear(response)
        except grpc.aio.AioRpcError as error:
            return count, await self._plan.why(error)
        finally:
            stream.cancel()
            queue.put_nowait(None)  # a stream that is over does not cancel who waits for its next message
        if self._is_read and not self._unanswered:
            return count, None
        raise InternalError(f"the server ended the stream and left {len(self._unanswered)} contents unanswered")

    def _send_again(self) -> None:
        """Puts all that is unanswered before the next stream, but for what waits for its own time."""
        self._to_send = asyncio.Queue()
        for item in self._unanswered.values():
            if item.timer is None:
                self._to_send.put_nowait(item)
                self._retried += 1
        self._end_if_answered()

    def _hear(self, response: EmbedStreamResponse) -> None:
        item = self._unanswered.get(response.id)
        if item is None:
            return
        answer = read_item(response.result)
        if isinstance(answer, SensoriumError):
            wait_s = retry_delay_s(answer, item.tries, self._plan.max_tries)
            if wait_s is not None and wait_s <= self._plan.patience_s:
                item.timer = asyncio.get_running_loop().call_later(wait_s, self._retry, item)
                return
        del self._unanswered[response.id]
        self._answers.put_nowait((item, answer))
        self._end_if_answered()

    def _retry(self, item: _Item) -> None:
        item.timer = None
        item.tries += 1
        self._retried += 1
        self._to_send.put_nowait(item)

    def _end_if_answered(self) -> None:
        if self._is_read and not self._unanswered:
            self._to_send.put_nowait(None)


async def _messages(queue: asyncio.Queue[_Item | None]) -> AsyncIterator[EmbedStreamRequest]:
    while (item := await queue.get()) is not None:
        yield item.request


async def _in_steps(contents: Iterable[tuple[str, Content]]) -> AsyncIterator[tuple[str, Content]]:
    """Yields the contents, and lets what was taken be sent before the next is taken, which may be long in coming."""
    for pair in contents:
        yield pair
        await asyncio.sleep(0)
