"""Answers the messages of a bidirectional stream side by side, a bounded number at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

from sensorium.channel import MAX_MESSAGE_BYTES
from sensorium.errors import Overloaded

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

# How many messages of one stream are worked on at once. A guess: enough to fill two batches ahead of the model.
STREAM_WIDTH = 64
STREAM_BYTES = MAX_MESSAGE_BYTES  # of such messages together, so that large pictures do not take 64 times the memory
_RETRY_AFTER_S = 1.0  # when one of very many streams may have ended: a guess


class OpenStreams:
    """Counts the streams that are open on a server, up to a limit."""

    def __init__(self, limit: int) -> None:
        """Has none yet."""
        self._limit = limit
        self._count = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Counts one more for the length of the block.

        Raises:
            Overloaded: there are as many as may be.
        """
        if self._count >= self._limit:
            raise Overloaded(
                f"the server has {self._limit} streams open, as many as it may; try another replica, or close some",
                metadata={"limit": str(self._limit)},
                retry_after_s=_RETRY_AFTER_S,
            )
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class Window:
    """Room for the messages of a stream that are unanswered, by count and by bytes. One always fits."""

    def __init__(self, most: int, most_bytes: int) -> None:
        """Is empty."""
        self._most, self._most_bytes = most, most_bytes
        self._count = 0
        self._byte_count = 0
        self._changed = asyncio.Condition()

    async def enter(self, byte_count: int) -> None:
        """Takes room for one message; waits until there is some."""

        def is_free() -> bool:
            fits = self._count < self._most and self._byte_count + byte_count <= self._most_bytes
            return fits or self._count == 0

        async with self._changed:
            await self._changed.wait_for(is_free)
            self._count += 1
            self._byte_count += byte_count

    async def leave(self, count: int, byte_count: int) -> None:
        """Gives the room of answered messages back."""
        async with self._changed:
            self._count -= count
            self._byte_count -= byte_count
            self._changed.notify_all()


async def answers(
    requests: AsyncIterator[_Request],
    answer: Callable[[_Request], Awaitable[_Response]],
    width: int = STREAM_WIDTH,
    byte_count: Callable[[_Request], int] = lambda _: 0,
    *,
    in_order: bool = False,
) -> AsyncIterator[_Response]:
    """Yields the answer to each request as soon as it is ready, in whatever order that is; or `in_order` of requests.

    No more than `width` requests, nor `STREAM_BYTES` of them by `byte_count`, are read before their answers are taken:
    a slow reader slows the sender down.
    `answer` must not raise for what is wrong with one message; what it raises ends the stream.
    """
    ready: asyncio.Queue[asyncio.Task[_Response] | None] = asyncio.Queue()
    window = Window(width, STREAM_BYTES)
    running: dict[asyncio.Task[_Response], int] = {}  # each with the bytes of its request

    async def read() -> None:
        try:
            async for request in requests:
                size = byte_count(request)
                await window.enter(size)
                task = asyncio.ensure_future(answer(request))
                running[task] = size
                if in_order:
                    ready.put_nowait(task)
                else:
                    task.add_done_callback(ready.put_nowait)
        finally:  # also where the sender's side broke: what was read is answered
            if running:
                await asyncio.wait(running)
            ready.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (task := await ready.get()) is not None:
            response = await task
            await window.leave(1, running.pop(task))
            yield response
        await reader  # raises what ended the caller's side
    finally:
        reader.cancel()
        for unanswered in running:
            unanswered.cancel()
        await asyncio.gather(reader, *running, return_exceptions=True)


async def patiently(attempt: Callable[[], Awaitable[_Response]], deadline: float) -> _Response:
    """Makes one attempt after the other while the queue is full: a stream is slowed down, not refused.

    Raises:
        Overloaded: the queue is still full at the deadline (in seconds of `time.monotonic()`).
    """
    while True:
        try:
            return await attempt()
        except Overloaded as full:
            wait_s = min(full.retry_after_s or 0.1, 0.5)
            if time.monotonic() + wait_s >= deadline:
                raise
            await asyncio.sleep(wait_s)
