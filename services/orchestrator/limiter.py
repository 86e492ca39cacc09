"""Bounds the calls that the orchestrator answers at once: further ones are refused at once, batch work first."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial

from sensorium.errors import Overloaded
from sensorium.v1 import orchestrator_pb2
from services.orchestrator.pace import Pace
from shared.serving.call import Call, current_call
from shared.serving.metrics import Metrics
from shared.serving.open_inference.models import INFER

_SERVICE = orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"]
# Describe is how one finds out what is wrong, and costs next to nothing. A stream is one call of any length, slowed
# down by what it may have unanswered (see `embed_stream.py`).
_UNGUARDED = ("Describe", "EmbedStream")
_GUARDED = frozenset(
    f"/{_SERVICE.full_name}/{method.name}" for method in _SERVICE.methods if method.name not in _UNGUARDED
) | {INFER}

# The share of its time that a call may wait for those before it, by the estimate. The encoders' queues allow half (see
# `shared.inference.admission`), by what a call really brings: at half here as well, they refused single items of calls
# that had waited for long, and four times the capacity ended in deadlines (`make overload`: 0.70 of the capacity
# answered in whole and refusals after 640 ms; at a quarter 0.75, and 75 ms).
_HOPEFUL = 0.25
# Below the least, refusing would cost more than it spares, and bursts would suffer from what was slow before them.
# Above the most, the calls' payloads would take the memory, whatever their deadlines.
LEAST, MOST = 64, 1024
# Calls of priority `batch` may come in while no more than this share of the limit runs, so that interactive ones always
# find the rest; but one of them always runs, unless the limit is reached.
_BATCH_SHARE = 0.5
_LEAST_RETRY_S, _MOST_RETRY_S = 0.05, 5.0


class Limiter:
    """Counts the calls that run, and is the `Gate` of the orchestrator.

    By Little's law a call waits for those before it as long as they take at the rate at which calls are answered. So
    the limit is the rate times a quarter of the time that a call has: what could not be answered in time is refused at
    once.

    fixed: how many calls may run at once; 0 learns it as said (see `pace.py`).
    """

    def __init__(self, fixed: int, metrics: Metrics) -> None:
        """Starts with no call running."""
        self.open_bytes = -1  # nothing is kept here
        self._fixed = fixed
        self._pace = Pace()
        self._limit = fixed or MOST  # of the latest call
        self._dropped = metrics.dropped.labels("", "full")
        self._running = {"interactive": 0, "batch": 0}
        metrics.concurrency_limit.set_function(lambda: self._limit)
        for priority in self._running:
            metrics.concurrency.labels(priority).set_function(partial(self._running.__getitem__, priority))

    @property
    def in_flight(self) -> int:
        """How many calls run."""
        return sum(self._running.values())

    @property
    def is_crowded(self) -> bool:
        """Whether calls of one priority at least may be refused."""
        return self.in_flight >= _BATCH_SHARE * (self._fixed or LEAST)

    def guards(self, method: str) -> bool:
        """Whether calls of a method are counted, by its full name."""
        return method in _GUARDED

    def check(self, call: Call) -> None:
        """Refuses a call that may not run now.

        Raises:
            Overloaded: with when to come back.
        """
        rate = self._pace.per_s(time.monotonic())
        running = self.in_flight
        limit = self._limit = self._fixed or round(min(MOST, max(LEAST, rate * _HOPEFUL * call.remaining_s())))
        is_batch = call.priority == "batch"
        is_full = running >= limit
        if not is_full and not (is_batch and self._running["batch"] and running >= _BATCH_SHARE * limit):
            return
        self._dropped.inc()
        retry_s = min(max(running / rate, _LEAST_RETRY_S), _MOST_RETRY_S) * (2 if is_batch else 1)
        share = "" if is_full else f", and of priority batch none above {_BATCH_SHARE:.0%} of that"
        raise Overloaded(
            f"{running} calls are being answered; no more than {limit} may be at once{share}; "
            f"try again in {retry_s:.2f} s",
            retry_after_s=retry_s,
            metadata={"limit": str(limit), "in_flight": str(running)},
        )

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Counts the current call for the length of the block, and learns when it ends.

        Raises:
            Overloaded: it may not run now.
        """
        call = current_call()
        self.check(call)
        self._running[call.priority] += 1
        self._pace.began(time.monotonic())
        is_answered = False
        try:
            yield
            is_answered = True
        finally:
            self._running[call.priority] -= 1
            self._pace.ended(time.monotonic(), is_answered=is_answered)
