"""Makes the fixtures that know texts and sounds: CLAP with fusion, and without it in one graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel

from tests.conformance.making.common import HERE, SOUNDS, TEXTS, Array, export, filled, save, sounds, unit, write
from tests.conformance.making.joint import TEXT, axes, export_joint, pooled, rounded, set_scalars, text_goldens

CLAP_RATE_HZ: Final = 48_000


def _clap_config(*, fused: bool, vocabulary_size: int) -> Any:  # Any: transformers has no types
    audio = {
        "patch_size": 8,
        "patch_stride": [8, 8],
        "window_size": 4,
        "depths": [1, 1],
        "num_attention_heads": [2, 4],
        "num_hidden_layers": 2,
        "patch_embeds_hidden_size": 16,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "enable_fusion": fused,
        "fusion_type": None,  # as laion/clap-htsat-fused has it: attentional feature fusion all the same
        "drop_path_rate": 0.0,
    }
    text = {**TEXT, "num_hidden_layers": 1, "vocab_size": vocabulary_size}
    text |= {"max_position_embeddings": 80, "type_vocab_size": 1}
    return ClapConfig(audio_config=audio, text_config=text, projection_dim=24)


def _clap(*, fused: bool, seed: int) -> tuple[Any, Any, Any]:  # Any: transformers has no types
    """A model whose batch norms expect decibels, the extractor, and the tokenizer of the clap folder."""
    tokenizer = AutoTokenizer.from_pretrained(HERE / "clap" / "model")
    config = _clap_config(fused=fused, vocabulary_size=len(tokenizer))
    model = filled(ClapModel(config), seed=seed, gain=1.5)
    filled(model.text_model, seed=seed, gain=3.0)
    set_scalars(model, logit_scale_a=math.log(18.5), logit_scale_t=math.log(14.25))
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.fill_(-40.0)  # of decibels; a trained model has learned them
    norm.running_var.fill_(600.0)
    return model, ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc"), tokenizer


def clap_features(extractor: Any, clips: Sequence[Array]) -> dict[str, Tensor]:  # Any: transformers has no types
    """The input of the model, one clip at a time, with the middle of each range instead of a random start."""
    with (
        mock.patch.object(np.random, "choice", lambda starts: starts[(len(starts) - 1) // 2]),
        mock.patch.object(np.random, "randint", lambda low, high: (low + high - 1) // 2),
    ):
        rows = [extractor(clip, sampling_rate=CLAP_RATE_HZ, return_tensors="pt") for clip in clips]
    return {name: torch.cat([row[name] for row in rows]) for name in ("input_features", "is_longer")}


def clap_fused() -> None:
    """CLAP with fusion: four channels, and a flag that is true for a clip alone."""
    folder = HERE / "clap_fused" / "model"
    model, extractor, tokenizer = _clap(fused=True, seed=2)
    save(folder, model, extractor, tokenizer)
    texts = dict(tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt"))
    features = clap_features(extractor, sounds(CLAP_RATE_HZ))
    differences = {
        "text_model.onnx": export(
            model,
            texts,
            folder / "onnx" / "text_model.onnx",
            ["text_embeds"],
            axes(*texts, fixed=["text_embeds"]),
            pooled(model, "get_text_features", "text_embeds"),
        ),
        "audio_model.onnx": export(
            model,
            features,
            folder / "onnx" / "audio_model.onnx",
            ["audio_embeds"],
            axes(fixed=[*features, "audio_embeds"]),
            pooled(model, "get_audio_features", "audio_embeds"),
        ),
    }
    notes = (
        "Fused (truncation fusion, padding repeatpad), one clip at a time, so is_longer is true for all. Of a longer "
        "clip the chunks start in the middle of each third (element (n - 1) // 2 of its n), where the reference draws. "
        "is_longer must not be false for a whole batch: the graph fails."
    )
    _heard("clap_fused", model, texts, features, notes, differences)


def clap_joint() -> None:
    """CLAP without fusion in one graph: both inputs, the logits, and both vectors of length 1."""
    folder = HERE / "clap_joint" / "model"
    model, extractor, tokenizer = _clap(fused=False, seed=8)
    save(folder, model, extractor, tokenizer)
    texts = dict(tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt"))
    features = clap_features(extractor, sounds(CLAP_RATE_HZ))
    inputs = {"input_ids": texts["input_ids"], "input_features": features["input_features"], **texts}
    notes = (
        "One graph of both towers, unfused, one clip at a time, the centre of a longer clip; text_embeds and "
        "audio_embeds have length 1; both scales are weights of it."
    )
    _heard("clap_joint", model, texts, features, notes, export_joint(folder, model, inputs, "audio"))


def _heard(
    family: str,
    model: Any,  # Any: transformers has no types
    texts: Mapping[str, Tensor],
    features: Mapping[str, Tensor],
    notes: str,
    differences: Mapping[str, float],
) -> None:
    """Writes the goldens of a CLAP."""
    golden = {
        **text_goldens(model, texts),
        "audio_embeds": _one_by_one(model, features),
        "features_every_40th_frame": features["input_features"][:, :, ::40].numpy(),
        "is_longer": features["is_longer"].numpy(),
    }
    scale_a, scale_t = (float(each.detach().exp()) for each in (model.logit_scale_a, model.logit_scale_t))
    golden["logits_per_audio"] = np.float32(scale_a) * golden["audio_embeds"] @ golden["text_embeds"].T
    golden["logits_per_text"] = np.float32(scale_t) * golden["text_embeds"] @ golden["audio_embeds"].T
    meta = {"texts": TEXTS, "audios": SOUNDS, "logit_scale_a": scale_a, "logit_scale_t": scale_t, "notes": notes}
    write(family, golden, {**meta, "torch_to_onnxruntime_max_abs": rounded(differences)})


def _one_by_one(model: Any, features: Mapping[str, Tensor]) -> Array:  # Any: transformers has no types
    """The vectors of sounds, each computed alone, rows of length 1."""
    with torch.no_grad():
        rows = [
            model.get_audio_features(**{name: value[place : place + 1] for name, value in features.items()})
            for place in range(len(features["input_features"]))
        ]
    return unit(torch.cat([row.pooler_output for row in rows]))


MAKERS: Final[dict[str, Callable[[], None]]] = {"clap_fused": clap_fused, "clap_joint": clap_joint}
