"""Writes inputs/: one drawn and one spoken "three" and "seven" in several formats, out of the samples of the demo.

Run in a checkout: `python -m clients.conformance.make_inputs`. The results are in the tree: a golden vector belongs
to the bytes of its input. Needs Pillow and soundfile, which the services need too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from clients.conformance.case import INPUTS

SAMPLES = Path(__file__).parents[2] / "demo" / "inputs"
_PICTURE_PX = 64
_RATE_HZ = 16_000


def main() -> None:
    """Writes all inputs anew."""
    INPUTS.mkdir(exist_ok=True)
    for name, sample in (("three", "digit-3-11.png"), ("seven", "digit-7-14.png")):
        picture = Image.open(SAMPLES / sample).convert("RGB").resize((_PICTURE_PX, _PICTURE_PX))
        picture.save(INPUTS / f"{name}.png", optimize=True)
    Image.open(INPUTS / "three.png").save(INPUTS / "three.jpg", quality=92)
    samples = _spoken("spoken-three-en-gb.wav")
    soundfile.write(INPUTS / "three.wav", samples, _RATE_HZ)
    soundfile.write(INPUTS / "three.flac", samples, _RATE_HZ)
    (INPUTS / "three.s16le").write_bytes(samples.astype("<i2").tobytes())
    (INPUTS / "three.f32le").write_bytes((samples / 32768).astype("<f4").tobytes())


def _spoken(sample: str) -> NDArray[np.int16]:
    """Returns a sample of the demo as 16-bit samples at 16 kHz, by linear interpolation, which is good enough here."""
    samples, rate_hz = soundfile.read(SAMPLES / sample, dtype="float32")
    count = int(samples.size * _RATE_HZ / rate_hz)
    at = np.arange(count) * (rate_hz / _RATE_HZ)
    scaled = np.interp(at, np.arange(samples.size), samples) * 32767
    return np.asarray(scaled.round().astype(np.int16))


if __name__ == "__main__":
    main()
