"""What is heard when: the vectors of the windows of sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium import vectors
from sensorium.answers import raise_first
from sensorium.errors import SensoriumError
from sensorium.status import from_status
from sensorium.v1 import audio_pb2, embedding_pb2, orchestrator_pb2


@dataclass(frozen=True, repr=False)
class ClipWindows:
    """The windows of one clip, in order of time; there are none where the clip failed.

    start_ms, end_ms: (n,) int64, within the clip; the last window may be shorter than the others.
    vectors: (n, dim) float32.
    """

    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.start_ms)

    def __repr__(self) -> str:
        return f"ClipWindows({len(self)}, to {self.end_ms.max(initial=0)} ms)"


@dataclass(frozen=True)
class Windows:
    """The windows of each clip, in order; `errors` says what went wrong, by the clip's place."""

    clips: Sequence[ClipWindows]
    errors: Mapping[int, SensoriumError]
    space: str
    receipt: embedding_pb2.Receipt

    def raise_for_errors(self) -> None:
        """Raises the first error, if there is one."""
        raise_first(self.errors)


def read_windows(response: orchestrator_pb2.EmbedWindowsResponse) -> Windows:
    """Returns the answer to `EmbedWindows`."""
    found = [each.windows.windows for each in response.results]
    errors = {at: from_status(each.error) for at, each in enumerate(response.results) if each.HasField("error")}
    space = next((window.embedding.space for windows in found for window in windows), "")
    dim = next((window.embedding.dim for windows in found for window in windows), 0)
    return Windows([_clip(windows, dim) for windows in found], errors, space, response.receipt)


def _clip(windows: Sequence[audio_pb2.AudioWindow], dim: int) -> ClipWindows:
    rows = [vectors.read(window.embedding) for window in windows]
    return ClipWindows(
        start_ms=np.array([window.start_ms for window in windows], np.int64),
        end_ms=np.array([window.end_ms for window in windows], np.int64),
        vectors=np.stack(rows) if rows else np.empty((0, dim), np.float32),
    )
