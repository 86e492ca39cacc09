"""What preprocessing hands to the model: the arrays of one item, and what they will cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Features:
    """One row of model input.

    arrays: the graph's inputs by name, each without the batch axis. Items of one shape are stacked; a package
        that pads (text) pads the first axis of each array to the longest of its batch.
    length: size along the axis that batches pad; items of like length ride together.
    cost: what the row costs the model, in the modality's unit: tokens, pixels or frames.
    """

    arrays: Mapping[str, NDArray[Any]]
    length: int
    cost: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """One raw input after preprocessing.

    rows: what the model runs; more than one where a clip is cut into windows.
    spans_ms: the start and end of each row within a clip; empty for text and images.
    unit_count: the size of the input for the receipt: tokens, pixels of the decoded picture, or milliseconds.
    """

    rows: Sequence[Features]
    unit_count: int
    spans_ms: Sequence[tuple[int, int]] = ()


Preprocess = Callable[[Any], Prepared]
