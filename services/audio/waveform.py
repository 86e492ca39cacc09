"""The samples themselves, as wav2vec 2.0 and its kin take them (`feature_extraction_wav2vec2.py`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.inference.typed import Rate

MIN_SAMPLES = 400  # what the first frame of their convolutions spans


@dataclass(frozen=True, slots=True)
class WaveformNumbers:
    """The numbers of a model of raw samples, from a package's manifest.

    normalizes: whether a clip is scaled to mean 0 and variance 1.
    """

    sample_rate_hz: Rate
    normalizes: bool


def waveform(samples: NDArray[np.float32], numbers: WaveformNumbers) -> NDArray[np.float32]:
    """Returns (n,) float32 of (n,) samples, n at least MIN_SAMPLES."""
    if not numbers.normalizes:
        return samples
    return np.asarray((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7), np.float32)
