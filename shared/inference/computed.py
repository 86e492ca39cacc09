"""What comes of a batch: for each row, and for the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.inference.queue import Entry


@dataclass(frozen=True, slots=True)
class Computed:
    """One row's result: (dim,) float32, and what it went through."""

    vector: NDArray[np.float32]
    queue_ns: int
    inference_ns: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch after its run: the rows that were still wanted, (n, dim) for them, its beginning, duration and width."""

    live: Sequence[Entry[Computed]]
    vectors: NDArray[np.float32]
    started: float
    seconds: float
    is_wide: bool | None
