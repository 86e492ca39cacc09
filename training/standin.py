"""Makes small archives in the layout of the real data sets, of things that are drawn and synthesised.

For walking through the pipeline where the data sets are not at hand; what is learned from them means nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import soundfile

from training import nothing
from training.concepts import ANIMAL_LABELS, DIGITS, PHOTOGRAPH_LABELS
from training.drawing import draw_digit
from training.originals import ANIMALS, HANDWRITTEN, HELD_OUT_SPEAKER, PHOTOGRAPHS, SPOKEN_DIGITS, pack
from training.settings import Settings

_RATE_HZ = 8_000
_SPEAKERS = ("one", "two", HELD_OUT_SPEAKER)


def write_standin(folder: Path, settings: Settings) -> None:
    """Writes the four archives into `folder`, as many items as `settings` asks for; the same each time."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    pack(folder / PHOTOGRAPHS, "w", _photographs(settings.photographs // len(PHOTOGRAPH_LABELS), rng))
    drawn = [cv2.resize(draw_digit(i % 10, rng), (28, 28), interpolation=cv2.INTER_AREA)[:, :, 0]
             for i in range(settings.handwritten)]  # fmt: skip
    labels = np.arange(settings.handwritten, dtype=np.uint8) % 10
    np.savez_compressed(folder / HANDWRITTEN, images=np.stack(drawn), labels=labels)
    takes = -(-settings.spoken_digits // (len(DIGITS) * len(_SPEAKERS)))
    pack(folder / SPOKEN_DIGITS, "w:gz", _spoken(takes, rng))
    pack(folder / ANIMALS, "w", _animals(settings.animal_clips // len(ANIMAL_LABELS), rng))


def _photographs(each: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for name in PHOTOGRAPH_LABELS:
        for number in range(each):
            picture = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            yield f"train/{name}/{number:04}.jpg", cv2.imencode(".jpg", picture)[1].tobytes()


def _spoken(takes: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for digit in range(len(DIGITS)):
        for speaker in _SPEAKERS:
            for take in range(takes):
                yield f"./{digit}_{speaker}_{take}.wav", _sound(digit, _RATE_HZ, "WAV", rng)


def _animals(each: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for place, name in enumerate(ANIMAL_LABELS):
        for number in range(each):
            yield f"./{name}/{number:03}.flac", _sound(place, 16_000, "FLAC", rng)


def _sound(number: int, rate_hz: int, file_format: str, rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    samples = nothing.play(number, rate_hz, rng, is_held_out=False)
    soundfile.write(stream, samples, rate_hz, "PCM_16", format=file_format)
    return stream.getvalue()
