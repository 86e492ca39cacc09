"""From vectors to model input: parts with their modalities and weights, or one vector alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference.features import Features, Prepared


@dataclass(frozen=True, slots=True)
class Parts:
    """What is known of one thing: vectors (n, dim) float32 of length 1, modalities (n,) int64, weights (n,) float32.

    Modalities are numbered as in the contract: 1 text, 2 image, 3 audio. A weight of 0 leaves its part out.
    """

    vectors: NDArray[np.float32]
    modalities: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VectorNumbers:
    """What the manifest's `preprocess` says of a model that takes vectors.

    scales: whether vectors are scaled to length 1 before they go in.
    """

    scales: bool = True


def prepare_parts(parts: Parts) -> Prepared:
    """Returns one row for a fusion model: `parts`, `modality` and `weights`, padded with weight 0 in a batch."""
    count = len(parts.weights)
    arrays: dict[str, NDArray[Any]] = {  # Any: float32 and int64 side by side
        "parts": parts.vectors,
        "modality": parts.modalities,
        "weights": parts.weights,
    }
    return Prepared([Features(arrays, count, count)], count)


def prepare_vector(parts: Parts) -> Prepared:
    """Returns one row for a bridge or a predictor: `embedding`, the only vector of `parts`."""
    return Prepared([Features({"embedding": parts.vectors[0]}, 1, 1)], 1)


def alone(vector: NDArray[np.float32]) -> Parts:
    """Returns one vector (dim,) as parts, for `prepare_vector`; its modality is not known."""
    return Parts(vector[None, :], np.zeros(1, np.int64), np.ones(1, np.float32))
