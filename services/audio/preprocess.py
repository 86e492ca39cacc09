"""From decoded sound to model input: resampled, cut into windows, log-mel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import soxr
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason
from services.audio import kaldi
from services.audio.clap import ClapNumbers, clap_features
from services.audio.kaldi import KaldiNumbers, kaldi_features
from services.audio.mel import MelNumbers, log_mel
from services.audio.waveform import MIN_SAMPLES, WaveformNumbers, waveform
from shared.inference.features import Features, Prepared
from shared.inference.typed import FieldFault, Samples, typed

LongClip = Literal["windows", "centre", "start"]
FrontEnd = MelNumbers | ClapNumbers | KaldiNumbers | WaveformNumbers

_FRONT_ENDS: Mapping[str, type[FrontEnd]] = {
    "whisper": MelNumbers,
    "clap": ClapNumbers,
    "kaldi": KaldiNumbers,
    "waveform": WaveformNumbers,
}


@dataclass(frozen=True, slots=True)
class AudioNumbers:
    """What the manifest's `preprocess` says of an audio model.

    front_end: its numbers, whose kind says which it is.
    window_samples: the longest piece the model takes.
    long_clip: of longer clips: even windows over the whole clip, or the window in the centre, or the one at the start.
    """

    front_end: FrontEnd
    window_samples: int
    long_clip: LongClip

    @classmethod
    def of(cls, preprocess: Mapping[str, Any]) -> AudioNumbers:
        """Reads the numbers; raises FieldFault where one is missing or wrong."""
        shared = typed(preprocess, _Shared)
        kind = _FRONT_ENDS[shared.front_end]
        front_end = typed({"step_samples": shared.window_samples, **preprocess}, kind)
        if isinstance(front_end, MelNumbers | ClapNumbers) and not front_end.f_min < front_end.f_max:
            raise FieldFault("f_max", f"more than `f_min`, {front_end.f_min:g}", front_end.f_max)
        return cls(front_end, shared.window_samples, shared.long_clip)


class _Shared(msgspec.Struct, frozen=True):
    """What the manifest says whatever the front end is."""

    window_samples: Samples
    front_end: Literal["whisper", "clap", "kaldi", "waveform"] = "whisper"
    long_clip: LongClip = "windows"


def preprocess(
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    numbers: AudioNumbers,
    window_ms: int = 0,
    hop_ms: int = 0,
) -> Prepared:
    """Returns one row a window, with the array that the front end makes, float32.

    samples: (n,) float32 mono. With `window_ms` the clip is cut every `hop_ms`; without, it is one window, or what
    `long_clip` says where it is longer than the model's.

    Raises:
        InvalidInput: the clip, or a window of it, is shorter than the model takes.
    """
    duration_ms = round(1000 * samples.size / sample_rate_hz)
    rate = numbers.front_end.sample_rate_hz
    samples = resample(samples, sample_rate_hz, rate)
    if window_ms:
        spans = sliding_spans(samples.size, window_ms * rate // 1000, hop_ms * rate // 1000)
        least = _LEAST.get(type(numbers.front_end), 1)
        spans = [span for span in spans if span[1] - span[0] >= least] or spans  # a last bit may be too short
    else:
        spans = _whole_clip(samples.size, numbers)
    rows = [_row(samples[start:end], numbers) for start, end in spans]
    spans_ms = [(round(1000 * start / rate), round(1000 * end / rate)) for start, end in spans]
    return Prepared(rows, duration_ms, spans_ms)


def resample(samples: NDArray[np.float32], source_hz: int, target_hz: int) -> NDArray[np.float32]:
    """Returns ceil(n * target / source) samples by soxr HQ, zero-padded or trimmed to that (librosa's steps)."""
    if source_hz == target_hz:
        return samples
    wanted = -(-samples.size * target_hz // source_hz)
    result: NDArray[np.float32] = soxr.resample(samples, source_hz, target_hz, quality="HQ")
    if result.size < wanted:
        return np.pad(result, (0, wanted - result.size))
    return result[:wanted]


def covering_spans(length: int, window: int) -> Sequence[tuple[int, int]]:
    """Returns the fewest windows that cover `length` samples, the first at 0 and the last at the end."""
    if length <= window:
        return [(0, length)]
    count = -(-length // window)
    starts = [(length - window) * i // (count - 1) for i in range(count)]
    return [(start, start + window) for start in starts]


def sliding_spans(length: int, window: int, hop: int) -> Sequence[tuple[int, int]]:
    """Returns a window every `hop` samples; the last is shorter where the clip ends inside it."""
    last = max(0, -(-(length - window) // hop))
    return [(i * hop, min(i * hop + window, length)) for i in range(last + 1)]


def _whole_clip(length: int, numbers: AudioNumbers) -> Sequence[tuple[int, int]]:
    """Returns the pieces of a clip that are its one vector."""
    window = numbers.window_samples
    if isinstance(numbers.front_end, ClapNumbers) and numbers.front_end.is_fused and numbers.long_clip == "centre":
        return [(0, length)]  # the front end itself looks at the whole clip
    if numbers.long_clip == "windows":
        return covering_spans(length, window)
    start = max(0, length - window) // 2 if numbers.long_clip == "centre" else 0
    return [(start, min(length, start + window))]


def _row(samples: NDArray[np.float32], numbers: AudioNumbers) -> Features:
    front_end = numbers.front_end
    if isinstance(front_end, MelNumbers):
        step = front_end.step_samples
        padded = np.pad(samples, (0, max(1, -(-samples.size // step)) * step - samples.size))
        features = log_mel(padded, front_end)  # (mel, frames)
        return Features({"input_features": features}, features.shape[1], features.shape[1])
    if isinstance(front_end, ClapNumbers):
        views = clap_features(samples, front_end)  # (views, frames, mel)
        # The reference marks a lone clip so, long or not; the mark must not depend on the batch.
        arrays: dict[str, NDArray[Any]] = {"input_features": views, "is_longer": np.ones(1, np.bool_)}
        return Features(arrays, views.shape[1], views.shape[1])
    _check_length(samples.size, _LEAST[type(front_end)], front_end.sample_rate_hz)
    if isinstance(front_end, KaldiNumbers):
        frames = kaldi_features(samples, front_end)  # (frames, mel)
        return Features({"input_values": frames}, len(frames), len(frames))
    values = waveform(samples, front_end)
    # Clips of one length ride together: padding would change their vectors.
    arrays = {"input_values": values, "attention_mask": np.ones(values.size, np.int64)}
    return Features(arrays, values.size, values.size)


_LEAST: Mapping[type[FrontEnd], int] = {KaldiNumbers: kaldi.MIN_SAMPLES, WaveformNumbers: MIN_SAMPLES}


def _check_length(count: int, least: int, rate: int) -> None:
    if count < least:
        raise InvalidInput(
            f"has {count} samples at {rate} Hz; the model takes at least {least} ({1000 * least / rate:g} ms)",
            reason=Reason.MEDIA_TOO_SHORT,
            metadata={"limit": str(least), "size": str(count), "unit": "samples"},
        )
