"""Streams answer side by side, bounded, in whatever order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from sensorium.errors import Overloaded
from shared.serving.streams import STREAM_BYTES, answers, patiently


async def numbers(count: int, seen: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if seen is not None:
            seen.append(number)
        yield number


async def test_a_quick_answer_overtakes_a_slow_one() -> None:
    release = asyncio.Event()

    async def answer(number: int) -> int:
        if number == 0:
            await release.wait()
        return number

    got = []
    async for number in answers(numbers(3), answer):
        got.append(number)
        if len(got) == 2:
            release.set()
    assert (sorted(got[:2]), got[2]) == ([1, 2], 0)


async def test_no_more_than_the_width_is_read_ahead_of_the_reader() -> None:
    seen: list[int] = []

    async def answer(number: int) -> int:
        return number

    stream = answers(numbers(100, seen), answer, width=4)
    assert await anext(stream) == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(seen) <= 4 + 2
    assert sum([1 async for _ in stream]) == 99


async def test_large_requests_wait_for_room_in_bytes_and_one_always_fits() -> None:
    seen: list[int] = []

    async def answer(number: int) -> int:
        return number

    stream = answers(numbers(10, seen), answer, byte_count=lambda _: STREAM_BYTES)
    assert await anext(stream) == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(seen) <= 1 + 2
    assert sum([1 async for _ in stream]) == 9


async def test_what_ends_the_senders_side_ends_the_stream() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("gone")

    async def answer(number: int) -> int:
        return number

    stream = answers(broken(), answer)
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match="gone"):
        await anext(stream)


async def test_a_reader_who_leaves_cancels_what_runs() -> None:
    cancelled = asyncio.Event()

    async def answer(number: int) -> int:
        if number == 0:
            return number
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return number

    stream = answers(numbers(2), answer)
    assert await anext(stream) == 0
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator has it
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_full_queue_slows_a_stream_down_and_only_the_deadline_refuses() -> None:
    tries = 0

    async def attempt() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Overloaded("full", retry_after_s=0.01)
        return "done"

    assert await patiently(attempt, time.monotonic() + 10) == "done"
    tries = -1000
    with pytest.raises(Overloaded):
        await patiently(attempt, time.monotonic() + 0.03)
