"""Changes recordings the way rooms, microphones and speakers do."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

Wave = NDArray[np.float32]


def vary(samples: Wave, sample_rate_hz: int, rng: np.random.Generator, speed: tuple[float, float]) -> Wave:
    """Returns a variant: other speed and pitch, filtered, with silence or noise around and under it, other loudness."""
    samples = change_speed(samples, float(rng.uniform(*speed)))
    if rng.random() < 0.4:
        samples = low_pass(samples, sample_rate_hz, float(np.exp(rng.uniform(np.log(1500), np.log(7000)))))
    if rng.random() < 0.5:
        samples = surround(samples, sample_rate_hz, rng)
    if rng.random() < 0.6:
        samples = add_noise(samples, float(rng.uniform(5, 40)), rng)
    return np.asarray(samples * np.float32(np.exp(rng.uniform(np.log(0.1), np.log(1.5)))), np.float32)


def change_speed(samples: Wave, factor: float) -> Wave:
    """Returns the samples played `factor` times as fast, pitch included."""
    return np.asarray(soxr.resample(samples, 1000 * factor, 1000, quality="MQ"), np.float32)


def low_pass(samples: Wave, sample_rate_hz: int, cutoff_hz: float) -> Wave:
    """Returns the samples without what lies above a soft cutoff, as over a telephone."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(samples.size, 1 / sample_rate_hz)
    spectrum *= 1 / (1 + (hz / cutoff_hz) ** 6)
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def surround(samples: Wave, sample_rate_hz: int, rng: np.random.Generator) -> Wave:
    """Returns the samples with up to 0.3 s of silence before and after."""
    before, after = (rng.uniform(0, 0.3, 2) * sample_rate_hz).astype(int)
    return np.pad(samples, (before, after))


def add_noise(samples: Wave, ratio_db: float, rng: np.random.Generator) -> Wave:
    """Returns the samples with noise between white and brown, `ratio_db` below the loud parts' power."""
    noise = coloured_noise(samples.size, float(rng.uniform(0, 2)), rng)
    level = float(np.sqrt(np.mean(samples**2)) + 1e-9) * 10 ** (-ratio_db / 20)
    return np.asarray(samples + level * noise, np.float32)


def white_noise(samples: Wave, ratio_db: float, rng: np.random.Generator) -> Wave:
    """Returns the samples with white noise whose power is `ratio_db` below their own."""
    deviation = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (-ratio_db / 20)
    return np.asarray(samples + deviation * rng.standard_normal(samples.size), np.float32)


def coloured_noise(size: int, slope: float, rng: np.random.Generator) -> Wave:
    """Returns (size,) noise of unit power whose power falls with the frequency to the power of `slope`."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum *= np.maximum(1, np.arange(spectrum.size)) ** (-slope / 2)
    noise = np.fft.irfft(spectrum, size)
    return np.asarray(noise / (noise.std() + 1e-9), np.float32)


def crop(samples: Wave, length: int, rng: np.random.Generator) -> Wave:
    """Returns a random piece of at most `length` samples."""
    start = int(rng.integers(0, max(1, samples.size - length + 1)))
    return samples[start : start + length]
