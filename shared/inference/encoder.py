"""Turns raw inputs into vectors: preprocessing in threads, one scheduler, one model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import DeadlineExceeded, SensoriumError
from shared.inference.features import Prepared
from shared.inference.model import Model
from shared.inference.package import Package
from shared.inference.queue import Priority
from shared.inference.scheduler import Computed, Observer, Scheduler, as_bug

_Input = TypeVar("_Input")


@dataclass(frozen=True, slots=True)
class Pools:
    """The threads of a service. Preprocessing has its own, so that a flood of pictures never holds up a batch.

    workers: how many threads each has, and how many batches run at once.
    """

    prepare: Executor
    compute: Executor
    workers: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input's answer.

    vectors: (rows, dim) float32 as the model gave them, not normalised; one row but for clips cut into windows.
    spans_ms: start and end of each row within a clip; empty for other inputs.
    unit_count: tokens, pixels or milliseconds of the input.
    """

    vectors: NDArray[np.float32]
    spans_ms: Sequence[tuple[int, int]]
    unit_count: int
    preprocess_ns: int
    queue_ns: int
    inference_ns: int
    batch_size: int


class Encoder(Generic[_Input]):
    """One served model.

    prepare: one raw input to its rows; runs in a thread, raises InvalidInput for what is wrong with the input. An
        input's fault stays its own.
    canary: an input that warms the model up and later tells whether it still answers.
    inputs_per_job: how many inputs one thread job prepares: 1 where an input is heavy (pictures, sound), more where a
        job would cost more than the work (texts).
    used_at: when it was last asked for, in seconds of `time.monotonic()`.

    Nothing in it refers back to it in a circle: the last call that holds it frees its memory, without the collector.
    """

    def __init__(
        self,
        model: Model,
        prepare: Callable[[_Input], Prepared],
        canary: _Input,
        pools: Pools,
        *,
        max_queue_batches: int,
        observer: Observer,
        inputs_per_job: int = 1,
    ) -> None:
        """Warms the model up with the canary.

        Raises:
            FailedPrecondition: PACKAGE_INVALID; the graph does not fit the manifest or preprocessing.
        """
        self._model = model
        self.prepare = prepare
        self._pools = pools
        self._inputs_per_job = inputs_per_job
        self._observer = observer
        self.used_at = time.monotonic()
        self._canary = prepare(canary).rows
        for row in self._canary:
            model.warm_up(row)
        limits = model.package.manifest.limits
        self._scheduler = Scheduler(
            model.compute,
            pools.compute,
            workers=pools.workers,
            limits=limits,
            max_queue_cost=max_queue_batches * limits.max_batch_cost,
            padded_length=model.padded_length,
            pads=model.pads,
            observer=observer,
        )

    @property
    def package(self) -> Package:
        """The package that is served."""
        return self._model.package

    @property
    def failure(self) -> asyncio.Event:
        """Set when the model failed; whoever reacts to it clears it."""
        return self._scheduler.failure

    async def encode(
        self, inputs: Sequence[_Input], *, deadline: float, priority: Priority
    ) -> list[Encoded | SensoriumError]:
        """Returns one answer an input, in order: its vectors, or what was wrong with it.

        deadline: in seconds of `time.monotonic()`. Cancelling drops whatever still waits.

        Raises:
            Overloaded: the queue is full; nothing was computed.
        """
        self.used_at = time.monotonic()
        self._scheduler.admit(len(inputs))
        step = self._inputs_per_job
        jobs = [inputs[at : at + step] for at in range(0, len(inputs), step)]
        # A call prepares a few inputs at a time, so that a large one leaves room for others.
        room = asyncio.Semaphore(2 * self._pools.workers)
        if len(jobs) == 1:
            return await self._encode_job(inputs, deadline, priority, room)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._encode_job(job, deadline, priority, room)) for job in jobs]
        return [answer for task in tasks for answer in task.result()]

    async def check(self, timeout_s: float) -> None:
        """Runs the canary through the model, beside the queue; raises where that fails or takes too long."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            await loop.run_in_executor(self._pools.compute, self._model.compute, self._canary)

    def retire(self) -> None:
        """Says that no new calls will come; those that run end as they would."""
        self._observer.retired()

    async def close(self) -> None:
        """Waits for the running batches; what still waits is cancelled."""
        await self._scheduler.close()

    async def _encode_job(
        self, inputs: Sequence[_Input], deadline: float, priority: Priority, room: asyncio.Semaphore
    ) -> list[Encoded | SensoriumError]:
        pending = [
            item if isinstance(item, SensoriumError) else self._submit(item, deadline, priority)
            for item in await self._prepared(inputs, deadline, room)
        ]
        try:
            answers = [item if isinstance(item, SensoriumError) else await _joined(*item) for item in pending]
        finally:
            for item in pending:
                if not isinstance(item, SensoriumError):
                    _abandon(item[2])
        for answer in answers:
            if isinstance(answer, SensoriumError):
                self._observer.item_failed(answer.reason)
        return answers

    async def _prepared(
        self, inputs: Sequence[_Input], deadline: float, room: asyncio.Semaphore
    ) -> list[tuple[Prepared, int] | SensoriumError]:
        try:
            loop = asyncio.get_running_loop()
            async with room:
                prepared = await loop.run_in_executor(self._pools.prepare, self._prepare_all, inputs, deadline)
        except asyncio.CancelledError:
            self._observer.dropped("expired" if deadline <= time.monotonic() else "cancelled", len(inputs))
            raise
        finally:
            self._scheduler.release(len(inputs))
        for item in prepared:
            if isinstance(item, DeadlineExceeded):
                self._observer.dropped("expired")
            elif not isinstance(item, SensoriumError):
                self._observer.prepared(item[1] / 1e9)
        return prepared

    def _prepare_all(self, inputs: Sequence[_Input], deadline: float) -> list[tuple[Prepared, int] | SensoriumError]:
        return [self._prepare_one(item, deadline) for item in inputs]

    def _prepare_one(self, item: _Input, deadline: float) -> tuple[Prepared, int] | SensoriumError:
        started = time.perf_counter_ns()
        if deadline <= time.monotonic():
            return DeadlineExceeded("the deadline passed before the item was looked at")
        try:
            prepared = self.prepare(item)
        except SensoriumError as error:
            return error
        except Exception as cause:  # noqa: BLE001  # a decoder's surprise is this item's fault alone
            return as_bug(cause)
        return prepared, time.perf_counter_ns() - started

    def _submit(
        self, item: tuple[Prepared, int], deadline: float, priority: Priority
    ) -> tuple[Prepared, int, list[asyncio.Future[Computed]]]:
        prepared, preprocess_ns = item
        rows = [self._scheduler.submit(row, deadline=deadline, priority=priority) for row in prepared.rows]
        return prepared, preprocess_ns, rows


async def _joined(
    prepared: Prepared, preprocess_ns: int, rows: Sequence[asyncio.Future[Computed]]
) -> Encoded | SensoriumError:
    try:
        computed = [await row for row in rows]
    except SensoriumError as error:
        return error
    return Encoded(
        vectors=np.stack([row.vector for row in computed]),
        spans_ms=prepared.spans_ms,
        unit_count=prepared.unit_count,
        preprocess_ns=preprocess_ns,
        queue_ns=max(row.queue_ns for row in computed),
        inference_ns=max(row.inference_ns for row in computed),
        batch_size=max(row.batch_size for row in computed),
    )


def _abandon(rows: Sequence[asyncio.Future[Computed]]) -> None:
    for row in rows:
        row.cancel()
        if row.done() and not row.cancelled():
            row.exception()  # looked at, so that asyncio does not report it as lost
