"""Kaldi's filter bank, which AST takes (`feature_extraction_audio_spectrogram_transformer.py`, its NumPy path)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference.typed import Count, MelCount, Positive, Rate

_FRAME, _HOP, _FFT = 400, 160, 512  # 25 and 10 ms at 16 kHz
_F_MIN_HZ, _PREEMPHASIS = 20.0, 0.97
_FLOOR = 1.192092955078125e-07  # of the power: the reference's, near the epsilon of float32

MIN_SAMPLES = _FRAME


@dataclass(frozen=True, slots=True)
class KaldiNumbers:
    """The numbers of AST's front end, from a package's manifest.

    frame_count: how many frames the model takes; fewer are followed by zeros, further ones are left out.
    mean, std: of the log power over the training set.
    """

    sample_rate_hz: Rate
    mel_count: MelCount
    frame_count: Count
    mean: float
    std: Positive


def kaldi_features(samples: NDArray[np.float32], numbers: KaldiNumbers) -> NDArray[np.float32]:
    """Returns (frame_count, mel) float32: (log power - mean) / (2 std) of (n,) samples, n at least MIN_SAMPLES.

    Frames of 25 ms every 10 ms, none beyond the edges; each less its mean, pre-emphasised, under a symmetric Hann
    window; triangles spaced and shaped on Kaldi's mel scale from 20 Hz to half the rate.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), _FRAME)[::_HOP]
    frames = frames[: numbers.frame_count]
    frames = frames - frames.mean(1, keepdims=True)
    emphasised = np.empty_like(frames)
    emphasised[:, 1:] = frames[:, 1:] - _PREEMPHASIS * frames[:, :-1]
    emphasised[:, 0] = frames[:, 0] * (1 - _PREEMPHASIS)
    spectrum = np.fft.rfft(emphasised * np.hanning(_FRAME), _FFT).astype(np.complex64)
    power = np.abs(spectrum, dtype=np.float64) ** 2
    log = np.log(np.maximum(power @ _bank(numbers.sample_rate_hz, numbers.mel_count), _FLOOR)).astype(np.float32)
    padded = np.pad(log, ((0, numbers.frame_count - len(log)), (0, 0)))
    return np.asarray((padded - numbers.mean) / (numbers.std * 2), np.float32)


@lru_cache(maxsize=4)
def _bank(sample_rate_hz: int, mel_count: int) -> NDArray[np.float64]:
    """Returns the (bins, mel) triangles of transformers' `mel_filter_bank` with `triangularize_in_mel_space`."""
    nyquist = sample_rate_hz / 2
    f_min, f_max = _mel(np.array([_F_MIN_HZ, nyquist]))
    points = np.linspace(float(f_min), float(f_max), mel_count + 2)
    bins = _mel(sample_rate_hz / _FFT * np.arange(_FFT // 2 + 1))[:, None]
    low, centre, high = points[:-2], points[1:-1], points[2:]
    bank: NDArray[np.float64] = np.maximum(
        0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    )
    bank.setflags(write=False)
    return bank


def _mel(hz: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns Kaldi's mels of frequencies in Hz."""
    return np.asarray(1127.0 * np.log(1.0 + hz / 700.0), np.float64)
