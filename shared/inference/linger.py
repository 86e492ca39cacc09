"""Lets a free worker wait a moment for company to a batch that would be small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# How long at most, and below what it is not worth a timer. Guesses.
_LONGEST_S, _LEAST_S = 0.002, 0.0003


class Linger:
    """One wait at a time. It holds nothing that refers back to it but while a timer runs."""

    def __init__(self) -> None:
        """Waits for nothing yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def holds(self, wait_s: float, dispatch: Callable[[], None]) -> bool:
        """Whether a dispatch is put off; `dispatch` is called when `wait_s` are over, counted from the first call.

        wait_s: what company is worth waiting for now; 0 ends a wait that runs.
        """
        if self._is_over or wait_s < _LEAST_S:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._is_over = None, False
            return False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(min(wait_s, _LONGEST_S), self._end, dispatch)
        return True

    def _end(self, dispatch: Callable[[], None]) -> None:
        self._timer, self._is_over = None, True
        dispatch()
