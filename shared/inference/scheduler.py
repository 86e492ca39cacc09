"""Puts the rows of all calls into batches and runs them: one scheduler a model.

While nothing runs, a batch leaves at once: an idle system adds no delay. While another batch runs, callers who were
just answered are about to ask again, so a free worker waits for company for half of what a batch costs whatever is in
it, which is learned, and at most 2 ms. Batches are filled up to where the learned cost says that more gains nothing.
Where whole interactive batches wait, one stands ready for each worker, which so never waits for the event loop. All
state lives on the event loop; only the model's computing runs in the workers' threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import DeadlineExceeded, Reason, Unavailable
from shared.inference.admission import Admission
from shared.inference.computed import Computed, Ran
from shared.inference.costs import CostModel
from shared.inference.faults import as_bug
from shared.inference.features import Features
from shared.inference.linger import Linger
from shared.inference.manifest import BatchLimits
from shared.inference.observer import Observer
from shared.inference.queue import PRIORITIES, Entry, Lane, Priority
from shared.inference.widths import Widths

# After so many interactive batches in a row, one batch of the other lane goes first, so that it always moves.
_INTERACTIVE_IN_A_ROW = 8

_RETRY_S = 1.0  # when another replica, or this one anew, should answer what was refused at the end

_NOTHING = np.empty((0, 0), np.float32)


class Scheduler:
    """See the module.

    compute: n rows in, (n, dim) float32 out; runs in `pool`, `workers` at a time, without any lock.
    compute_wide: the same by all threads at once, for a batch that runs alone; None where there is no such thing.
    max_queue_cost: how much may wait, in the unit of `Features.cost`; more is refused at once.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Features]], NDArray[np.float32]],
        pool: Executor,
        *,
        workers: int,
        limits: BatchLimits,
        max_queue_cost: int,
        padded_length: Callable[[int], int],
        pads: bool,
        observer: Observer,
        costs: CostModel | None = None,
        compute_wide: Callable[[Sequence[Features]], NDArray[np.float32]] | None = None,
    ) -> None:
        """Takes the model's function and the bounds, and perhaps what batches cost; starts nothing."""
        self._compute = compute
        self._pool = pool
        self._workers = workers
        self._busy = 0  # batches handed to the workers
        self._linger = Linger()
        self._is_due = False  # whether a dispatch is about to happen
        self._limits = limits
        self._padded_length = padded_length
        self._pads = pads
        self._observer = observer
        self._lanes: dict[Priority, Lane[Computed]] = {
            name: Lane(padded_length, pads=pads, on_drop=partial(_drop, observer)) for name in PRIORITIES
        }
        self._order = 0
        self._is_closed = False
        self._interactive_in_a_row = 0
        self._running: set[asyncio.Task[None]] = set()
        self._costs = costs or CostModel()
        self._compute_wide = compute_wide
        self._widths = Widths()
        self.admission = Admission(self._lanes, max_queue_cost, workers, observer)
        self.failure = asyncio.Event()

    def submit(self, row: Features, *, deadline: float, priority: Priority) -> asyncio.Future[Computed]:
        """Queues one row; the future gives its result.

        Cancelling the future drops the row while it waits. Its errors: DeadlineExceeded where the deadline passed in
        the queue, Unavailable where the scheduler was closed meanwhile, and whatever `compute` raised.
        """
        future: asyncio.Future[Computed] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            future.set_exception(_closed())
            return future
        self._order += 1
        self._lanes[priority].push(Entry(row, future, deadline, self._order))
        self.admission.queued(row.cost)
        self._tell(priority)
        if not self._is_due:  # what one call submits is looked at together, in the same turn of the loop
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._dispatch)
        return future

    async def close(self) -> None:
        """Waits for the running batches; what still waits is refused with Unavailable, since its callers are there."""
        self._is_closed = True
        for lane in self._lanes.values():
            for entry in lane.drain():
                _resolve(entry.future, _closed())
        if self._running:
            await asyncio.wait(self._running)

    def _dispatch(self) -> None:
        self._is_due = False
        if self._linger.holds(self._company_s(), self._dispatch):
            return
        while self._busy < self._workers or (self._busy < 2 * self._workers and self._is_next_full()):
            batch = self._next_batch()
            if not batch:
                return
            self._busy += 1
            task = asyncio.get_running_loop().create_task(self._run(batch, self._width(batch)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _company_s(self) -> float:
        """Returns how long a free worker should wait for company to what waits; 0 where none is worth waiting for."""
        lane = self._lanes["interactive"]
        if not lane.size or not 0 < self._busy < self._workers:
            return 0.0
        length, slack_s = lane.head()
        is_enough = lane.cost >= self._enough(length, slack_s)
        return 0.0 if is_enough else min(self._costs.overhead_s(length), slack_s) / 2

    def _width(self, batch: Sequence[Entry[Computed]]) -> bool | None:
        """Whether a batch is to be run by all threads; None where that is no choice, since others run or wait."""
        if self._compute_wide is None or self._busy > 1 or any(lane.size for lane in self._lanes.values()):
            return None
        return self._widths.is_wide(self._padded_length(max(entry.features.length for entry in batch)))

    def _is_next_full(self) -> bool:
        """Whether a batch can be put ready for a worker that is not free yet, without going emptier for it.

        Only interactive ones are: what comes after a batch of the other lane was put ready would wait for it too.
        """
        lane = self._lanes["interactive"]
        if not lane.size or self._lane_order()[0] != "interactive":
            return False
        return lane.size >= self._limits.max_batch_items or lane.cost >= self._enough(*lane.head())

    def _next_batch(self) -> list[Entry[Computed]]:
        for priority in self._lane_order():
            lane = self._lanes[priority]
            share = -(-lane.size // max(1, self._workers - self._busy))  # idle workers share what waits
            batch = lane.take(min(share, self._limits.max_batch_items), self._enough)
            self._tell(priority)
            if batch:
                self._interactive_in_a_row = self._interactive_in_a_row + 1 if priority == "interactive" else 0
                return batch
        return []

    def _enough(self, length: int, slack_s: float) -> int:
        return self._costs.enough(length, slack_s, self._limits.max_batch_cost)

    def _lane_order(self) -> Sequence[Priority]:
        is_due = self._interactive_in_a_row >= _INTERACTIVE_IN_A_ROW and self._lanes["batch"].size > 0
        return PRIORITIES[::-1] if is_due else PRIORITIES

    async def _run(self, batch: list[Entry[Computed]], is_wide: bool | None) -> None:
        """Runs a batch. Whatever fails on the way, if only an observer: no caller is left waiting, no worker busy."""
        try:
            await self._run_and_finish(batch, is_wide)
        except Exception as fault:  # noqa: BLE001  # handed on to the rows' callers
            error = as_bug(fault)
            for entry in batch:
                _resolve(entry.future, error)
        finally:
            for entry in batch:  # those that are left only where the task was cancelled
                _resolve(entry.future, _closed())

    async def _run_and_finish(self, batch: list[Entry[Computed]], is_wide: bool | None) -> None:
        try:
            ran = await asyncio.get_running_loop().run_in_executor(self._pool, self._computed, batch, is_wide)
        except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
            try:
                await self._compute_singly(batch, fault)
            finally:
                self._free()
            return
        try:
            self._free()  # first, so that the worker does not wait for what follows
        finally:
            self._finish(batch, ran)

    def _free(self) -> None:
        self._busy -= 1
        self._dispatch()

    def _computed(self, batch: Sequence[Entry[Computed]], is_wide: bool | None) -> Ran:
        """Computes what is still wanted of a batch, in a worker's thread; it may have stood ready for a while."""
        started = time.monotonic()
        live = [entry for entry in batch if not entry.is_dead(started)]
        compute = self._compute_wide if is_wide and self._compute_wide is not None else self._compute
        vectors = compute([entry.features for entry in live]) if live else _NOTHING
        if len(vectors) != len(live):
            raise ValueError(f"the graph returned {len(vectors)} rows for {len(live)}")
        return Ran(live, vectors, started, time.monotonic() - started, is_wide)

    async def _compute_singly(self, batch: list[Entry[Computed]], fault: Exception) -> None:
        """Gives each row of a failed batch a try alone: a row that breaks the model breaks no other's answer."""
        self.failure.set()
        if len(batch) == 1:
            _resolve(batch[0].future, as_bug(fault))
            return
        for entry in batch:
            try:
                alone = await asyncio.get_running_loop().run_in_executor(self._pool, self._computed, [entry], None)
                self._finish([entry], alone)
            except Exception as cause:  # noqa: BLE001  # as above; handed on to the row's caller
                _resolve(entry.future, as_bug(cause))

    def _finish(self, batch: Sequence[Entry[Computed]], ran: Ran) -> None:
        waits = [ran.started - entry.enqueued for entry in ran.live]
        inference_ns, size = int(ran.seconds * 1e9), len(ran.live)
        for entry, vector, waited in zip(ran.live, ran.vectors, waits, strict=True):
            if not entry.future.done():
                entry.future.set_result(Computed(vector, int(waited * 1e9), inference_ns, size))
        if len(ran.live) < len(batch):
            for entry in batch:
                if entry not in ran.live:
                    _drop(self._observer, entry)
        if ran.live:
            self._learn(ran, waits)

    def _learn(self, ran: Ran, waits: Sequence[float]) -> None:
        """Notes what a batch took, for the next ones and for whoever watches."""
        real = sum(entry.features.cost for entry in ran.live)
        longest = self._padded_length(max(entry.features.length for entry in ran.live))
        padded = longest * len(ran.live) if self._pads else real
        if not ran.is_wide:
            self._costs.observe(longest, padded, ran.seconds)
        if ran.is_wide is not None:
            self._widths.observe(longest, padded, ran.seconds, is_wide=ran.is_wide)
        self.admission.ran(real, ran.seconds)
        self._observer.batch_done(
            items=len(ran.live),
            real_cost=real,
            padded_cost=padded,
            queue_s=waits,
            inference_s=ran.seconds,
        )

    def _tell(self, priority: Priority) -> None:
        lane = self._lanes[priority]
        self._observer.queue_changed(priority, lane.size, lane.cost)


def _drop(observer: Observer, entry: Entry[Computed]) -> None:
    is_expired = entry.deadline <= time.monotonic()
    observer.dropped("expired" if is_expired else "cancelled")
    _resolve(entry.future, DeadlineExceeded("the deadline passed while the item waited for the model"))


def _closed() -> Unavailable:
    return Unavailable(
        "the model was let go while the item waited for it; try again", reason=Reason.DRAINING, retry_after_s=_RETRY_S
    )


def _resolve(future: asyncio.Future[Computed], fault: Exception) -> None:
    if not future.done():
        future.set_exception(fault)
