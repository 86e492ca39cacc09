"""Makes sounds for tests."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray


def tone(seconds: float, rate: int = 16_000, channels: int = 1, hz: float = 440) -> NDArray[np.float32]:
    """Returns (n, channels) float32: a tone with a slow swell, so that no two windows are alike."""
    time_s = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * hz * time_s) * (0.3 + 0.2 * np.sin(2 * np.pi * 0.7 * time_s))
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def file(samples: NDArray[np.float32], rate: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """Returns an encoded file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()
