"""Callers of the replicas: what they got, and from whom."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import grpc.aio

from sensorium.channel import call
from sensorium.errors import SensoriumError
from sensorium.v1 import text_pb2, text_pb2_grpc

if TYPE_CHECKING:
    from sensorium.v1.text_pb2_grpc import TextEncoderServiceAsyncStub


class Callers:
    """Calls through channels, and keeps count.

    answered: answers by the host that gave them; errors: what went wrong; slowest_s: the longest call so far.
    """

    def __init__(self, *channels: grpc.aio.Channel, text: str = "words", timeout_s: float = 10.0) -> None:
        self.answered: Counter[str] = Counter()
        self.errors: list[SensoriumError] = []
        self.slowest_s = 0.0
        self._stubs: list[TextEncoderServiceAsyncStub] = [text_pb2_grpc.TextEncoderServiceStub(one) for one in channels]
        self._request = text_pb2.EncodeTextRequest(texts=[text])
        self._timeout_s = timeout_s

    async def once(self, channel: int = 0) -> None:
        began = time.monotonic()
        try:
            answer = await call(self._stubs[channel].EncodeText, self._request, timeout_s=self._timeout_s)
            self.answered[answer.results[0].embedding.space] += 1
        except SensoriumError as error:
            self.errors.append(error)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    async def times(self, count: int) -> Counter[str]:
        """Makes calls one after the other; returns who answered these."""
        before = Counter(self.answered)
        for _ in range(count):
            await self.once()
        return self.answered - before

    @contextlib.asynccontextmanager
    async def calling(self, each: int = 4) -> AsyncIterator[None]:
        """Keeps `each` calls in flight on every channel while the block runs; ends once the last are answered."""
        is_over = asyncio.Event()

        async def one(channel: int) -> None:
            while not is_over.is_set():
                await self.once(channel)

        async with asyncio.TaskGroup() as group:
            for channel in range(len(self._stubs)):
                for _ in range(each):
                    group.create_task(one(channel))
            try:
                yield
            finally:
                is_over.set()

    async def until(self, holds: Callable[[], bool], within_s: float) -> float:
        """Waits while others call; returns how long it took."""
        try:
            return await until(holds, within_s)
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s; {self.answered}, {self.errors[-3:]}") from None


async def until(holds: Callable[[], bool], within_s: float) -> float:
    """Waits for what others do, or processes; returns how long it took.

    Raises:
        TimeoutError: it took longer.
    """
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  # nothing here can tell of it
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def connected(callers: Callers, count: int) -> None:
    """Calls until that many replicas have answered; the test's own time limit ends a vain wait."""
    while len(callers.answered) < count:
        await callers.once()
    callers.answered.clear()
