"""Measures whether what belongs to no label can be told from what does, by the top probability or the top score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import meanings, waves
from training.concepts import ANIMAL_LABELS, DIGITS, LABELS, PHOTOGRAPH_LABELS
from training.evaluation import Encoder, Vectors
from training.package import Calibration
from training.prepare import Images, Prepared, Sounds, mel
from training.settings import AUDIO_NUMBERS
from training.waves import Wave

_RATE = AUDIO_NUMBERS.mel.sample_rate_hz
_EACH = 100  # drawn of each kind
_SIDE = 32
_NOTHING = meanings.of_label(0)  # no label fits; the field must hold something, and nobody reads it


@dataclass(frozen=True, slots=True)
class Case:
    """A choice among labels: the sources of items that have one of them, and of items that have none."""

    name: str
    modality: str
    labels: Sequence[str]
    own: Sequence[str]
    others: Sequence[str]


_DIGIT_LABELS = [concept.label for concept in DIGITS]
CASES = (
    Case("digits, against photographs and scenes", "image", _DIGIT_LABELS, ("handwritten", "typed"),
         ("photographs", "scenes")),
    Case("photographs, against digits and scenes", "image", PHOTOGRAPH_LABELS, ("photographs",),
         ("handwritten", "typed", "scenes")),
    Case("pictures of all 26 labels, against noise, gradients, textures and scrambled photographs", "image", LABELS,
         ("handwritten", "typed", "photographs"), ("drawn nonsense",)),
    Case("spoken digits, against animal sounds and captions", "audio", _DIGIT_LABELS, ("spoken",),
         ("animals", "phrases")),
    Case("animal sounds, against spoken digits and captions", "audio", ANIMAL_LABELS, ("animals",),
         ("spoken", "phrases")),
    Case("sounds of all 26 labels, against tones, chords and bursts of noise", "audio", LABELS,
         ("spoken", "animals", "words"), ("played nonsense",)),
)  # fmt: skip


def measure_off_topic(
    encoder: Encoder, check: Prepared, vectors: Mapping[str, Vectors], calibration: Mapping[str, Calibration]
) -> dict[str, float]:
    """Returns the area under the ROC curve of every case: of its items against those that have none of its labels."""
    rng = np.random.default_rng(11)
    drawn = encoder.images(nonsense_pictures(check.images["photographs"].pixels, rng))
    found = {**vectors, "drawn nonsense": drawn, "played nonsense": encoder.sounds(nonsense_sounds(rng))}
    numbers = {}
    for case in CASES:
        names, scale = encoder.prototypes(case.labels), calibration[case.modality].logit_scale
        own, others = (torch.cat([found[s].rows for s in sources]) @ names.T for sources in (case.own, case.others))
        numbers[f"AUROC by top score: {case.name}"] = auroc(own.amax(1), others.amax(1))
        numbers[f"AUROC by top probability: {case.name}"] = auroc(_surest(own, scale), _surest(others, scale))
    return numbers


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Returns how often one of `inside` (n,) is above one of `outside` (m,); ties count half."""
    ordered = outside.sort().values
    below = torch.searchsorted(ordered, inside) + torch.searchsorted(ordered, inside, right=True)
    return float(below.double().mean() / (2 * len(ordered)))


def nonsense_pictures(photographs: NDArray[np.uint8], rng: np.random.Generator) -> Images:
    """Returns pictures of nothing: noise, gradients, stripes and blotches, and photographs cut up and shuffled."""
    makers = (_noise, _gradient, _stripes, _blotches)
    pixels = [make(rng) for make in makers for _ in range(_EACH)]
    pixels += [_scrambled(photographs[i], rng) for i in rng.integers(0, len(photographs), _EACH)]
    return Images(np.stack(pixels), [_NOTHING] * len(pixels))


def nonsense_sounds(rng: np.random.Generator) -> Sounds:
    """Returns sounds of nothing: tones, chords, and bursts of noise."""
    features = [mel(make(rng), _RATE) for make in (_tone, _chord, _burst) for _ in range(_EACH)]
    return Sounds(features, [_NOTHING] * len(features))


def _surest(cosines: Tensor, scale: float) -> Tensor:
    return (scale * cosines).softmax(1).amax(1)


def _noise(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)


def _gradient(rng: np.random.Generator) -> NDArray[np.uint8]:
    return _between(rng, _ramp(rng) / _SIDE + 0.5)


def _stripes(rng: np.random.Generator) -> NDArray[np.uint8]:
    return _between(rng, 0.5 + 0.5 * np.sin(_ramp(rng) * rng.uniform(0.5, 2.5) + rng.uniform(0, 6)))


def _blotches(rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.random((int(rng.integers(3, 9)),) * 2).astype(np.float32)
    return _between(rng, cv2.resize(coarse, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC))


def _scrambled(picture: NDArray[np.uint8], rng: np.random.Generator, tile: int = 8) -> NDArray[np.uint8]:
    count = _SIDE // tile
    tiles = picture.reshape(count, tile, count, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)
    shuffled = tiles[rng.permutation(len(tiles))].reshape(count, count, tile, tile, 3)
    return shuffled.swapaxes(1, 2).reshape(_SIDE, _SIDE, 3)


def _ramp(rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns (32, 32): pixels from the middle, along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - (_SIDE - 1) / 2
    return np.asarray(rows * np.sin(angle) + columns * np.cos(angle))


def _between(rng: np.random.Generator, share: NDArray[Any]) -> NDArray[np.uint8]:  # Any: of either width
    """Returns the mixture of two random colours: 0 is the one, 1 the other."""
    one, other = rng.uniform(0, 255, (2, 3))
    mixed = one + np.clip(share, 0, 1)[:, :, None] * (other - one)
    return np.asarray(mixed, np.uint8)


def _tone(rng: np.random.Generator) -> Wave:
    return _played(rng, [float(rng.uniform(100, 3000))])


def _chord(rng: np.random.Generator) -> Wave:
    root = float(rng.uniform(110, 660))
    return _played(rng, [root * 2 ** (step / 12) for step in (0, int(rng.integers(3, 5)), 7)])


def _burst(rng: np.random.Generator) -> Wave:
    noise = waves.coloured_noise(_length(rng), float(rng.uniform(0, 2)), rng)
    return _faded(noise * np.float32(rng.uniform(0.02, 0.2)), rng)


def _played(rng: np.random.Generator, pitches_hz: Sequence[float]) -> Wave:
    time_s = np.arange(_length(rng)) / _RATE
    waves_ = [np.sin(2 * np.pi * hz * k * time_s) / k for hz in pitches_hz for k in range(1, int(rng.integers(2, 6)))]
    return _faded(np.sum(waves_, axis=0).astype(np.float32) * np.float32(0.1), rng)


def _length(rng: np.random.Generator) -> int:
    return int(rng.uniform(0.4, 1.5) * _RATE)


def _faded(samples: Wave, rng: np.random.Generator) -> Wave:
    """Returns the samples with a short rise, and a fall over the second half or none."""
    edge = np.minimum(1, np.arange(samples.size) / (0.01 * _RATE))
    fall = np.linspace(2, 0, samples.size).clip(0, 1) if rng.random() < 0.5 else edge[::-1]
    return np.asarray(samples * edge * fall, np.float32)
