"""Measures how much is lost where inputs come otherwise than they were learned: faster, noisier, larger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.audio.preprocess import resample
from training import meanings, originals, waves
from training.concepts import DIGITS, PHOTOGRAPH_LABELS
from training.evaluation import Encoder, accuracy
from training.prepare import Images, Prepared, Sounds, mel, shrink
from training.settings import AUDIO_NUMBERS, Settings
from training.waves import Wave

_RATE = AUDIO_NUMBERS.mel.sample_rate_hz
_LARGE_PX = (640, 480)  # width, height
_PHOTOGRAPHS = 500


def measure_robustness(encoder: Encoder, check: Prepared, data: Path, settings: Settings) -> dict[str, float]:
    """Returns accuracies on changed waveforms of held-out spoken digits, and on enlarged photographs."""
    return _spoken(encoder, data, settings) | _enlarged(encoder, check.images["photographs"])


def white_noise(samples: Wave, ratio_db: float, rng: np.random.Generator) -> Wave:
    """Returns the samples with white noise whose power is `ratio_db` below their own."""
    deviation = np.sqrt(np.mean(np.square(samples, dtype=np.float64))) * 10 ** (-ratio_db / 20)
    return np.asarray(samples + deviation * rng.standard_normal(samples.size), np.float32)


def enlarge(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns what the vision service makes of a picture that comes as a PNG file of 640 by 480 pixels."""
    large = cv2.resize(np.ascontiguousarray(pixels[:, :, ::-1]), _LARGE_PX, interpolation=cv2.INTER_CUBIC)
    return shrink(originals.decode_picture(cv2.imencode(".png", large)[1].tobytes()))


def _spoken(encoder: Encoder, data: Path, settings: Settings) -> dict[str, float]:
    clips = [clip for clip in originals.read_spoken_digits(data, settings.spoken_digits) if clip.is_held_out]
    said = [meanings.of_label(clip.label) for clip in clips]
    recordings = [resample(clip.samples, clip.sample_rate_hz, _RATE) for clip in clips]
    rng = np.random.default_rng(0)
    changes: dict[str, Callable[[Wave], Wave]] = {
        "at 0.85 of its speed": lambda samples: waves.change_speed(samples, 0.85),
        "at 1.15 of its speed": lambda samples: waves.change_speed(samples, 1.15),
        "with white noise at 10 dB": lambda samples: white_noise(samples, 10.0, rng),
    }
    return {
        f"spoken digit {name} → word": _heard(encoder, map(change, recordings), said)
        for name, change in changes.items()
    }


def _heard(encoder: Encoder, recordings: Iterable[Wave], said: list[meanings.Meaning]) -> float:
    sounds = Sounds([mel(samples, _RATE) for samples in recordings], said)
    return accuracy(encoder, encoder.sounds(sounds), [concept.label for concept in DIGITS])


def _enlarged(encoder: Encoder, photographs: Images) -> dict[str, float]:
    step = max(1, len(photographs.meanings) // _PHOTOGRAPHS)  # they lie class by class
    small = Images(photographs.pixels[::step], photographs.meanings[::step])
    large = Images(np.stack([enlarge(pixels) for pixels in small.pixels]), small.meanings)
    return {
        f"photograph given at {size} pixels → class name": accuracy(encoder, encoder.images(images), PHOTOGRAPH_LABELS)
        for size, images in (("32 × 32", small), ("640 × 480", large))
    }
