"""Whether a lone batch is better run by all threads or by one: learned from what both took."""

from __future__ import annotations

from dataclasses import dataclass, field

# Weight of the newest run in the running averages, and how often the one that seems slower is tried again, since what
# else runs on the machine comes and goes. Guesses: a change shows within some hundred lone batches.
_NEWEST = 0.1
_TRY_EVERY = 32


@dataclass(slots=True)
class _Times:
    """Seconds by unit of cost, of one thread and of all; None where it was never tried."""

    narrow: float | None = None
    wide: float | None = None
    turn: int = 0


@dataclass(slots=True)
class Widths:
    """What a model's lone batches took, for each power of two of the items' length."""

    _times: dict[int, _Times] = field(default_factory=dict)

    def is_wide(self, length: int) -> bool:
        """Whether the next lone batch of that length should be run by all threads."""
        times = self._times.setdefault(length.bit_length(), _Times())
        times.turn += 1
        if times.wide is None:
            return True
        if times.narrow is None:
            return False
        return (times.wide < times.narrow) is not (times.turn % _TRY_EVERY == 0)

    def observe(self, length: int, cost: float, seconds: float, *, is_wide: bool) -> None:
        """Notes what a lone batch took."""
        times = self._times.setdefault(length.bit_length(), _Times())
        each = seconds / max(cost, 1.0)
        if is_wide:
            times.wide = each if times.wide is None else times.wide + _NEWEST * (each - times.wide)
        else:
            times.narrow = each if times.narrow is None else times.narrow + _NEWEST * (each - times.narrow)
