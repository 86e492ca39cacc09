"""Decides which calls a model's queue lets in, before anything is spent on them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sensorium.errors import Overloaded
from shared.inference.computed import Computed
from shared.inference.costs import DrainRate
from shared.inference.observer import Observer
from shared.inference.queue import Lane, Priority

# The share of its time that a call may spend in the queue, by the estimate; the rest is for its own batch, and for what
# the estimate is off. A guess.
_HOPEFUL = 0.5
# The share of the queue that work of the lane `batch` may fill, so that interactive calls always find the other half.
_BATCH_SHARE = 0.5
# Seconds of work from which refusals are near: calls with half a second or less are too late then.
_CROWDED_S = 0.2
# Weight of the newest in the running averages of cost an item and cost a second. A guess: about 20 count.
_AVERAGE = 0.05
# How often at most the queue is searched for rows whose callers are gone, before a call is refused for their sake. A
# look at a thousand rows takes 0.1 ms.
_LOOK_EVERY_S = 0.05


class Admission:
    """What waits for a model, how fast it drains, and so who is let in.

    max_queue_cost: how much may wait, in the unit of `Features.cost`; more is refused at once.
    """

    def __init__(
        self, lanes: Mapping[Priority, Lane[Computed]], max_queue_cost: int, workers: int, observer: Observer
    ) -> None:
        """Takes the lanes, which are only looked at."""
        self._lanes = lanes
        self._max_queue_cost = max_queue_cost
        self._workers = workers
        self._observer = observer
        self._preparing: dict[Priority, int] = {"interactive": 0, "batch": 0}  # items let in whose rows have not come
        self._item_cost = 1.0
        self._cost_per_s = 0.0  # of one worker
        self._drain = DrainRate()
        self._looked_at = -_LOOK_EVERY_S

    @property
    def waiting_cost(self) -> float:
        """What waits: rows in the queue, and items in preprocessing at the average cost."""
        return self._waiting("interactive") + self._waiting("batch")

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that some calls are likely to be refused."""
        waiting = self.waiting_cost
        return waiting > 0 and (waiting >= self._max_queue_cost / 2 or self._wait_s(waiting) >= _CROWDED_S)

    def admit(self, count: int, deadline: float, priority: Priority) -> None:
        """Lets `count` items of one call in; each is later released.

        Raises:
            Overloaded: see `refusal`.
        """
        self.check(count, deadline, priority)
        self._preparing[priority] += count

    def check(self, count: int, deadline: float, priority: Priority) -> None:
        """Refuses what would not be let in, and lets nothing in; see `admit`."""
        refusal = self.refusal(count, deadline, priority)
        if refusal is not None:
            self._observer.dropped("full", count)
            raise refusal

    def refusal(self, count: int, deadline: float, priority: Priority) -> Overloaded | None:
        """Returns why `count` items of one call are not let in, None where they are.

        A call is let in whole or not at all; into an empty queue, whatever its size. What would wait beyond its
        deadline is not let in: computing it would help nobody, and others would be late for it. Interactive calls wait
        for those of the other lane only one batch in a while, and find half of the queue free of them. Its
        `retry_after_s` is when the queue should have room, by the rate at which it drains.
        """
        refusal = self._refusal(count, deadline, priority)
        if refusal is None or not self._drop_dead():
            return refusal
        return self._refusal(count, deadline, priority)

    def _drop_dead(self) -> bool:
        """Drops rows that nobody waits for, and says whether it looked: not at every refusal, as there may be many."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return False
        self._looked_at = now
        for lane in self._lanes.values():
            lane.drop_dead()
        return True

    def _refusal(self, count: int, deadline: float, priority: Priority) -> Overloaded | None:
        is_batch = priority == "batch"
        own = self._waiting(priority)
        ahead = self.waiting_cost if is_batch else own
        if not ahead:
            return None
        wait_s = self._wait_s(ahead)
        bound = self._max_queue_cost * (_BATCH_SHARE if is_batch else 1.0)
        is_full = (own if is_batch else self.waiting_cost) + count * self._item_cost > bound
        if not is_full and wait_s <= _HOPEFUL * (deadline - time.monotonic()):
            return None
        retry_s = min(30.0, max(0.05, wait_s)) if wait_s else 1.0
        problem = "the queue is full" if is_full else f"{wait_s:.2f} s of work wait, longer than the call may take"
        return Overloaded(f"{problem}; try again in {retry_s:.2f} s", retry_after_s=retry_s)

    def release(self, count: int, priority: Priority) -> None:
        """Takes back the admission of items that will not come, or that have come as rows."""
        self._preparing[priority] -= count

    def queued(self, cost: int) -> None:
        """Notes what one row costs."""
        self._item_cost += _AVERAGE * (cost - self._item_cost)

    def ran(self, cost: int, seconds: float) -> None:
        """Notes what one batch cost and took."""
        is_empty = not any(self._preparing.values()) and not any(lane.size for lane in self._lanes.values())
        self._drain.observe(time.monotonic(), cost, is_empty=is_empty)
        rate = cost / max(seconds, 1e-6)
        self._cost_per_s += (_AVERAGE if self._cost_per_s else 1.0) * (rate - self._cost_per_s)

    def _waiting(self, priority: Priority) -> float:
        return self._lanes[priority].cost + self._preparing[priority] * self._item_cost

    def _wait_s(self, cost: float) -> float:
        """Returns how long so much takes to drain; 0 where nothing is known yet."""
        rate = self._drain.cost_per_s or self._cost_per_s * self._workers
        return cost / rate if rate else 0.0
