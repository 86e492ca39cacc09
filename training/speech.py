"""Speaks words and captions with espeak-ng in many voices; some voices are kept for evaluation."""

from __future__ import annotations

import io
import subprocess
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 22_050  # what espeak-ng writes

_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029", "en-gb-x-gbcwmd")
_TIMBRES = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+Andy", "+Annie",
            "+klatt", "+klatt3", "+Alex", "+Lee", "+Mario", "+Michael", "+steph", "+linda", "+Gene",
            "+Denis")  # fmt: skip
_HELD_OUT_TIMBRES = ("+f5", "+m8", "+belinda", "+iven", "+max")


@dataclass(frozen=True, slots=True)
class Voice:
    """How a text is spoken: espeak-ng's voice name, words a minute, and pitch 0 to 99."""

    name: str
    speed_wpm: int
    pitch: int


class SpeechError(Exception):
    """espeak-ng is missing or refused; it is a Debian package, needed for training only."""


def random_voice(rng: np.random.Generator, *, is_held_out: bool = False, chinese: bool = False) -> Voice:
    """Returns a voice for training, or one of those that training never hears."""
    timbres = _HELD_OUT_TIMBRES if is_held_out else _TIMBRES
    accent = "cmn" if chinese else str(rng.choice(_ACCENTS[:2] if rng.random() < 0.5 else _ACCENTS))
    return Voice(accent + str(rng.choice(timbres)), int(rng.integers(120, 225)), int(rng.integers(12, 88)))


def speak(text: str, voice: Voice) -> NDArray[np.float32]:
    """Returns (n,) float32 samples at SAMPLE_RATE_HZ, without the silence around.

    Raises:
        SpeechError: espeak-ng is not installed or cannot speak this.
    """
    command = ["espeak-ng", "-v", voice.name, "-s", str(voice.speed_wpm), "-p", str(voice.pitch), "--stdout", text]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        raise SpeechError("espeak-ng is not installed; `apt-get install espeak-ng` brings it") from None
    except subprocess.CalledProcessError as fault:
        raise SpeechError(f"espeak-ng failed on {text!r}: {fault.stderr.decode()[:200]}") from None
    samples, _ = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    return trim(samples)


def trim(samples: NDArray[np.float32], margin: int = 800) -> NDArray[np.float32]:
    """Returns the samples from the first to the last that is not silent, with a margin."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * max(1e-6, float(np.abs(samples).max())))
    if not len(loud):
        return samples
    return samples[max(0, int(loud[0]) - margin) : int(loud[-1]) + margin]
