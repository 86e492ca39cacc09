"""From decoded sound to model input: resampled, cut into windows, log-mel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import soxr
from numpy.typing import NDArray

from services.audio.clap import ClapNumbers, clap_features
from services.audio.mel import MelNumbers, log_mel
from shared.inference.features import Features, Prepared

LongClip = Literal["windows", "centre"]
_NAMES = {MelNumbers: set(MelNumbers.__dataclass_fields__), ClapNumbers: set(ClapNumbers.__dataclass_fields__)}


@dataclass(frozen=True, slots=True)
class AudioNumbers:
    """What the manifest's `preprocess` says of an audio model.

    mel: the numbers of the front end, whose kind says which: Whisper's or CLAP's.
    window_samples: the longest piece the model takes.
    long_clip: longer clips are cut into even windows over the whole clip, or to the window in the centre.
    step_samples: pieces are filled with silence to a multiple of this, so that a vector depends on its clip alone
        and pieces of one length ride in one batch. CLAP's front end fills as it needs.
    """

    mel: MelNumbers | ClapNumbers
    window_samples: int
    step_samples: int
    long_clip: LongClip

    @classmethod
    def of(cls, preprocess: Mapping[str, Any]) -> AudioNumbers:
        """Reads the numbers; raises KeyError, TypeError or ValueError where one is missing or wrong."""
        front_end, long_clip = preprocess.get("front_end", "whisper"), preprocess.get("long_clip", "windows")
        for name, value, choices in (
            ("front_end", front_end, ("whisper", "clap")),
            ("long_clip", long_clip, get_args(LongClip)),
        ):
            if value not in choices:
                raise ValueError(f"`{name}` is {value!r}, none of {', '.join(choices)}")
        kind = ClapNumbers if front_end == "clap" else MelNumbers
        mel = kind(**{name: preprocess[name] for name in _NAMES[kind]})
        window = int(preprocess["window_samples"])
        return cls(mel, window, int(preprocess.get("step_samples", window)), long_clip)


def preprocess(
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    numbers: AudioNumbers,
    window_ms: int = 0,
    hop_ms: int = 0,
) -> Prepared:
    """Returns one row a window, each `input_features` float32: (mel, frames), or of CLAP (views, frames, mel).

    samples: (n,) float32 mono. With `window_ms` the clip is cut every `hop_ms`; without, it is one window, or what
    `long_clip` says where it is longer than the model's.
    """
    duration_ms = round(1000 * samples.size / sample_rate_hz)
    samples = resample(samples, sample_rate_hz, numbers.mel.sample_rate_hz)
    rate = numbers.mel.sample_rate_hz
    if window_ms:
        spans = sliding_spans(samples.size, window_ms * rate // 1000, hop_ms * rate // 1000)
    elif isinstance(numbers.mel, ClapNumbers) and numbers.mel.is_fused:
        spans = [(0, samples.size)]
    elif numbers.long_clip == "centre":
        start = max(0, samples.size - numbers.window_samples) // 2
        spans = [(start, min(samples.size, start + numbers.window_samples))]
    else:
        spans = covering_spans(samples.size, numbers.window_samples)
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


def _row(samples: NDArray[np.float32], numbers: AudioNumbers) -> Features:
    if isinstance(numbers.mel, ClapNumbers):
        views = clap_features(samples, numbers.mel)
        # The reference marks a lone clip so, long or not; the mark must not depend on the batch.
        arrays: dict[str, NDArray[Any]] = {"input_features": views, "is_longer": np.ones(1, np.bool_)}
        return Features(arrays, views.shape[1], views.shape[1])
    step = numbers.step_samples
    padded = np.pad(samples, (0, max(1, -(-samples.size // step)) * step - samples.size))
    features = log_mel(padded, numbers.mel)  # (mel, frames)
    return Features({"input_features": features}, features.shape[1], features.shape[1])
