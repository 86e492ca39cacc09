"""The scheduler, with a model that waits until it is told to go on."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium.errors import DeadlineExceeded, InternalError, Overloaded, Reason, Unavailable
from shared.inference.costs import CostModel
from shared.inference.features import Features
from shared.inference.manifest import BatchLimits
from shared.inference.scheduler import Scheduler


class Gate:
    """A model: row in, row out. It waits at a gate, notes its batches, and fails on rows that hold a NaN."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.batches: list[list[float]] = []

    def compute(self, rows: Sequence[Features]) -> NDArray[np.float32]:
        values = np.stack([row.arrays["x"][:1] for row in rows]).astype(np.float32)
        self.batches.append(values[:, 0].tolist())
        self.entered.release()
        assert self.open.wait(10)
        if np.isnan(values).any():
            raise ValueError("NaN")
        return values


class Notes:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.drops: dict[str, int] = {}
        self.padding: list[float] = []

    def batch_done(
        self, *, items: int, real_cost: int, padded_cost: int, queue_s: Sequence[float], inference_s: float
    ) -> None:
        self.padding.append(padded_cost / real_cost)

    def prepared(self, seconds: float) -> None: ...

    def item_failed(self, reason: str) -> None: ...

    def dropped(self, reason: str, count: int = 1) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + count

    def queue_changed(self, priority: str, items: int, cost: int) -> None: ...

    def retired(self) -> None: ...


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def scheduler(
    model: Gate | Callable[[Sequence[Features]], NDArray[np.float32]],
    pool: ThreadPoolExecutor,
    notes: Notes,
    *,
    workers: int = 1,
    limits: BatchLimits | None = None,
    max_queue_cost: int = 1000,
    costs: CostModel | None = None,
) -> Scheduler:
    return Scheduler(
        model.compute if isinstance(model, Gate) else model,
        pool,
        workers=workers,
        limits=limits or BatchLimits(4, 64),
        max_queue_cost=max_queue_cost,
        padded_length=lambda length: length,
        pads=True,
        observer=notes,
        costs=costs,
    )


def row(value: float, length: int = 8) -> Features:
    return Features({"x": np.full(length, value)}, length, length)


def later(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.acquire, True, 10)


async def test_what_waits_while_a_batch_runs_rides_together_in_the_next(pool: ThreadPoolExecutor) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes)
    first = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    rest = [scheduling.submit(row(value), deadline=later(), priority="interactive") for value in (1, 2, 3, 4, 5)]
    gate.open.set()
    results = await asyncio.gather(first, *rest)
    assert [float(each.vector[0]) for each in results] == [0, 1, 2, 3, 4, 5]
    assert gate.batches == [[0], [1, 2, 3, 4], [5]]
    assert results[1].batch_size == 4


async def test_interactive_goes_before_batch_which_still_moves(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    scheduling = scheduler(gate, pool, Notes())
    first = scheduling.submit(row(-1), deadline=later(), priority="interactive")
    await entered(gate)
    slow = [scheduling.submit(row(1000 + at), deadline=later(), priority="batch") for at in range(4)]
    quick = [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(48)]
    gate.open.set()
    await asyncio.gather(first, *slow, *quick)
    place = next(at for at, batch in enumerate(gate.batches) if batch[0] >= 1000)
    assert 1 < place <= 8, "after several interactive batches, and before all of them"


async def test_a_full_interactive_batch_stands_ready_and_what_dies_in_it_is_not_computed(
    pool: ThreadPoolExecutor,
) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes)
    first = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    rows = [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(1, 7)]
    await asyncio.sleep(0)  # one turn of the loop
    assert scheduling.admission.waiting_cost == 16, "four of the six stand ready"
    rows[1].cancel()
    gate.open.set()
    await asyncio.gather(first, rows[0], *rows[2:])
    assert gate.batches == [[0], [1, 3, 4], [5, 6]]
    assert notes.drops == {"cancelled": 1}


async def test_a_full_batch_stands_ready_however_many_went_before_while_the_other_lane_is_empty(
    pool: ThreadPoolExecutor,
) -> None:
    gate, notes = Gate(), Notes()
    gate.open.set()
    scheduling = scheduler(gate, pool, notes)
    for at in range(9):
        await scheduling.submit(row(at), deadline=later(), priority="interactive")
        await entered(gate)
    gate.open.clear()
    first = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    rows = [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(6)]
    await asyncio.sleep(0)  # one turn of the loop
    assert scheduling.admission.waiting_cost == 16, "four of the six stand ready"
    gate.open.set()
    await asyncio.gather(first, *rows)


async def test_idle_workers_share_what_one_call_submits() -> None:
    gate = Gate()
    gate.open.set()
    with ThreadPoolExecutor(2) as two:
        scheduling = scheduler(gate, two, Notes(), workers=2, limits=BatchLimits(8, 64))
        rows = [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(6)]
        await asyncio.gather(*rows)
    assert sorted(gate.batches) == [[0, 1, 2], [3, 4, 5]]


async def test_a_batch_is_no_fuller_than_its_learned_cost_is_worth(pool: ThreadPoolExecutor) -> None:
    costs, gate = CostModel(), Gate()
    for cost in (8, 16, 24, 32) * 4:
        costs.observe(8, cost, 0.019 * cost + 0.0175)  # so 17 is worth it: two rows
    scheduling = scheduler(gate, pool, Notes(), costs=costs)
    first = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    rest = [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(1, 5)]
    gate.open.set()
    await asyncio.gather(first, *rest)
    assert gate.batches[:2] == [[0], [1, 2]]


async def test_expired_and_cancelled_rows_are_never_computed(pool: ThreadPoolExecutor) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes)
    first = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    expired = scheduling.submit(row(1), deadline=later(-1), priority="interactive")
    cancelled = scheduling.submit(row(2), deadline=later(), priority="interactive")
    live = scheduling.submit(row(3), deadline=later(), priority="interactive")
    cancelled.cancel()
    gate.open.set()
    await asyncio.gather(first, live)
    with pytest.raises(DeadlineExceeded):
        await expired
    assert gate.batches == [[0], [3]]
    assert notes.drops == {"expired": 1, "cancelled": 1}


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(pool: ThreadPoolExecutor) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes, max_queue_cost=24)
    running = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    scheduling.admission.admit(1, math.inf, "interactive")
    scheduling.admission.release(1, "interactive")
    waiting = [scheduling.submit(row(1), deadline=later(), priority="interactive") for _ in range(3)]
    with pytest.raises(Overloaded) as refusal:
        scheduling.admission.admit(1, math.inf, "interactive")
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s > 0
    assert notes.drops == {"full": 1}
    gate.open.set()
    await asyncio.gather(running, *waiting)
    scheduling.admission.admit(1000, math.inf, "interactive")  # into an empty queue, whatever its size


async def test_what_would_wait_beyond_its_deadline_is_refused_at_once(pool: ThreadPoolExecutor) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes)
    scheduling.admission._cost_per_s = 8.0  # a row a second
    first = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    rows = [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in (1, 2)]
    with pytest.raises(Overloaded, match=r"2.00 s of work wait, longer than the call may take") as caught:
        scheduling.admission.admit(1, later(1.0), "interactive")
    assert caught.value.retry_after_s == pytest.approx(2.0)
    scheduling.admission.admit(1, later(10.0), "interactive")
    scheduling.admission.release(1, "interactive")
    gate.open.set()
    await asyncio.gather(first, *rows)
    scheduling.admission.admit(1, later(0.01), "interactive")  # nothing waits any more
    assert notes.drops == {"full": 1}


async def test_rows_whose_callers_are_gone_take_no_room_behind_one_that_waits(pool: ThreadPoolExecutor) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes, max_queue_cost=48)  # six rows
    running = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    waiting = [scheduling.submit(row(at), deadline=later(), priority="batch") for at in range(1, 4)]
    waiting += [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(4, 7)]
    scheduling.admission.queued(8)
    for gone in (waiting[1], waiting[2], *waiting[4:]):
        gone.cancel()
    scheduling.admission.admit(3, math.inf, "interactive")
    scheduling.admission.release(3, "interactive")
    assert notes.drops == {"cancelled": 4}
    gate.open.set()
    await asyncio.gather(running, waiting[0], waiting[3])


async def test_rows_that_wait_when_the_scheduler_closes_are_told_so_and_not_that_their_caller_hung_up(
    pool: ThreadPoolExecutor,
) -> None:
    gate = Gate()
    scheduling = scheduler(gate, pool, Notes())
    running = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    waiting = scheduling.submit(row(1), deadline=later(), priority="interactive")
    gate.open.set()
    await scheduling.close()
    assert float((await running).vector[0]) == 0
    late = scheduling.submit(row(2), deadline=later(), priority="interactive")
    for refused in (waiting, late):
        with pytest.raises(Unavailable) as caught:
            await refused
        assert caught.value.reason is Reason.DRAINING


def too_few(rows: Sequence[Features]) -> NDArray[np.float32]:
    return np.zeros((len(rows) - 1, 1), np.float32)


def too_many(rows: Sequence[Features]) -> NDArray[np.float32]:
    return np.zeros((len(rows) + 1, 1), np.float32)


def no_array(rows: Sequence[Features]) -> NDArray[np.float32]:
    return None  # type: ignore[return-value]  # what a graph of another kind may do


class Deaf(Notes):
    """An observer that fails."""

    def batch_done(self, **_: object) -> None:
        raise ValueError("metrics are gone")


@pytest.mark.parametrize("compute", [too_few, too_many, no_array])
async def test_no_caller_waits_for_ever_for_a_graph_that_returns_what_it_should_not(
    compute: Callable[[Sequence[Features]], NDArray[np.float32]], pool: ThreadPoolExecutor
) -> None:
    scheduling = scheduler(compute, pool, Notes())
    rows = [scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(3)]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*rows, return_exceptions=True)
    assert [type(answer) for answer in answers] == [InternalError] * 3
    again = scheduling.submit(row(0), deadline=later(), priority="interactive")
    async with asyncio.timeout(10):  # nor is the worker lost
        with pytest.raises(InternalError):
            await again


async def test_no_caller_waits_for_ever_where_an_observer_fails(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    gate.open.set()
    scheduling = scheduler(gate, pool, Deaf())
    for _ in range(2):
        async with asyncio.timeout(10):
            await scheduling.submit(row(1), deadline=later(), priority="interactive")


async def test_a_row_that_breaks_the_model_fails_alone(pool: ThreadPoolExecutor) -> None:
    gate = Gate()
    scheduling = scheduler(gate, pool, Notes())
    first = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    values = (1.0, float("nan"), 3.0)
    futures = [scheduling.submit(row(value), deadline=later(), priority="interactive") for value in values]
    gate.open.set()
    await first
    good, broken, also_good = await asyncio.gather(*futures, return_exceptions=True)
    assert not isinstance(good, BaseException)
    assert not isinstance(also_good, BaseException)
    assert isinstance(broken, InternalError)
    assert broken.metadata["reference"] in str(broken)
    assert scheduling.failure.is_set()


async def test_work_of_the_other_lane_leaves_half_of_the_queue_to_interactive_calls(pool: ThreadPoolExecutor) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes, max_queue_cost=48)  # six rows
    running = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    scheduling.admission.queued(8)
    lane = [scheduling.submit(row(at), deadline=later(), priority="batch") for at in (1, 2, 3)]
    with pytest.raises(Overloaded, match="the queue is full"):
        scheduling.admission.admit(1, math.inf, "batch")
    scheduling.admission.admit(2, math.inf, "interactive")
    scheduling.admission.release(2, "interactive")
    gate.open.set()
    await asyncio.gather(running, *lane)
    assert notes.drops == {"full": 1}


async def test_interactive_calls_do_not_count_the_time_of_the_other_lane(pool: ThreadPoolExecutor) -> None:
    gate, notes = Gate(), Notes()
    scheduling = scheduler(gate, pool, notes)
    scheduling.admission._cost_per_s = 8.0  # a row a second
    running = scheduling.submit(row(0), deadline=later(), priority="interactive")
    await entered(gate)
    lane = [scheduling.submit(row(at), deadline=later(), priority="batch") for at in (1, 2, 3)]
    was_crowded = scheduling.admission.is_crowded
    assert scheduling.admission.refusal(1, later(2.0), "interactive") is None
    assert scheduling.admission.refusal(1, later(2.0), "batch") is not None
    gate.open.set()
    await asyncio.gather(running, *lane)
    assert (was_crowded, scheduling.admission.is_crowded) == (True, False)
    assert notes.drops == {}
