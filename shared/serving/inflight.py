"""Bounds the bytes of all requests that are being answered, and gives memory back when many of them are done.

Each message has a bound of its own; a hundred of them at once need one together. What glibc keeps of freed memory, it
gives back when it is asked: without that a service stays as large as its largest moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
from collections.abc import Callable, Iterator

from sensorium.errors import Overloaded

_log = logging.getLogger("sensorium.memory")

_RETRY_S = 0.5  # when large requests should be done: a guess
# From which peak on memory is asked back, and how far the bytes must have fallen from it. Guesses: asking takes some
# milliseconds of a thread for each 100 MB.
_LEAST_PEAK = 32 << 20
_FALLEN = 4


class InflightBytes:
    """The bytes of the requests that are being answered, up to a bound. One request always fits."""

    def __init__(self, most: int, give_back: Callable[[], object] | None = None) -> None:
        """Has none yet.

        give_back: what is called, in a thread, when the bytes have fallen from a peak; None: glibc's `malloc_trim`.
        """
        self._most = most
        self._give_back = give_back or _trim
        self._peak = 0
        self._trimming: asyncio.Future[object] | None = None
        self.count = 0

    def check(self) -> None:
        """Refuses a request before it is read, where there is no room for one.

        Raises:
            Overloaded: with when to come back.
        """
        if self.count >= self._most:
            raise self._refusal(0)

    @contextlib.contextmanager
    def holding(self, byte_count: int) -> Iterator[None]:
        """Counts a request for the length of the block.

        Raises:
            Overloaded: others are being answered, and with this one they would be too many bytes.
        """
        if self.count and self.count + byte_count > self._most:
            self._peak = max(self._peak, self.count + byte_count)
            raise self._refusal(byte_count)
        self.count += byte_count
        self._peak = max(self._peak, self.count)
        try:
            yield
        finally:
            self.count -= byte_count
            self.settle()

    def settle(self) -> None:
        """Asks for memory back where the bytes have fallen far from a high peak."""
        if self._peak < _LEAST_PEAK or self.count * _FALLEN > self._peak or self._trimming is not None:
            return
        self._peak = self.count
        self._trimming = asyncio.get_running_loop().run_in_executor(None, self._give_back)
        self._trimming.add_done_callback(self._trimmed)

    def _trimmed(self, done: asyncio.Future[object]) -> None:
        self._trimming = None
        if not done.cancelled() and done.exception() is not None:
            _log.warning("memory is not given back", exc_info=done.exception())
        self.settle()

    def _refusal(self, byte_count: int) -> Overloaded:
        return Overloaded(
            f"requests of {self.count + byte_count} bytes would be answered at once, over the limit of {self._most}; "
            f"try again in {_RETRY_S} s, or send fewer items in a call",
            metadata={"limit": str(self._most), "in_flight": str(self.count), "size": str(byte_count)},
            retry_after_s=_RETRY_S,
        )


def _trim() -> None:
    """Gives freed memory back to the system, where the C library can (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
