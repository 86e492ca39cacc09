"""Numbers of preprocessing, from an export's own files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.importing.hub_folder import HubFolder, import_error

_RESAMPLE = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
_MAX_TOKENS_WITHOUT_LIMIT = 512


def text_numbers(
    folder: HubFolder, limit: int, *, fixed_length: int = 0, lowercase: bool = False, pad_id: int | None = None
) -> dict[str, Any]:
    """Returns the numbers of a text model. Any: JSON.

    limit: the longest input in tokens; pad_id: None where the tokenizer's files say it.

    Raises:
        FailedPrecondition: the tokenizer is missing.
    """
    if not folder.has("tokenizer.json"):
        raise import_error("tokenizer.json", "is missing; save the fast tokenizer beside the model")
    return {
        "tokenizer": "tokenizer.json",
        "max_tokens": limit,
        "pad_id": _pad_id(folder) if pad_id is None else pad_id,
        "pad_multiple": 1 if fixed_length else 8,
        "fixed_length": fixed_length,
        "accepts_empty": True,
        "lowercase": lowercase,
    }


def image_numbers(folder: HubFolder) -> dict[str, Any]:
    """Returns the numbers of an image model. Any: JSON.

    Raises:
        FailedPrecondition: preprocessor_config.json is missing, or says what is not done here.
    """
    raw = _preprocessor(folder)
    size = raw.get("size", {})
    size = {"shortest_edge": size} if isinstance(size, int) and raw.get("do_center_crop") else size
    height, width = _height_width(raw["crop_size"] if raw.get("do_center_crop") else size)
    resample = _RESAMPLE.get(raw.get("resample", 3))
    if resample is None or not raw.get("do_resize", True):
        raise import_error("preprocessor_config.json", f"`resample` is {raw.get('resample')}; only 1, 2 and 3 are done")
    is_normal = raw.get("do_normalize", True)
    return {
        "size": [height, width],
        "shortest_edge": size.get("shortest_edge", 0) if isinstance(size, dict) else 0,
        "resample": resample,
        "mode": "torchvision",
        "mean": raw["image_mean"] if is_normal else [0.0, 0.0, 0.0],
        "std": raw["image_std"] if is_normal else [1.0, 1.0, 1.0],
    }


def clap_numbers(folder: HubFolder) -> dict[str, Any]:
    """Returns the numbers of CLAP's front end; `truncation` says which of its two mel banks. Any: JSON."""
    raw = _preprocessor(folder)
    is_fused = raw.get("truncation") == "fusion"
    rate = int(raw["sampling_rate"])
    return {
        "front_end": "clap",
        "sample_rate_hz": rate,
        "fft_length": raw["fft_window_size"],
        "hop_length": raw["hop_length"],
        "mel_count": raw["feature_size"],
        "f_min": float(raw["frequency_min"]),
        "f_max": float(raw["frequency_max"]),
        "mel_scale": "htk" if is_fused else "slaney",
        "window_samples": int(raw["max_length_s"]) * rate,
        "fill": raw.get("padding", "repeatpad"),
        "is_fused": is_fused,
        "long_clip": "centre",
    }


def whisper_numbers(folder: HubFolder) -> dict[str, Any]:
    """Returns the numbers of Whisper's front end: 30 s, filled with silence. Any: JSON."""
    raw = _preprocessor(folder)
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
    }


def text_limit(folder: HubFolder, config: Mapping[str, Any]) -> int:
    """Returns how many tokens a model takes: of the files that state it, the one that counts for its kind."""
    stated = folder.json("sentence_bert_config.json").get("max_seq_length")
    if isinstance(stated, int):
        return stated
    model_max = folder.json("tokenizer_config.json").get("model_max_length")
    positions = config.get("max_position_embeddings")
    limits = [each for each in (model_max, positions) if isinstance(each, int) and 0 < each < 1_000_000]
    return min(limits, default=_MAX_TOKENS_WITHOUT_LIMIT)


def _pad_id(folder: HubFolder) -> int:
    """Returns the id of the token that `tokenizer_config.json` says to pad with."""
    token = folder.json("tokenizer_config.json").get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    tokenizer = folder.json("tokenizer.json")
    for added in tokenizer.get("added_tokens", ()):
        if added.get("content") == token:
            return int(added["id"])
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, dict) and token in vocabulary:
        return int(vocabulary[token])
    return int(folder.json("config.json").get("pad_token_id") or 0)


def _preprocessor(folder: HubFolder) -> dict[str, Any]:
    raw = folder.json("preprocessor_config.json")
    if not raw:
        raise import_error("preprocessor_config.json", "is missing; save the image processor or feature extractor too")
    return raw


def _height_width(size: Any) -> tuple[int, int]:
    """Returns the height and width of a size (Any: JSON: a number, or an object)."""
    if isinstance(size, int):
        return size, size
    if "height" in size:
        return int(size["height"]), int(size["width"])
    return int(size["shortest_edge"]), int(size["shortest_edge"])
