"""Answers the messages of a bidirectional stream side by side, a bounded number at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from sensorium.errors import Overloaded

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

# How many messages of one stream are worked on at once. A guess: enough to fill two batches ahead of the model.
STREAM_WIDTH = 64


async def answers(
    requests: AsyncIterator[_Request], answer: Callable[[_Request], Awaitable[_Response]], width: int = STREAM_WIDTH
) -> AsyncIterator[_Response]:
    """Yields the answer to each request as soon as it is ready, in whatever order that is.

    No more than `width` requests are read before their answers are taken, so a slow reader slows the sender down.
    `answer` must not raise for what is wrong with one message; what it raises ends the stream.
    """
    ready: asyncio.Queue[asyncio.Task[_Response] | None] = asyncio.Queue()
    room = asyncio.Semaphore(width)
    running: set[asyncio.Task[_Response]] = set()

    async def read() -> None:
        try:
            async for request in requests:
                await room.acquire()
                task = asyncio.ensure_future(answer(request))
                running.add(task)
                task.add_done_callback(ready.put_nowait)
        finally:  # also where the sender's side broke: what was read is answered
            if running:
                await asyncio.wait(running)
            ready.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (task := await ready.get()) is not None:
            running.discard(task)
            room.release()
            yield task.result()
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
