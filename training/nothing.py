"""Pictures, sounds and words that belong to no label: training learns to give them no answer.

Some kinds and words are made for evaluation alone, so that what is measured is of nothing that was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training import waves
from training.concepts import UNNAMED, UNNAMED_ZH
from training.drawing import Picture, draw_character
from training.waves import Wave

_SIDE = 32
_HELD_OUT_SHARE = 4  # every fourth word
_LETTERS = "ACEFHKLMNPRTUVWXYafhkmntx"  # those that no digit looks like


def words(*, is_held_out: bool) -> tuple[Sequence[str], Sequence[str]]:
    """Returns words for things that no label names, in English and in Chinese: for training, or for evaluation."""
    return _share(UNNAMED, is_held_out), _share(UNNAMED_ZH, is_held_out)


def draw(number: int, photographs: NDArray[np.uint8], rng: np.random.Generator, *, is_held_out: bool) -> Picture:
    """Returns a picture of nothing; the kind goes round with `number`. photographs: (n, 32, 32, 3) to cut up."""
    kinds = _HELD_OUT_PICTURES if is_held_out else _PICTURES
    kind = kinds[number % len(kinds)]
    if kind == "letter":
        return draw_character(_LETTERS[int(rng.integers(len(_LETTERS)))], rng, is_held_out)
    if kind in ("tiles", "strips"):
        return _shuffled(photographs[int(rng.integers(len(photographs)))], rng, (8, 8) if kind == "tiles" else (4, 32))
    return _PATTERNS[kind](rng)


def play(number: int, rate_hz: int, rng: np.random.Generator, *, is_held_out: bool) -> Wave:
    """Returns a sound of nothing at a rate of `rate_hz`; the kind goes round with `number`."""
    makers = _HELD_OUT_SOUNDS if is_held_out else _SOUNDS
    return _faded(makers[number % len(makers)](rate_hz, rng), rate_hz, rng)


def _share(all_of: Sequence[str], is_held_out: bool) -> Sequence[str]:
    return [word for place, word in enumerate(all_of) if (place % _HELD_OUT_SHARE == 0) == is_held_out]


def _noise(rng: np.random.Generator) -> Picture:
    side = int(rng.choice([8, 16, 32]))
    grain = rng.integers(0, 256, (side, side, 3 if rng.random() < 0.6 else 1), dtype=np.uint8)
    large = grain.repeat(_SIDE // side, 0).repeat(_SIDE // side, 1)
    return np.ascontiguousarray(np.broadcast_to(large, (_SIDE, _SIDE, 3)))


def _gradient(rng: np.random.Generator) -> Picture:
    return _between(rng, _ramp(rng) / _SIDE + 0.5)


def _stripes(rng: np.random.Generator) -> Picture:
    return _between(rng, 0.5 + 0.5 * np.sin(_ramp(rng) * rng.uniform(0.5, 2.5) + rng.uniform(0, 6)))


def _rings(rng: np.random.Generator) -> Picture:
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - rng.uniform(0, _SIDE, (2, 1, 1))
    return _between(rng, 0.5 + 0.5 * np.sin(np.hypot(rows, columns) * rng.uniform(0.5, 2.0)))


def _checks(rng: np.random.Generator) -> Picture:
    size = int(rng.integers(2, 9))
    rows, columns = np.mgrid[:_SIDE, :_SIDE] // size
    return _between(rng, (rows + columns) % 2)


def _blotches(rng: np.random.Generator) -> Picture:
    coarse = rng.random((int(rng.integers(3, 9)),) * 2).astype(np.float32)
    return _between(rng, cv2.resize(coarse, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC))


def _plain(rng: np.random.Generator) -> Picture:
    return np.full((_SIDE, _SIDE, 3), rng.integers(0, 256, 3), np.uint8)


def _strokes(rng: np.random.Generator) -> Picture:
    """Returns a scribble of straight lines and arcs."""
    canvas = _plain(rng)
    for _ in range(int(rng.integers(2, 7))):
        ink, width = tuple(map(int, rng.integers(0, 256, 3))), int(rng.integers(1, 4))
        one, other = (tuple(map(int, rng.integers(0, _SIDE, 2))) for _ in range(2))
        if rng.random() < 0.5:
            cv2.line(canvas, one, other, ink, width, cv2.LINE_AA)
        else:
            axes = tuple(map(int, rng.integers(3, _SIDE, 2)))
            cv2.ellipse(canvas, one, axes, float(rng.uniform(0, 360)), 0, float(rng.uniform(60, 200)), ink, width)
    return canvas


def _shuffled(picture: Picture, rng: np.random.Generator, tile: tuple[int, int]) -> Picture:
    """Returns the picture cut into tiles of (height, width) and put together in another order."""
    down, across = _SIDE // tile[0], _SIDE // tile[1]
    tiles = picture.reshape(down, tile[0], across, tile[1], 3).swapaxes(1, 2).reshape(-1, *tile, 3)
    shuffled = tiles[rng.permutation(len(tiles))].reshape(down, across, *tile, 3)
    return np.ascontiguousarray(shuffled.swapaxes(1, 2).reshape(_SIDE, _SIDE, 3))


def _ramp(rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns (32, 32): pixels from the middle, along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - (_SIDE - 1) / 2
    return np.asarray(rows * np.sin(angle) + columns * np.cos(angle))


def _between(rng: np.random.Generator, share: NDArray[Any]) -> Picture:  # Any: of either width
    """Returns the mixture of two random colours: 0 is the one, 1 the other."""
    one, other = rng.uniform(0, 255, (2, 3))
    mixed = one + np.clip(share, 0, 1)[:, :, None] * (other - one)
    return np.asarray(mixed, np.uint8)


def _tone(rate_hz: int, rng: np.random.Generator) -> Wave:
    hz = np.exp(rng.uniform(np.log(80), np.log(4000)))
    return _harmonics(_phase(np.full(_length(rate_hz, rng), hz), rate_hz), rng)


def _glide(rate_hz: int, rng: np.random.Generator) -> Wave:
    low, high = rng.uniform(np.log(80), np.log(4000), 2)
    hz = np.exp(np.linspace(low, high, _length(rate_hz, rng)))
    return _harmonics(_phase(hz, rate_hz), rng)


def _burst(rate_hz: int, rng: np.random.Generator) -> Wave:
    return waves.coloured_noise(_length(rate_hz, rng), float(rng.uniform(0, 2)), rng)


def _clicks(rate_hz: int, rng: np.random.Generator) -> Wave:
    """Returns clicks at an even pace, each a short ringing."""
    samples = np.zeros(_length(rate_hz, rng), np.float32)
    samples[:: int(rate_hz / rng.uniform(3, 60))] = 1
    time_s = np.arange(int(0.02 * rate_hz)) / rate_hz
    ringing = np.sin(2 * np.pi * rng.uniform(300, 5000) * time_s) * np.exp(-time_s / rng.uniform(0.001, 0.006))
    return np.convolve(samples, ringing)[: samples.size].astype(np.float32)


def _beeps(rate_hz: int, rng: np.random.Generator) -> Wave:
    """Returns a tone that is switched on and off."""
    tone = _tone(rate_hz, rng)
    return np.asarray(tone * (np.sin(2 * np.pi * rng.uniform(2, 12) * np.arange(tone.size) / rate_hz) > 0), np.float32)


def _chord(rate_hz: int, rng: np.random.Generator) -> Wave:
    root, size = rng.uniform(110, 660), _length(rate_hz, rng)
    steps = (0, int(rng.integers(3, 5)), 7)
    notes = [_harmonics(_phase(np.full(size, root * 2 ** (k / 12)), rate_hz), rng) for k in steps]
    return np.asarray(np.sum(notes, axis=0), np.float32)


def _melody(rate_hz: int, rng: np.random.Generator) -> Wave:
    """Returns three to six notes of a scale, one after the other."""
    count, size = int(rng.integers(3, 7)), _length(rate_hz, rng)
    steps = rng.choice([0, 2, 4, 5, 7, 9, 11, 12], count)
    hz = np.repeat(rng.uniform(160, 700) * 2.0 ** (steps / 12), -(-size // count))[:size]
    return _harmonics(_phase(hz, rate_hz), rng)


def _surf(rate_hz: int, rng: np.random.Generator) -> Wave:
    """Returns noise that swells and falls."""
    noise = _burst(rate_hz, rng)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.5, 6) * np.arange(noise.size) / rate_hz + rng.uniform(0, 6))
    return np.asarray(noise * swell**2, np.float32)


def _phase(hz: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    return np.asarray(2 * np.pi * np.cumsum(hz) / rate_hz)


def _harmonics(phase: NDArray[np.float64], rng: np.random.Generator) -> Wave:
    count, fall = int(rng.integers(1, 8)), float(rng.uniform(0.7, 2.0))
    return np.asarray(np.sum([np.sin(k * phase) / k**fall for k in range(1, count + 1)], axis=0), np.float32)


def _length(rate_hz: int, rng: np.random.Generator) -> int:
    return int(rng.uniform(0.3, 2.0) * rate_hz)


def _faded(samples: Wave, rate_hz: int, rng: np.random.Generator) -> Wave:
    """Returns the samples at some loudness, with a short rise, and a fall over the second half or none."""
    edge = np.minimum(1, np.arange(samples.size) / (0.01 * rate_hz))
    fall = np.linspace(2, 0, samples.size).clip(0, 1) if rng.random() < 0.5 else edge[::-1]
    level = np.exp(rng.uniform(np.log(0.01), np.log(0.5))) / (np.abs(samples).max() + 1e-9)
    return np.asarray(samples * edge * fall * level, np.float32)


_PATTERNS = {
    "noise": _noise, "stripes": _stripes, "blotches": _blotches, "plain": _plain, "strokes": _strokes,
    "gradient": _gradient, "rings": _rings, "checks": _checks,
}  # fmt: skip
_PICTURES = ("noise", "stripes", "blotches", "plain", "strokes", "tiles", "letter", "letter")
_HELD_OUT_PICTURES = ("gradient", "rings", "checks", "strips", "letter")
_SOUNDS = (_tone, _glide, _burst, _burst, _clicks)
_HELD_OUT_SOUNDS = (_chord, _melody, _beeps, _surf)
