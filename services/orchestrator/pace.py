"""How many calls a second the orchestrator answers while it has any: its own speed, and that of the peers behind it."""

from __future__ import annotations

_START_PER_S = 500.0  # until something is known: a Python process answers several hundred small calls a second
_WINDOW_S = 0.25  # of busy time, after which the newest rate counts
_WEIGHT = 0.2  # of the newest; a guess: a lasting change is learned in a second or two
_STALL_S = 1.0  # of busy time without the end of a window, from which the rate falls by itself


class Pace:
    """Learns the rate from calls that end; time in which no call runs does not count.

    With a few calls at a time that is less than could be, since they leave the machine idle; with many it is what the
    mesh can do. A peer that hangs shows as time that passes while nothing ends.
    """

    def __init__(self) -> None:
        """Starts with a guess, and no call running."""
        self._rate = _START_PER_S
        self._running = 0
        self._busy_since = 0.0
        self._busy_s = 0.0  # of the window, before `_busy_since`
        self._answered = 0  # in the window

    def began(self, now: float) -> None:
        """Notes that a call began; `now` is in seconds of a monotonic clock."""
        if not self._running:
            self._busy_since = now
        self._running += 1

    def ended(self, now: float, *, is_answered: bool) -> None:
        """Notes that a call ended; one that failed took time, and counts for nothing."""
        self._running -= 1
        self._answered += is_answered
        self._busy_s += now - self._busy_since
        self._busy_since = now
        if self._busy_s >= _WINDOW_S:
            self._rate += _WEIGHT * (self._answered / self._busy_s - self._rate)
            self._busy_s, self._answered = 0.0, 0

    def per_s(self, now: float) -> float:
        """Returns the rate."""
        busy_s = self._busy_s + (now - self._busy_since if self._running else 0.0)
        return self._rate if busy_s < _STALL_S else min(self._rate, (self._answered + 1) / busy_s)
