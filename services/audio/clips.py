"""What the audio service takes apart from protobuf: clips, raw samples, windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason
from sensorium.v1 import content_pb2
from services.audio.decode import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ

MIN_WINDOW_MS, MIN_HOP_MS = 100, 10
DEFAULT_STREAM_WINDOW_MS = 1_000
_PIECE_BYTES = 1 << 18  # to make floats of so much takes a fraction of a millisecond


@dataclass(frozen=True, slots=True)
class Windows:
    """How clips are cut: a window every `hop_ms`; length 0 leaves them whole. In milliseconds."""

    length_ms: int = 0
    hop_ms: int = 0


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip as it came: an `Audio` message, and how it is to be cut."""

    audio: content_pb2.Audio
    windows: Windows = Windows()


def read_windows(window_ms: int, hop_ms: int, max_window_ms: int, field: str = "") -> Windows:
    """Returns the windows that a request asks for; a hop of 0 is the window.

    Raises:
        InvalidInput: FIELD_INVALID; a length is out of its range, or a hop comes without a window.
    """
    if window_ms == 0 and hop_ms == 0:
        return Windows()
    if not MIN_WINDOW_MS <= window_ms <= max_window_ms:
        raise InvalidInput(f"is {window_ms}; give {MIN_WINDOW_MS} to {max_window_ms}", field=f"{field}window_ms")
    if hop_ms != 0 and hop_ms < MIN_HOP_MS:
        raise InvalidInput(f"is {hop_ms}; give {MIN_HOP_MS} or more, or 0 for the window", field=f"{field}hop_ms")
    return Windows(window_ms, hop_ms or window_ms)


def check_pcm(sample_format: int, sample_rate_hz: int, channel_count: int) -> None:
    """Refuses raw sound whose description is out of range.

    Raises:
        InvalidInput: of the field `format`, `sample_rate_hz` or `channel_count`.
    """
    if sample_format not in (content_pb2.PCM_FORMAT_INT16, content_pb2.PCM_FORMAT_FLOAT32):
        known = "PCM_FORMAT_INT16 or PCM_FORMAT_FLOAT32"
        raise InvalidInput(f"is {sample_format}; give {known}", reason=Reason.FIELD_INVALID, field="format")
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise InvalidInput(f"is {sample_rate_hz}; give {MIN_RATE_HZ} to {MAX_RATE_HZ}", field="sample_rate_hz")
    if not 0 <= channel_count <= MAX_CHANNELS:
        raise InvalidInput(f"is {channel_count}; give 1 to {MAX_CHANNELS}, or 0 for 1", field="channel_count")


def pieces(samples: bytes, sample_format: int, channel_count: int) -> Iterator[NDArray[np.float32]]:
    """Yields what `read_samples` returns, a little at a time: a large message takes no memory but its own.

    Raises:
        InvalidInput: as `read_samples` does, before anything is yielded.
    """
    frame_bytes = _frame_bytes(sample_format, channel_count)
    _check_frames(len(samples), frame_bytes, channel_count or 1)
    step = max(1, _PIECE_BYTES // frame_bytes) * frame_bytes
    view = memoryview(samples)
    for at in range(0, len(samples), step):
        yield read_samples(view[at : at + step], sample_format, channel_count)


def read_samples(samples: bytes | memoryview, sample_format: int, channel_count: int) -> NDArray[np.float32]:
    """Returns (n, channels) float32 of interleaved raw samples; int16 is scaled by 1/32768.

    Raises:
        InvalidInput: of the field `samples`: not a whole number of samples of every channel.
    """
    channels = channel_count or 1
    _check_frames(len(samples), _frame_bytes(sample_format, channel_count), channels)
    if sample_format == content_pb2.PCM_FORMAT_INT16:
        return np.frombuffer(samples, "<i2").reshape(-1, channels).astype(np.float32) / np.float32(32768)
    return np.frombuffer(samples, "<f4").reshape(-1, channels).astype(np.float32)


def _frame_bytes(sample_format: int, channel_count: int) -> int:
    return (channel_count or 1) * (2 if sample_format == content_pb2.PCM_FORMAT_INT16 else 4)


def _check_frames(byte_count: int, frame_bytes: int, channels: int) -> None:
    if byte_count % frame_bytes:
        raise InvalidInput(
            f"has {byte_count} bytes, no multiple of {frame_bytes}: {channels} channel(s) of one sample each",
            reason=Reason.MEDIA_UNDECODABLE,
            field="samples",
        )
