"""CLAP's front end: 10 s of 48 kHz, filled by repetition or cut, in decibels (`feature_extraction_clap.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.audio.mel import Scale, mel_bank, power_spectrum
from shared.inference.typed import Count, Fft, Frequency, MelCount, Rate, Samples

Fill = Literal["repeatpad", "repeat", "pad"]

_FLOOR = 1e-10  # of the power, -100 dB


@dataclass(frozen=True, slots=True)
class ClapNumbers:
    """The numbers of CLAP's front end, from a package's manifest.

    window_samples: how long a clip is to the model. fill: how a shorter one becomes so long. is_fused: whether the
    model takes four views of a longer one, in place of a cut.
    """

    sample_rate_hz: Rate
    fft_length: Fft
    hop_length: Count
    mel_count: MelCount
    f_min: Frequency
    f_max: Frequency
    mel_scale: Scale
    window_samples: Samples
    fill: Fill
    is_fused: bool


def clap_features(samples: NDArray[np.float32], numbers: ClapNumbers) -> NDArray[np.float32]:
    """Returns (1, frames, mel) float32 of (n,) samples; (4, frames, mel) for a fused model.

    A clip that is longer than the window must be cut before, but for a fused model.
    """
    wanted, most = numbers.window_samples, numbers.window_samples // numbers.hop_length + 1
    if not numbers.is_fused:
        return _decibels(filled(samples, wanted, numbers.fill), numbers)[None]
    if samples.size <= wanted:
        return np.repeat(_decibels(filled(samples, wanted, numbers.fill), numbers)[None], 4, 0)
    whole = _decibels(samples, numbers)  # (t, mel)
    if len(whole) == most:
        return np.repeat(whole[None], 4, 0)
    return np.stack([_shrunk(whole, most), *(whole[start : start + most] for start in _starts(len(whole) - most))])


def filled(samples: NDArray[np.float32], wanted: int, fill: Fill) -> NDArray[np.float32]:
    """Returns `wanted` samples: the clip as often as it fits whole, or (`repeat`) until it is full; then silence."""
    if samples.size < wanted and fill != "pad":
        times = wanted // samples.size + (fill == "repeat")
        samples = np.tile(samples, times)[:wanted]
    return np.pad(samples, (0, max(0, wanted - samples.size)))


def _decibels(samples: NDArray[np.float32], numbers: ClapNumbers) -> NDArray[np.float32]:
    """Returns (frames, mel) float32: 10 log10 of the mel power."""
    power = power_spectrum(samples, numbers.fft_length, numbers.hop_length)  # (frames, bins)
    bank = mel_bank(
        numbers.sample_rate_hz, numbers.fft_length, numbers.mel_count, numbers.f_min, numbers.f_max, numbers.mel_scale
    )
    return np.asarray((10.0 * np.log10(np.maximum(bank.T @ power.T, _FLOOR))).T, np.float32)


def _starts(last: int) -> list[int]:
    """Returns the middle of each third of 0 … last, where the reference draws at random; 0 where a third is empty."""
    thirds = np.array_split(np.arange(last + 1), 3)
    return [int(third[(len(third) - 1) // 2]) if third.size else 0 for third in thirds]


def _shrunk(whole: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Returns (most, mel): linear interpolation over time, as torch's `interpolate` without aligned corners.

    The positions are float32, as the reference has them, and rounded once; else values are up to 3e-3 dB off.
    """
    ratio = np.float64(np.float32(len(whole)) / np.float32(most))
    at = np.maximum(ratio * (np.arange(most) + 0.5) - 0.5, 0).astype(
        np.float32
    )  # rounded once, as a fused multiply-add
    low = at.astype(np.int64)
    high = np.minimum(low + 1, len(whole) - 1)
    part = (at - low.astype(np.float32))[:, None]
    return np.asarray(whole[low] * (np.float32(1) - part) + whole[high] * part, np.float32)
