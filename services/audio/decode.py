"""From the bytes of a sound file, or raw samples, to mono float32, within limits checked before anything is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason
from services.audio.containers import Longer, Part, parts, truncated
from shared.inference.confined import Decode
from shared.inference.cpu_time import allow

_FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG")
_SUPPORTED = "WAV, FLAC, OGG (Vorbis or Opus) or MP3"

MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 1_000, 384_000, 8

_LOUDEST = 1e10  # a guess: whole numbers of 32 bits that were written as floats are below

_UNKNOWN_FRAMES = 1 << 62  # what libsndfile says of a FLAC that states no length
_BLOCK = 1024  # samples of each channel that are read at once where the length is unknown


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
    decoded: list[tuple[NDArray[np.float32], int]] = []
    total = 0
    for part in parts(data):
        decoded.append(_decoded(part, limits))
        samples, rate = decoded[-1]
        total += len(samples)
        if total * samples.shape[1] > limits.max_samples:
            raise _too_large(total * samples.shape[1], limits.max_samples, "samples")
        if 1000 * total > limits.max_ms * rate:
            break  # what is there is over the limit already, as is said below
    rates = {rate for _, rate in decoded}
    if len({samples.shape[1] for samples, _ in decoded}) > 1 or len(rates) > 1:
        raise _undecodable("is several sounds in one file, of different rates or channels; send them apart")
    samples = decoded[0][0] if len(decoded) == 1 else np.concatenate([samples for samples, _ in decoded])
    return checked(samples, decoded[0][1], "data", limits), decoded[0][1]


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """A file that is read once, from its beginning: soundfile else seeks to where it is after every read."""

    def seekable(self) -> bool:
        """Says no."""
        return False


def _decoded(part: Part, limits: AudioLimits) -> tuple[NDArray[np.float32], int]:
    """Returns the samples (n, channels) float32 of one stream, and their rate in Hz."""
    try:
        with _Forward(io.BytesIO(part.data)) as file:
            _check_header(file, limits)
            stated, rate = int(file.frames), int(file.samplerate)
            allow(min(stated, _most(file, limits)) * file.channels)
            if not part.is_mpeg:
                is_known = stated < _UNKNOWN_FRAMES
                return (_whole(file) if is_known else _what_is_there(file, limits)), rate
        with _Forward(Longer(part.data)) as file:
            # A guess changes with the size of the file, what a header states does not.
            samples = _what_is_there(file, limits)
            if file.frames == stated and len(samples) < min(stated, _most(file, limits)):
                raise truncated(f"ends after {len(samples)} of {stated} samples")
            return samples, rate
    except soundfile.LibsndfileError as fault:
        raise _undecodable(f"is no sound that can be read ({fault.error_string}); send a {_SUPPORTED} file") from None


def _whole(file: soundfile.SoundFile) -> NDArray[np.float32]:
    """Returns all samples of a stream of known length, which the limits allow: (n, channels) float32."""
    room = np.empty((file.frames, file.channels), np.float32)
    try:
        samples = np.asarray(file.read(out=room))
    except soundfile.LibsndfileError as fault:
        if file.format != "FLAC":
            raise
        raise truncated(f"ends before its {file.frames} samples, or is damaged ({fault.error_string})") from None
    if file.format == "FLAC" and len(samples) < file.frames:
        raise truncated(f"ends after {len(samples)} of {file.frames} samples")
    return samples


def _what_is_there(file: soundfile.SoundFile, limits: AudioLimits) -> NDArray[np.float32]:
    """Returns all samples of a stream of unknown length, and no more than one over the limits: (n, channels) float32.

    One that was cut is all that is known of it, so what its end breaks is no fault.
    """
    blocks: list[NDArray[np.float32]] = []
    left = _most(file, limits)
    while left > 0:
        room = np.empty((min(_BLOCK, left), file.channels), np.float32)
        try:
            block = np.asarray(file.read(out=room))
        except soundfile.LibsndfileError:
            if not blocks:
                raise
            break
        if not len(block):
            break
        blocks.append(block)
        left -= len(block)
    return np.concatenate(blocks) if blocks else np.empty((0, file.channels), np.float32)


def _most(file: soundfile.SoundFile, limits: AudioLimits) -> int:
    return int(min(limits.max_ms * file.samplerate // 1000, limits.max_samples // file.channels) + 1)


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
    if file.frames >= _UNKNOWN_FRAMES or file.format in ("MP3", "MPEG"):
        return  # a guess; what is there is counted
    if 1000 * file.frames > limits.max_ms * file.samplerate:
        raise _too_large(1000 * file.frames // file.samplerate, limits.max_ms, "ms")
    if file.frames * file.channels > limits.max_samples:
        raise _too_large(file.frames * file.channels, limits.max_samples, "samples")


def _undecodable(problem: str) -> InvalidInput:
    return InvalidInput(problem, reason=Reason.MEDIA_UNDECODABLE, field="data")


def _too_large(size: int, limit: int, unit: str, field: str = "data") -> InvalidInput:
    return InvalidInput(
        f"has {size} {unit}, over the limit of {limit}; send less",
        reason=Reason.MEDIA_TOO_LARGE,
        field=field,
        metadata={"limit": str(limit), "size": str(size), "unit": unit},
    )
