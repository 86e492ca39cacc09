"""Single flight: a row that several callers want at the same time is computed once for all of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import DeadlineExceeded, SensoriumError
from shared.inference.cache import ModelCache
from shared.inference.computed import Computed
from shared.inference.features import Features
from shared.inference.queue import Priority
from shared.inference.scheduler import Scheduler


@dataclass(slots=True, eq=False)
class Flight:
    """A row on its way through the scheduler, and how many callers wait for it; without any it is dropped."""

    computed: asyncio.Future[Computed]
    waiting: int = 0

    def is_lost(self) -> bool:
        """Whether no vector will come of it."""
        future = self.computed
        return future.done() and (future.cancelled() or future.exception() is not None)


class Flights:
    """The rows of one model that are on their way. All state lives on the event loop, and nothing is locked.

    cache: where vectors are looked up and left; None: every row is computed for its caller alone. Any: rows are asked
        for, whatever the inputs were.
    """

    def __init__(self, scheduler: Scheduler, cache: ModelCache[Any] | None) -> None:
        """Starts nothing."""
        self._scheduler = scheduler
        self._cache = cache
        self._on_their_way: dict[tuple[bytes, Priority], Flight] = {}

    def kept(self, key: bytes) -> NDArray[np.float32] | None:
        """Returns the vector (dim,) of a row that was computed before."""
        return self._cache.vector(key) if self._cache is not None else None

    def find(self, key: bytes, priority: Priority) -> Flight | None:
        """Returns the flight that a caller may share: of its own priority, so that none waits for a slower lane."""
        flight = self._on_their_way.get((key, priority))
        return None if flight is None or flight.is_lost() else flight

    def start(self, row: Features, key: bytes, deadline: float, priority: Priority) -> Flight:
        """Submits a row; from now on others may share its flight."""
        flight = Flight(self._scheduler.submit(row, deadline=deadline, priority=priority))
        if self._cache is not None:
            self._on_their_way[key, priority] = flight
            flight.computed.add_done_callback(partial(self._land, key, priority, flight))
        return flight

    def _land(self, key: bytes, priority: Priority, flight: Flight, computed: asyncio.Future[Computed]) -> None:
        if self._on_their_way.get((key, priority)) is flight:
            del self._on_their_way[key, priority]
        if self._cache is not None and not flight.is_lost():
            self._cache.keep(key, computed.result().vector)


class Asked:
    """A row that one caller wants: kept, on its way for another caller, or submitted for this one.

    key: of the row in the cache; b"" where there is no cache.
    deadline: in seconds of `time.monotonic()`.

    Whoever makes one awaits `result` or not, and always calls `leave`.
    """

    __slots__ = ("_deadline", "_flight", "_flights", "_is_own", "_key", "_priority", "_row", "_vector")

    def __init__(self, flights: Flights, row: Features, key: bytes, deadline: float, priority: Priority) -> None:
        """Submits the row where it has to be."""
        self._flights = flights
        self._row, self._key, self._deadline, self._priority = row, key, deadline, priority
        self._vector: NDArray[np.float32] | None = None
        self._flight: Flight | None = None
        self._is_own = False
        self._look()

    async def result(self) -> Computed:
        """Returns the row's result; times and batch size are 0 unless it was computed for this caller.

        Where a flight of another caller fails, if only by that one's deadline, one of those who share it takes over.

        Raises:
            DeadlineExceeded: this caller's deadline passed.
            SensoriumError: whatever the row failed with when it was computed for this caller.
        """
        while self._flight is not None:
            if self._is_own:
                if not self._key:
                    return await self._flight.computed
                return await asyncio.shield(self._flight.computed)  # whose caller may hang up, but others share it
            try:
                async with asyncio.timeout(self._deadline - time.monotonic()):
                    self._vector = (await asyncio.shield(self._flight.computed)).vector
                break
            except TimeoutError:
                raise DeadlineExceeded("the deadline passed while the item waited for the model") from None
            except SensoriumError:
                self.leave()
                self._look()
        assert self._vector is not None, "a row is on its way or there"
        return Computed(self._vector, queue_ns=0, inference_ns=0, batch_size=0)

    def leave(self) -> None:
        """Waits no longer; the last one to leave drops a row that still waits for the model."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        flight.waiting -= 1
        if flight.waiting == 0 and not flight.computed.cancel() and not flight.computed.cancelled():
            flight.computed.exception()  # looked at, so that asyncio does not report it as lost

    def _look(self) -> None:
        self._vector = self._flights.kept(self._key)
        if self._vector is not None:
            return
        found = self._flights.find(self._key, self._priority)
        self._is_own = found is None
        self._flight = found or self._flights.start(self._row, self._key, self._deadline, self._priority)
        self._flight.waiting += 1
