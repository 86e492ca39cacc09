"""Threads are shared out among callers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

from shared.inference.fair import FairPool

_WHO: ContextVar[str] = ContextVar("who")


async def test_a_caller_with_much_to_decode_does_not_hold_all_threads_of_a_replica() -> None:
    gate, order = threading.Event(), []

    def job(name: str) -> str:
        assert gate.wait(10)
        order.append(name)
        return name

    async def submitted(who: str, count: int) -> list[str]:
        _WHO.set(who)
        return await asyncio.gather(*(fair.run(job, f"{who}{at}") for at in range(count)))

    with ThreadPoolExecutor(2) as pool:
        fair = FairPool(pool, 2, lambda: _WHO.get("nobody"))
        many = asyncio.ensure_future(submitted("many", 20))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        few = [asyncio.ensure_future(submitted(who, 2)) for who in ("a", "b")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            assert await many == [f"many{at}" for at in range(20)]
            assert await few[0] == ["a0", "a1"]
            assert await few[1] == ["b0", "b1"]
    last = max(order.index(name) for name in ("a0", "a1", "b0", "b1"))
    assert last < 9, "not behind the 18 that waited before them"


async def test_who_hangs_up_while_waiting_for_a_thread_leaves_it_to_others() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fair = FairPool(pool, 1)
        running = asyncio.ensure_future(fair.run(gate.wait, 10))
        await asyncio.sleep(0)
        gone, stays = (asyncio.ensure_future(fair.run(str, at)) for at in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        gate.set()
        async with asyncio.timeout(10):
            assert await stays == "2"
            assert await running
            assert await fair.run(str, 3) == "3"
