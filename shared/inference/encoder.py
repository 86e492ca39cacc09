"""Turns raw inputs into vectors: preprocessing in threads, one scheduler, one model."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Generic, TypeVar

from sensorium.errors import DeadlineExceeded, SensoriumError
from shared.inference.admission import Admission
from shared.inference.cache import ModelCache
from shared.inference.encoded import Encoded, Ready, joined, recalled, remember
from shared.inference.fair import FairPool
from shared.inference.faults import as_bug
from shared.inference.features import Features, Prepared
from shared.inference.flights import Asked, Flights
from shared.inference.model import Model
from shared.inference.observer import Observer
from shared.inference.package import Package
from shared.inference.queue import Priority
from shared.inference.scheduler import Scheduler

_Input = TypeVar("_Input")
_Result = TypeVar("_Result")
_Room = AbstractAsyncContextManager[None]  # for a job among those of its call
_Item = tuple[_Input | Prepared, bytes]  # with its key in the cache; b"" where there is none


@dataclass(frozen=True, slots=True)
class Pools:
    """The threads of a service. Preprocessing has its own, so that a flood of pictures never holds up a batch.

    workers: how many threads each has, and how many batches run at once.
    """

    prepare: FairPool
    compute: Executor
    workers: int


class Encoder(Generic[_Input]):
    """One served model.

    prepare: one raw input to its rows; runs in a thread, raises InvalidInput for what is wrong with the input. An
        input's fault stays its own.
    canary: an input that warms the model up and later tells whether it still answers.
    inputs_per_job: how many inputs one thread job prepares: 1 where an input is heavy (pictures, sound), more where a
        job would cost more than the work (texts).
    is_quick: whether an input is prepared in less time than handing it to a thread takes; one alone then is at once.
    cache: where its vectors are kept; None: every input is computed.
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
        is_quick: Callable[[_Input], bool] = lambda _: False,
        cache: ModelCache[_Input] | None = None,
    ) -> None:
        """Warms the model up with the canary.

        Raises:
            FailedPrecondition: PACKAGE_INVALID; the graph does not fit the manifest or preprocessing.
        """
        self._model = model
        self.prepare = prepare
        self._pools = pools
        self._inputs_per_job = inputs_per_job
        self._is_quick = is_quick
        self._observer = observer
        self._cache = cache
        self.used_at = time.monotonic()
        self._canary = prepare(canary).rows
        for row in self._canary:
            model.warm_up(row)
        limits = model.package.manifest.limits
        self._scheduler = Scheduler(
            model.compute,
            pools.compute,
            compute_wide=partial(model.compute, is_wide=True) if model.has_width else None,
            workers=pools.workers,
            limits=limits,
            max_queue_cost=max_queue_batches * limits.max_batch_cost,
            padded_length=model.padded_length,
            pads=model.pads,
            observer=observer,
        )
        self._flights = Flights(self._scheduler, cache)

    @property
    def package(self) -> Package:
        """The package that is served."""
        return self._model.package

    @property
    def quantized_cosine(self) -> float | None:
        """See `Model`."""
        return self._model.quantized_cosine

    @property
    def sample(self) -> Features:
        """A row as the graph takes it: which arrays there are, of which shapes and types. That of the canary."""
        return self._model.taken(self._canary[0])

    @property
    def failure(self) -> asyncio.Event:
        """Set when the model failed; whoever reacts to it clears it."""
        return self._scheduler.failure

    @property
    def admission(self) -> Admission:
        """What says whether the model's queue has room."""
        return self._scheduler.admission

    async def encode(
        self, inputs: Sequence[_Input], *, deadline: float, priority: Priority
    ) -> Sequence[Encoded | SensoriumError]:
        """Returns one answer an input, in order: its vectors, or what was wrong with it.

        deadline: in seconds of `time.monotonic()`. Cancelling drops whatever still waits.

        Raises:
            Overloaded: the queue is full; nothing was computed.
        """
        self.used_at = time.monotonic()
        if self._cache is None:
            return await self._encode_new([(each, b"") for each in inputs], deadline, priority)
        keys = await self._cache.keys(inputs)
        kept = [recalled(key, self._cache) for key in keys]
        new = [(each, key) for each, key, answer in zip(inputs, keys, kept, strict=True) if answer is None]
        self._cache.observer.looked_up(hits=len(inputs) - len(new), misses=0)
        if not new:  # then neither the queue nor the threads that prepare have a say
            return [answer for answer in kept if answer is not None]
        computed = iter(await self._encode_new(new, deadline, priority))
        return [next(computed) if answer is None else answer for answer in kept]

    async def encode_prepared(
        self, inputs: Sequence[Prepared], *, deadline: float, priority: Priority
    ) -> Sequence[Encoded | SensoriumError]:
        """Does the same for inputs that their caller prepared; that they fit the graph is the caller's to check."""
        self.used_at = time.monotonic()
        return await self._encode_new([(each, b"") for each in inputs], deadline, priority)

    async def prepare_with(
        self, do: Callable[[_Input], _Result], inputs: Sequence[_Input], *, deadline: float, priority: Priority
    ) -> Sequence[_Result | SensoriumError]:
        """Returns what `do` makes of each input, in order, or what was wrong with it; nothing reaches the model.

        It is let in, runs and stops as preprocessing does: in the threads of that, `inputs_per_job` at a time, not
        after the deadline, no further once the caller is gone.

        Raises:
            Overloaded: the model's queue is full.
        """
        admission = self._scheduler.admission
        admission.admit(len(inputs), deadline, priority)
        room = asyncio.Semaphore(2 * self._pools.workers)
        step = self._inputs_per_job

        async def job(some: Sequence[_Input]) -> Sequence[_Result | SensoriumError]:
            async with room:
                return await self._pools.prepare.run(_each, do, some, deadline)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(job(inputs[at : at + step])) for at in range(0, len(inputs), step)]
        finally:
            admission.release(len(inputs), priority)
        return [answer for task in tasks for answer in task.result()]

    async def check(self, timeout_s: float) -> None:
        """Runs the canary through the model, beside the queue; raises where that fails or takes too long."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            await loop.run_in_executor(self._pools.compute, self._model.compute, self._canary)

    def retire(self) -> None:
        """Says that no new calls will come; those that run end as they would."""
        self._observer.retired()
        if self._cache is not None:
            self._cache.close()

    async def close(self) -> None:
        """Waits for the running batches; what still waits is cancelled."""
        await self._scheduler.close()

    async def _encode_new(
        self, items: Sequence[_Item[_Input]], deadline: float, priority: Priority
    ) -> Sequence[Encoded | SensoriumError]:
        """Returns the answers to what the cache does not have, as far as these inputs tell."""
        self._scheduler.admission.admit(len(items), deadline, priority)
        step = self._inputs_per_job
        if len(items) <= step:
            return await self._encode_job(items, deadline, priority, contextlib.nullcontext())
        jobs = [items[at : at + step] for at in range(0, len(items), step)]
        # A call prepares a few inputs at a time, so that a large one leaves room for others.
        room = asyncio.Semaphore(2 * self._pools.workers)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._encode_job(job, deadline, priority, room)) for job in jobs]
        return [answer for task in tasks for answer in task.result()]

    async def _encode_job(
        self, items: Sequence[_Item[_Input]], deadline: float, priority: Priority, room: _Room
    ) -> Sequence[Encoded | SensoriumError]:
        ready = await self._prepared(items, deadline, priority, room)
        asked = [[] if isinstance(each, SensoriumError) else self._ask(each, deadline, priority) for each in ready]
        try:
            answers = [
                each if isinstance(each, SensoriumError) else await joined(each, rows)
                for each, rows in zip(ready, asked, strict=True)
            ]
        finally:
            for row in chain.from_iterable(asked):
                row.leave()
        for answer in answers:
            if isinstance(answer, SensoriumError):
                self._observer.item_failed(answer.reason)
        if self._cache is not None:
            remember(ready, answers, self._cache)
        return answers

    async def _prepared(
        self, items: Sequence[_Item[_Input]], deadline: float, priority: Priority, room: _Room
    ) -> Sequence[Ready | SensoriumError]:
        try:
            if len(items) == 1 and (isinstance(items[0][0], Prepared) or self._is_quick(items[0][0])):
                ready = self._prepare_all(items, deadline)
            else:
                async with room:
                    ready = await self._pools.prepare.run(self._prepare_all, items, deadline)
        except asyncio.CancelledError:
            self._observer.dropped("expired" if deadline <= time.monotonic() else "cancelled", len(items))
            raise
        finally:
            self._scheduler.admission.release(len(items), priority)
        for each in ready:
            if isinstance(each, DeadlineExceeded):
                self._observer.dropped("expired")
            elif not isinstance(each, SensoriumError):
                self._observer.prepared(each.preprocess_ns / 1e9)
        return ready

    def _prepare_all(self, items: Sequence[_Item[_Input]], deadline: float) -> Sequence[Ready | SensoriumError]:
        return [self._prepare_one(item, key, deadline) for item, key in items]

    def _prepare_one(self, item: _Input | Prepared, key: bytes, deadline: float) -> Ready | SensoriumError:
        started = time.perf_counter_ns()
        if deadline <= time.monotonic():
            return DeadlineExceeded("the deadline passed before the item was looked at")
        try:
            prepared = item if isinstance(item, Prepared) else self.prepare(item)
            row_keys = self._cache.row_keys(prepared) if self._cache is not None else [b""] * len(prepared.rows)
        except SensoriumError as error:
            return error
        except Exception as cause:  # noqa: BLE001  # a decoder's surprise is this item's fault alone
            return as_bug(cause)
        return Ready(key, prepared, row_keys, time.perf_counter_ns() - started)

    def _ask(self, ready: Ready, deadline: float, priority: Priority) -> Sequence[Asked]:
        rows = zip(ready.prepared.rows, ready.row_keys, strict=True)
        return [Asked(self._flights, row, key, deadline, priority) for row, key in rows]


def _each(
    do: Callable[[_Input], _Result], inputs: Sequence[_Input], deadline: float
) -> Sequence[_Result | SensoriumError]:
    """Returns what `do` makes of each input; a fault, and a deadline that passed, stay in their places."""
    answers: list[_Result | SensoriumError] = []
    for each in inputs:
        try:
            if deadline <= time.monotonic():
                raise DeadlineExceeded("the deadline passed before the item was looked at")
            answers.append(do(each))
        except SensoriumError as error:
            answers.append(error)
        except Exception as cause:  # noqa: BLE001  # as in preprocessing
            answers.append(as_bug(cause))
    return answers
