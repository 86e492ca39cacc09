"""What a batch costs in time, learned while serving: seconds = slope * cost + overhead, for items of like length."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# Weight of the newest batch: about 50 batches count. A guess.
_NEWEST = 0.02
# Of a batch's time that may be overhead. Below it a larger batch gains nearly nothing and makes everybody wait longer.
_OVERHEAD_SHARE = 0.05
# Batches in a row that tell how fast a queue drains, and the least of them. Guesses.
_DRAIN_BATCHES, _LEAST_DRAIN = 32, 6
# Batches seen before anything is said, and how much their costs must differ (variance over the squared mean) for a
# slope to be told from an overhead. Guesses.
_ENOUGH, _SPREAD = 8, 0.01


@dataclass(slots=True)
class _Line:
    """Running means of cost, seconds and their products."""

    count: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    cost_squared: float = 0.0
    cost_seconds: float = 0.0

    def observe(self, cost: float, seconds: float) -> None:
        self.count += 1
        weight = max(_NEWEST, 1 / self.count)
        self.cost += weight * (cost - self.cost)
        self.seconds += weight * (seconds - self.seconds)
        self.cost_squared += weight * (cost * cost - self.cost_squared)
        self.cost_seconds += weight * (cost * seconds - self.cost_seconds)

    def fitted(self) -> tuple[float, float] | None:
        """Returns slope and overhead by least squares; None where too little is known."""
        variance = self.cost_squared - self.cost * self.cost
        if self.count < _ENOUGH or variance < _SPREAD * self.cost * self.cost:
            return None
        slope = (self.cost_seconds - self.cost * self.seconds) / variance
        overhead = self.seconds - slope * self.cost
        return (slope, max(overhead, 0.0)) if slope > 0 else None


class CostModel:
    """The lines of one model, one for each power of two of the items' length."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._lines: dict[int, _Line] = {}

    def observe(self, length: int, cost: float, seconds: float) -> None:
        """Notes a batch: its longest item, its padded cost, the time that it took."""
        self._lines.setdefault(length.bit_length(), _Line()).observe(cost, seconds)

    def overhead_s(self, length: int) -> float:
        """Returns what a batch takes whatever is in it, which two batches made one would save; 0 where unknown."""
        line = self._lines.get(length.bit_length())
        fitted = line.fitted() if line is not None else None
        return 0.0 if fitted is None else fitted[1]

    def enough(self, length: int, slack_s: float, most: int) -> int:
        """Returns the cost up to which a batch of items of a length is worth filling, at most `most`.

        That is where the overhead is a small share; or less, where a fuller batch would outlast `slack_s`, the time
        that its most urgent item has. A batch of one item is run whatever it costs.
        """
        line = self._lines.get(length.bit_length())
        fitted = line.fitted() if line is not None else None
        if fitted is None:
            return most
        slope, overhead = fitted
        worth = overhead * (1 / _OVERHEAD_SHARE - 1) / slope
        in_time = (slack_s - overhead) / slope
        return max(0, int(min(worth, in_time, most)))


class DrainRate:
    """How much cost a second leaves a queue that is never empty: what its workers wait for counts."""

    def __init__(self) -> None:
        """Has seen nothing leave yet."""
        self._left: deque[tuple[float, float]] = deque(maxlen=_DRAIN_BATCHES)

    def observe(self, now: float, cost: float, *, is_empty: bool) -> None:
        """Notes that a batch left at `now`, in seconds of a monotonic clock; an empty queue begins anew."""
        if is_empty:
            self._left.clear()
        else:
            self._left.append((now, cost))

    @property
    def cost_per_s(self) -> float:
        """The rate; 0 where too little was seen."""
        if len(self._left) < _LEAST_DRAIN:
            return 0.0
        seconds = self._left[-1][0] - self._left[0][0]
        return (sum(cost for _, cost in self._left) - self._left[0][1]) / max(seconds, 1e-6)
