"""What becomes of one input: ready for the model, then its vectors, then what the cache keeps of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import SensoriumError
from shared.inference.cache import Known, ModelCache
from shared.inference.features import Prepared
from shared.inference.flights import Asked

_Input = TypeVar("_Input")


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input's answer.

    vectors: (rows, dim) float32 as the model gave them, not normalised; one row but for clips cut into windows.
    spans_ms: start and end of each row within a clip; empty for other inputs.
    unit_count: tokens, pixels or milliseconds of the input.
    batch_size: of the largest batch that was computed for it; 0 where none was.
    ended_ns: when its last row came, by `time.perf_counter_ns`; 0 where nothing was computed.
    """

    vectors: NDArray[np.float32]
    spans_ms: Sequence[tuple[int, int]]
    unit_count: int
    preprocess_ns: int
    queue_ns: int
    inference_ns: int
    batch_size: int
    ended_ns: int = 0

    @property
    def is_cached(self) -> bool:
        """Whether its vectors came from the cache, or from what was computed for another caller."""
        return self.batch_size == 0


@dataclass(frozen=True, slots=True)
class Ready:
    """One input after preprocessing; the keys are those of the cache, empty where there is none."""

    key: bytes
    prepared: Prepared
    row_keys: Sequence[bytes]
    preprocess_ns: int


async def joined(ready: Ready, rows: Sequence[Asked]) -> Encoded | SensoriumError:
    """Returns the answer to an input once all of its rows are computed."""
    try:
        computed = [await row.result() for row in rows]
    except SensoriumError as error:
        return error
    return Encoded(
        vectors=computed[0].vector[np.newaxis] if len(computed) == 1 else np.stack([row.vector for row in computed]),
        spans_ms=ready.prepared.spans_ms,
        unit_count=ready.prepared.unit_count,
        preprocess_ns=ready.preprocess_ns,
        queue_ns=max(row.queue_ns for row in computed),
        inference_ns=max(row.inference_ns for row in computed),
        batch_size=max(row.batch_size for row in computed),
        ended_ns=time.perf_counter_ns(),
    )


def recalled(key: bytes, cache: ModelCache[_Input]) -> Encoded | None:
    """Returns the answer to an input that was answered before."""
    found = cache.recall(key)
    if found is None:
        return None
    known, vectors = found
    return Encoded(vectors, known.spans_ms, known.unit_count, preprocess_ns=0, queue_ns=0, inference_ns=0, batch_size=0)


def remember(
    ready: Sequence[Ready | SensoriumError], answers: Sequence[Encoded | SensoriumError], cache: ModelCache[_Input]
) -> None:
    """Notes which inputs led to which rows, and how many were computed; errors are not kept."""
    hits = misses = 0
    for each, answer in zip(ready, answers, strict=True):
        if isinstance(each, Ready) and isinstance(answer, Encoded):
            if each.key:
                cache.learn(each.key, Known(each.row_keys, answer.unit_count, answer.spans_ms))
            hits, misses = hits + answer.is_cached, misses + (not answer.is_cached)
    cache.observer.looked_up(hits=hits, misses=misses)
