"""Cuts live sound into windows as it comes in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.audio.clips import Windows


class LiveWindows:
    """Collects chunks of (n, channels) samples and gives the windows that they fill, in order of time.

    Between chunks it keeps no more than one window of sound.
    """

    def __init__(self, windows: Windows, sample_rate_hz: int) -> None:
        """Starts at time 0 of the stream."""
        self._windows = windows
        self._rate = sample_rate_hz
        self._held: list[NDArray[np.float32]] = []
        self._held_start = 0  # place in the stream of the first sample held
        self._end = 0  # place after the last sample received
        self._count = 0  # windows given so far
        self._covered = 0  # place after the last sample that a window covered

    def push(self, chunk: NDArray[np.float32]) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Adds a chunk and yields (start_ms, end_ms, samples) of every window that is now full."""
        if len(chunk):
            self._held.append(chunk)
            self._end += len(chunk)
        while self._start_of_next() + self._length() <= self._end:
            yield self._cut(self._length())
        if len(self._held) == 1 and self._held[0].base is not None:
            self._held = [self._held[0].copy()]  # a view would keep all of the chunk

    def finish(self) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Yields the last, shorter window, where samples are left that no window covered."""
        rest = self._end - self._start_of_next()
        if self._end > self._covered and rest > 0:
            yield self._cut(rest)

    def _length(self) -> int:
        return self._windows.length_ms * self._rate // 1000

    def _start_of_next(self) -> int:
        return self._count * self._windows.hop_ms * self._rate // 1000

    def _cut(self, length: int) -> tuple[int, int, NDArray[np.float32]]:
        held = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        start = self._start_of_next()
        window = held[start - self._held_start : start - self._held_start + length]
        self._covered = start + length
        self._count += 1
        keep = min(self._start_of_next(), self._end)  # where the hop is longer than the window, some is skipped
        self._held = [held[keep - self._held_start :]]
        self._held_start = keep
        return round(1000 * start / self._rate), round(1000 * self._covered / self._rate), window
