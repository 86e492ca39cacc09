"""Turns samples into log-mel spectrograms, as `transformers.audio_utils.spectrogram` computes them.

What Whisper's front end has stands here; `clap.py` has CLAP's, `kaldi.py` that of AST.
Everything runs in float64; the spectrum is rounded to complex64 in between, as the reference does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.inference.typed import Count, Fft, Frequency, MelCount, Positive, Rate, Samples

Scale = Literal["slaney", "htk"]


@dataclass(frozen=True, slots=True)
class MelNumbers:
    """The numbers of a log-mel front end, from a package's manifest.

    Lengths are in samples at `sample_rate_hz`, frequencies in Hz. `log_range` is how far below the clip's maximum, in
    powers of ten, values are cut off (Whisper: 8). Pieces are filled with silence to a multiple of `step_samples`, so
    that a vector depends on its clip alone and pieces of one length ride in one batch.
    """

    sample_rate_hz: Rate
    fft_length: Fft
    hop_length: Count
    mel_count: MelCount
    f_min: Frequency
    f_max: Frequency
    log_range: Positive
    step_samples: Samples


def log_mel(samples: NDArray[np.float32], numbers: MelNumbers) -> NDArray[np.float32]:
    """Returns the (mel, frames) float32 log-mel spectrogram of (n,) samples, as Whisper's front end has it.

    Periodic Hann window as long as the FFT, centred frames with reflected edges of which the last is dropped, so
    frames = n // hop; slaney mel scale and norm; v = log10(max(power, 1e-10)), cut off `log_range` below its
    maximum, then (v + 4) / 4. Source: transformers `feature_extraction_whisper.py`.
    """
    power = power_spectrum(samples, numbers.fft_length, numbers.hop_length)[:-1]  # (frames, bins)
    bank = mel_bank(numbers.sample_rate_hz, numbers.fft_length, numbers.mel_count, numbers.f_min, numbers.f_max)
    mel = bank.T @ power.T  # (mel, frames)
    log = np.log10(np.maximum(mel, 1e-10))
    log = np.maximum(log, log.max() - numbers.log_range)
    return np.asarray((log + 4.0) / 4.0, np.float32)


def power_spectrum(samples: NDArray[np.float32], fft_length: int, hop_length: int) -> NDArray[np.float64]:
    """Returns the (1 + n // hop, bins) power spectrum of centred frames with reflected edges."""
    padded = np.pad(samples.astype(np.float64), fft_length // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_length)[::hop_length][
        : 1 + samples.size // hop_length
    ]
    spectrum = np.fft.rfft(frames * hann(fft_length)).astype(np.complex64)
    return np.abs(spectrum, dtype=np.float64) ** 2


@lru_cache(maxsize=16)
def hann(length: int) -> NDArray[np.float64]:
    """Returns the periodic Hann window: 1/2 - cos(2 pi i / length) / 2."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    window.setflags(write=False)
    return window


@lru_cache(maxsize=16)
def mel_bank(
    sample_rate_hz: int, fft_length: int, mel_count: int, f_min: float, f_max: float, scale: Scale = "slaney"
) -> NDArray[np.float64]:
    """Returns the (bins, mel) triangles: of the slaney scale with slaney norm, or of the htk scale without norm.

    Source: transformers `mel_filter_bank`.
    """
    bins = np.linspace(0, sample_rate_hz / 2, fft_length // 2 + 1)[:, None]
    if scale == "slaney":
        points = mel_to_hz(np.linspace(hz_to_mel(f_min), hz_to_mel(f_max), mel_count + 2))
    else:
        low_mel, high_mel = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (f_min, f_max))
        points = 700.0 * (10.0 ** (np.linspace(low_mel, high_mel, mel_count + 2) / 2595.0) - 1.0)
    low, centre, high = points[:-2], points[1:-1], points[2:]
    bank = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    if scale == "slaney":
        bank *= 2.0 / (high - low)
    bank.setflags(write=False)
    return bank


_KNEE_HZ = 1000.0  # slaney: linear below, logarithmic above (Auditory Toolbox, Slaney 1998)
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: float) -> float:
    """Returns the slaney mel of a frequency in Hz."""
    return 3.0 * hz / 200.0 if hz < _KNEE_HZ else 15.0 + float(np.log(hz / _KNEE_HZ)) / _LOG_STEP


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the frequencies in Hz of slaney mels."""
    return np.where(mel < 15.0, 200.0 * mel / 3.0, _KNEE_HZ * np.exp(_LOG_STEP * (mel - 15.0)))
