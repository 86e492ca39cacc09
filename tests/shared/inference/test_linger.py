"""A free worker waits a moment for company, once, and never while nothing else runs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from shared.inference.costs import CostModel
from shared.inference.linger import Linger
from shared.inference.manifest import BatchLimits
from tests.shared.inference.test_scheduler import Gate, Notes, entered, later, row, scheduler


async def test_a_wait_ends_by_itself_and_the_next_dispatch_is_not_put_off() -> None:
    linger, done = Linger(), asyncio.Event()
    assert linger.holds(0.001, done.set)
    assert linger.holds(0.001, done.set), "it goes on"
    await done.wait()
    assert not linger.holds(0.001, done.set), "it is over"
    assert linger.holds(0.001, done.set), "a new one may begin"
    assert not linger.holds(0.0, done.set)


async def test_too_short_a_wait_is_none() -> None:
    assert not Linger().holds(0.0001, lambda: None)


async def test_while_a_batch_runs_what_comes_together_rides_together() -> None:
    costs, gate = CostModel(), Gate()
    for cost in (8, 16, 24, 32) * 4:
        costs.observe(8, cost, 0.001 * cost + 0.004)  # so 2 ms are worth waiting for company
    with ThreadPoolExecutor(2) as pool:
        scheduling = scheduler(gate, pool, Notes(), workers=2, limits=BatchLimits(8, 1000), costs=costs)
        first = scheduling.submit(row(0), deadline=later(), priority="interactive")
        await entered(gate)
        rest = []
        for at in (1, 2, 3):
            rest.append(scheduling.submit(row(at), deadline=later(), priority="interactive"))
            await asyncio.sleep(0)  # each in a turn of the loop of its own
        await entered(gate)
        gate.open.set()
        await asyncio.gather(first, *rest)
    assert gate.batches == [[0], [1, 2, 3]]
