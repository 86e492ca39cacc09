"""From the bytes of a sound file, or raw samples, to mono float32, within limits checked before anything is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason
from shared.inference.confined import Decode

_FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG")
_SUPPORTED = "WAV, FLAC, OGG (Vorbis or Opus) or MP3"

MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 1_000, 384_000, 8

_LOUDEST = 1e10  # a guess: whole numbers of 32 bits that were written as floats are below

# A WAV that was written into a pipe states no length, or the largest one; then the end of the file is the end.
_UNKNOWN_LENGTH = 0x7FFFF000


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """The largest file in bytes, the longest clip in milliseconds, the most samples (all channels) that are decoded."""

    max_bytes: int
    max_ms: int
    max_samples: int


def set_up(max_bytes: int, max_ms: int, max_samples: int) -> Decode:
    """Returns `decode` for a process of its own."""
    limits = AudioLimits(max_bytes, max_ms, max_samples)
    return lambda data, _: decode(data, limits)


def check(data: bytes, limits: AudioLimits) -> None:
    """Raises InvalidInput as `decode` where a file need not be looked into."""
    if not data:
        raise _undecodable(f"is empty; send the bytes of a {_SUPPORTED} file")
    if len(data) > limits.max_bytes:
        raise _too_large(len(data), limits.max_bytes, "bytes")


def decode(data: bytes, limits: AudioLimits) -> tuple[NDArray[np.float32], int]:
    """Returns (n,) float32 samples, the mean of all channels, and their rate in Hz.

    Raises:
        InvalidInput: of the field `data`: MEDIA_UNDECODABLE, MEDIA_TRUNCATED or MEDIA_TOO_LARGE.
        MemoryError: there is not enough memory for it.
    """
    check(data, limits)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check_header(file, limits)
            _check_whole(data)
            frames = -1 if file.seekable() else file.frames  # of GSM 6.10 it cannot tell itself how many are left
            samples = file.read(frames, dtype="float32", always_2d=True)  # (n, channels)
            if file.format == "FLAC" and len(samples) < file.frames:
                raise _truncated(f"ends after {len(samples)} of {file.frames} samples")
            rate = int(file.samplerate)
    except soundfile.LibsndfileError as fault:
        raise _undecodable(f"is no sound that can be read ({fault.error_string}); send a {_SUPPORTED} file") from None
    return checked(samples, rate, "data", limits), rate


def checked(samples: NDArray[np.float32], rate: int, field: str, limits: AudioLimits) -> NDArray[np.float32]:
    """Returns the mean of the channels: (n, channels) to (n,).

    Raises:
        InvalidInput: there are no samples, too many, or some that are no numbers or far too large.
    """
    if len(samples) == 0:
        raise InvalidInput("has no samples; send a clip of at least one", reason=Reason.MEDIA_UNDECODABLE, field=field)
    if 1000 * len(samples) > limits.max_ms * rate:
        raise _too_large(round(1000 * len(samples) / rate), limits.max_ms, "ms", field)
    if not np.isfinite(samples).all():
        raise InvalidInput("has NaN or infinity among its samples", reason=Reason.MEDIA_UNDECODABLE, field=field)
    if max(-samples.min(), samples.max()) > _LOUDEST:  # whose square, summed over a window, may be no float32
        raise InvalidInput(
            f"has samples beyond {_LOUDEST:g}; scale them to -1 … 1", reason=Reason.MEDIA_UNDECODABLE, field=field
        )
    return samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]


def _check_header(file: soundfile.SoundFile, limits: AudioLimits) -> None:
    if file.format not in _FORMATS:
        raise _undecodable(f"is a {file.format} file; send a {_SUPPORTED} file")
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise _too_large(file.channels, MAX_CHANNELS, "channels")
    if not MIN_RATE_HZ <= file.samplerate <= MAX_RATE_HZ:
        raise _undecodable(f"has {file.samplerate} samples a second; send {MIN_RATE_HZ} to {MAX_RATE_HZ}")
    if 1000 * file.frames > limits.max_ms * file.samplerate:
        raise _too_large(1000 * file.frames // file.samplerate, limits.max_ms, "ms")
    if file.frames * file.channels > limits.max_samples:
        raise _too_large(file.frames * file.channels, limits.max_samples, "samples")


def _check_whole(data: bytes) -> None:
    """Refuses a WAV whose sound chunk is longer than the file; libsndfile would silently take what is there."""
    if data[:4] != b"RIFF":
        return
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            if len(data) - at - 8 < size < _UNKNOWN_LENGTH:
                raise _truncated(f"ends after {len(data) - at - 8} of {size} bytes of sound")
            return
        at += 8 + size + size % 2


def _undecodable(problem: str) -> InvalidInput:
    return InvalidInput(problem, reason=Reason.MEDIA_UNDECODABLE, field="data")


def _truncated(problem: str) -> InvalidInput:
    return InvalidInput(f"{problem}; send the whole file", reason=Reason.MEDIA_TRUNCATED, field="data")


def _too_large(size: int, limit: int, unit: str, field: str = "data") -> InvalidInput:
    return InvalidInput(
        f"has {size} {unit}, over the limit of {limit}; send less",
        reason=Reason.MEDIA_TOO_LARGE,
        field=field,
        metadata={"limit": str(limit), "size": str(size), "unit": unit},
    )
