"""Numbers of audio models, by the front end that their feature extractor is."""

from __future__ import annotations

from typing import Any

from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.numbers.processors import processor

# wav2vec 2.0 has no limit, but its memory grows with the square of the length. A guess: what 4 GiB can take.
_LONGEST_WAVEFORM_S = 60


def clap_numbers(folder: HubFolder, long_clip: str) -> dict[str, Any]:
    """Returns the numbers of CLAP's front end; `truncation` says which of its two mel banks. Any: JSON."""
    file, raw = processor(folder, "feature_extractor")
    truncation = raw.get("truncation", "fusion")
    if truncation not in ("fusion", "rand_trunc"):
        raise import_error(file, f"`truncation` is {truncation!r}; fusion and rand_trunc are done")
    rate = int(raw["sampling_rate"])
    return {
        "front_end": "clap",
        "sample_rate_hz": rate,
        "fft_length": raw["fft_window_size"],
        "hop_length": raw["hop_length"],
        "mel_count": raw["feature_size"],
        "f_min": float(raw["frequency_min"]),
        "f_max": float(raw["frequency_max"]),
        "mel_scale": "htk" if truncation == "fusion" else "slaney",
        "window_samples": int(raw["max_length_s"]) * rate,
        "fill": raw.get("padding", "repeatpad"),
        "is_fused": truncation == "fusion",
        "long_clip": long_clip or "centre",
    }


def whisper_numbers(folder: HubFolder, long_clip: str) -> dict[str, Any]:
    """Returns the numbers of Whisper's front end: 30 s, filled with silence, the rest dropped. Any: JSON."""
    file, raw = processor(folder, "feature_extractor")
    if raw.get("do_normalize"):
        raise import_error(file, "`do_normalize` is true, which is not done")
    rate = int(raw["sampling_rate"])
    window = int(raw.get("n_samples") or raw["chunk_length"] * rate)
    return {
        "front_end": "whisper",
        "sample_rate_hz": rate,
        "fft_length": raw["n_fft"],
        "hop_length": raw["hop_length"],
        "mel_count": raw["feature_size"],
        "f_min": 0.0,
        "f_max": 8000.0,
        "log_range": 8.0,
        "window_samples": window,
        "step_samples": window,
        "long_clip": long_clip or "start",
    }


def waveform_numbers(folder: HubFolder, long_clip: str) -> dict[str, Any]:
    """Returns the numbers of wav2vec 2.0 and its kin, which take samples as they are. Any: JSON."""
    _, raw = processor(folder, "feature_extractor")
    rate = int(raw.get("sampling_rate", 16_000))
    return {
        "front_end": "waveform",
        "sample_rate_hz": rate,
        "normalizes": bool(raw.get("do_normalize", True)),
        "window_samples": _LONGEST_WAVEFORM_S * rate,
        "long_clip": long_clip or "windows",
    }


def ast_numbers(folder: HubFolder, long_clip: str) -> dict[str, Any]:
    """Returns the numbers of AST's front end: about 10 s, the rest dropped as the reference does. Any: JSON."""
    _, raw = processor(folder, "feature_extractor")
    is_normal = raw.get("do_normalize", True)
    frames = int(raw["max_length"])
    return {
        "front_end": "kaldi",
        "sample_rate_hz": int(raw["sampling_rate"]),
        "mel_count": int(raw["num_mel_bins"]),
        "frame_count": frames,
        "mean": float(raw["mean"]) if is_normal else 0.0,
        "std": float(raw["std"]) if is_normal else 0.5,
        "window_samples": 400 + 160 * (frames - 1),
        "long_clip": long_clip or "start",
    }
