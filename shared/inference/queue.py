"""The items that wait for a model, in buckets of like length, oldest first."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from shared.inference.features import Features

Priority = Literal["interactive", "batch"]
PRIORITIES: tuple[Priority, ...] = ("interactive", "batch")

# Padded over real cost that a batch may reach. Measured on sentences of 8 to 128 tokens: arrival order gives 2.68,
# sorted 1.04; 1.15 keeps batches full at a cost that the saved runs pay back.
MAX_PADDING_RATIO = 1.15

_Result = TypeVar("_Result")


@dataclass(slots=True, eq=False)
class Entry(Generic[_Result]):
    """One row that waits. Its future is resolved with the result, or cancelled by a caller who hung up.

    deadline, enqueued: in seconds of `time.monotonic()`.
    """

    features: Features
    future: asyncio.Future[_Result]
    deadline: float
    order: int
    enqueued: float = field(default_factory=time.monotonic)

    def is_dead(self, now: float) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done() or self.deadline <= now


class Lane(Generic[_Result]):
    """The waiting rows of one priority."""

    def __init__(
        self, padded_length: Callable[[int], int], *, pads: bool, on_drop: Callable[[Entry[_Result]], None]
    ) -> None:
        """Takes how lengths are rounded up, whether several may share a batch, and who hears of drops."""
        self._padded_length = padded_length
        self._pads = pads
        self._on_drop = on_drop
        self._buckets: dict[int, deque[Entry[_Result]]] = {}
        self.cost = 0
        self.size = 0

    def push(self, entry: Entry[_Result]) -> None:
        """Adds a row behind those of its length."""
        length = self._padded_length(entry.features.length)
        self._buckets.setdefault(length, deque()).append(entry)
        self.cost += entry.features.cost
        self.size += 1

    def take(self, max_items: int, enough: Callable[[int, float], int]) -> list[Entry[_Result]]:
        """Takes the next batch: the oldest row, then those nearest to it in length while padding stays cheap.

        enough: the cost up to which a batch is filled, by the length of its oldest row and the seconds that this has.
        Rows whose caller hung up or whose deadline passed are dropped on the way. Empty where nothing is left.
        """
        self._drop_dead_heads()
        if not self._buckets:
            return []
        anchor, slack_s = self.head()
        max_cost = enough(anchor, slack_s)
        batch: list[Entry[_Result]] = []
        longest = real = 0
        for length in self._nearest(anchor):
            for entry in self._live(length):
                width = max(longest, length)
                padded = (len(batch) + 1) * width if self._pads else real + entry.features.cost
                too_loose = self._pads and padded > MAX_PADDING_RATIO * (real + length)
                if batch and (len(batch) == max_items or padded > max_cost or too_loose):
                    break
                batch.append(self._pop(length))
                longest, real = width, real + (length if self._pads else entry.features.cost)
        return batch

    def head(self) -> tuple[int, float]:
        """Returns the length of the oldest row, and the seconds that it has; there must be one."""
        length = min(self._buckets, key=lambda each: self._buckets[each][0].order)
        return length, self._buckets[length][0].deadline - time.monotonic()

    def drop_dead(self) -> None:
        """Drops every row that nobody waits for any more, wherever it stands; takes a look at each."""
        now = time.monotonic()
        for length, bucket in list(self._buckets.items()):
            dead = [entry for entry in bucket if entry.is_dead(now)]
            if not dead:
                continue
            self._buckets[length] = live = deque(entry for entry in bucket if not entry.is_dead(now))
            if not live:
                del self._buckets[length]
            self.size -= len(dead)
            self.cost -= sum(entry.features.cost for entry in dead)
            for entry in dead:
                self._on_drop(entry)

    def drain(self) -> Iterator[Entry[_Result]]:
        """Takes everything that waits."""
        for length in list(self._buckets):
            while length in self._buckets:
                yield self._pop(length)

    def _nearest(self, anchor: int) -> list[int]:
        """Returns the lengths to take from: the anchor's, then, where rows may be padded, the others by distance."""
        if not self._pads:
            return [anchor]
        return sorted(self._buckets, key=lambda length: abs(length - anchor))

    def _live(self, length: int) -> Iterator[Entry[_Result]]:
        """Yields the head of a bucket for as long as there is one; dead heads are dropped."""
        while bucket := self._buckets.get(length):
            if bucket[0].is_dead(time.monotonic()):
                self._on_drop(self._pop(length))
            else:
                yield bucket[0]

    def _drop_dead_heads(self) -> None:
        for length in list(self._buckets):
            next(self._live(length), None)

    def _pop(self, length: int) -> Entry[_Result]:
        bucket = self._buckets[length]
        entry = bucket.popleft()
        if not bucket:
            del self._buckets[length]
        self.cost -= entry.features.cost
        self.size -= 1
        return entry
