"""From decoded sound to model input: resampled, cut into windows, log-mel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from services.audio.mel import MelNumbers, log_mel
from shared.inference.features import Features, Prepared


@dataclass(frozen=True, slots=True)
class AudioNumbers:
    """What the manifest's `preprocess` says of an audio model.

    window_samples: the longest piece the model takes; longer clips are cut into windows spread over the whole clip.
    step_samples: pieces are filled with silence to a multiple of this, so that a vector depends on its clip alone
        and pieces of one length ride in one batch.
    """

    mel: MelNumbers
    window_samples: int
    step_samples: int

    @classmethod
    def of(cls, preprocess: Mapping[str, Any]) -> AudioNumbers:
        """Reads the numbers; raises KeyError or TypeError where one is missing or of the wrong kind."""
        mel = MelNumbers(**{name: preprocess[name] for name in MelNumbers.__dataclass_fields__})
        return cls(mel, int(preprocess["window_samples"]), int(preprocess["step_samples"]))


def preprocess(
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    numbers: AudioNumbers,
    window_ms: int = 0,
    hop_ms: int = 0,
) -> Prepared:
    """Returns one row a window, each `input_features` (mel, frames) float32.

    samples: (n,) float32 mono. With `window_ms` the clip is cut every `hop_ms`; without, it is one window, or as few
    even windows as cover it where it is longer than the model's.
    """
    duration_ms = round(1000 * samples.size / sample_rate_hz)
    samples = resample(samples, sample_rate_hz, numbers.mel.sample_rate_hz)
    rate = numbers.mel.sample_rate_hz
    if window_ms:
        spans = sliding_spans(samples.size, window_ms * rate // 1000, hop_ms * rate // 1000)
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
    step = numbers.step_samples
    padded = np.pad(samples, (0, max(1, -(-samples.size // step)) * step - samples.size))
    features = log_mel(padded, numbers.mel)  # (mel, frames)
    return Features({"input_features": features}, features.shape[1], features.shape[1])
