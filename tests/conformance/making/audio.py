"""Makes the fixtures that know sounds alone: wav2vec 2.0, HuBERT and the Audio Spectrogram Transformer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    ASTModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2ForXVector,
    Wav2Vec2Model,
)

from tests.conformance.making.common import (
    HERE,
    SOUNDS,
    Array,
    classified,
    export,
    filled,
    labelled,
    run,
    save,
    sounds,
    unit,
    write,
)

RATE_HZ: Final = 16_000
WORDS: Final = ("seven", "tone", "noise", "silence")
SCENES: Final = ("Speech", "Music", "Dog", "Rain, drizzle", "Engine")
SIZES: Final[dict[str, Any]] = {  # Any: numbers and names of a configuration
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
# The seven convolutions of wav2vec 2.0, narrow: total stride 320, receptive field 400.
WAVE: Final[dict[str, Any]] = {
    **SIZES,
    "conv_dim": [16] * 7,
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "num_feat_extract_layers": 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 32,
}
Rows = Callable[[Tensor], Mapping[str, Array]]


def _written(family: str, model: Any, extractor: Any, export_of: Callable[[Path], tuple[str, float]], rows: Rows,
             notes: str, **meta: Any) -> None:  # fmt: skip  # Any: transformers has no types; JSON
    """Exports a model, and writes what `rows` computes of the sounds, each alone."""
    folder = HERE / family / "model"
    save(folder, model, extractor)
    output, difference = export_of(folder / "onnx" / "model.onnx")
    file = folder / "onnx" / "model.onnx"
    found: list[Mapping[str, Array]] = []
    for clip in sounds(RATE_HZ):
        values = extractor(clip, sampling_rate=RATE_HZ, return_tensors="pt")["input_values"]
        found.append(rows(values))
        with torch.no_grad():
            expected = model(values)[output].numpy()
        alone = run(file, {"input_values": values.numpy()})[0]
        difference = max(difference, float(np.abs(alone - expected).max()))
    golden = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    known = {"audios": SOUNDS, "notes": notes, **meta}
    write(family, golden, {**known, "torch_to_onnxruntime_max_abs": {file.name: float(f"{difference:.1e}")}})


def _waves(model: Any, output: str) -> Callable[[Path], tuple[str, float]]:  # Any: transformers has no types
    """Exports a model of waves: any number of samples."""
    example = torch.randn(2, RATE_HZ // 2, generator=torch.Generator().manual_seed(0))
    free = {0: "batch_size", 1: "sequence_length"}
    axes = {"input_values": free, output: {0: "batch_size"} if output == "logits" else free}
    return lambda file: (output, export(model, {"input_values": example}, file, [output], axes))


def _mean(model: Any, values: Tensor) -> dict[str, Array]:  # Any: transformers has no types
    with torch.no_grad():
        hidden = model(values).last_hidden_state
    return {"audio_embeds": unit(hidden.mean(dim=1)), "hidden_first4": hidden[:, :4].numpy()}


def _classes(model: Any, values: Tensor) -> dict[str, Array]:  # Any: transformers has no types
    found = classified(model, input_values=values)
    return {"audio_embeds": found["embeds"], "logits": found["logits"], "probs": found["probs"]}


def wav2vec2() -> None:
    """wav2vec 2.0 base: group norm over time, no mask."""
    model = filled(Wav2Vec2Model(Wav2Vec2Config(**WAVE)), seed=20)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    notes = (
        "audio_embeds = mean over time of last_hidden_state. Each clip alone, at zero mean and unit variance, which "
        "the group norm hides."
    )
    _written(
        "wav2vec2", model, extractor, _waves(model, "last_hidden_state"), lambda values: _mean(model, values), notes
    )


def wav2vec2_classes() -> None:
    """wav2vec 2.0 that classifies: projector, mean over time, linear layer."""
    config = Wav2Vec2Config(**WAVE, **labelled(WORDS), classifier_proj_size=24)
    model = filled(Wav2Vec2ForSequenceClassification(config), seed=21)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    notes = "audio_embeds = what enters the last linear layer: the mean over time of the projected states."
    _written(
        "wav2vec2_classes", model, extractor, _waves(model, "logits"), lambda values: _classes(model, values), notes,
        labels=list(WORDS),
    )  # fmt: skip


def wav2vec2_xvector() -> None:
    """wav2vec 2.0 that knows speakers: the graph gives an embedding of its own, and logits of those in its training."""
    sizes = {"tdnn_dim": (16, 16, 24), "tdnn_kernel": (3, 3, 1), "tdnn_dilation": (1, 2, 1), "xvector_output_dim": 16}
    model = filled(Wav2Vec2ForXVector(Wav2Vec2Config(**WAVE, **sizes)), seed=26)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    example = torch.randn(2, RATE_HZ // 2, generator=torch.Generator().manual_seed(0))
    outputs = ("embeddings", "logits")
    axes = {"input_values": {0: "batch_size", 1: "sequence_length"}, **{name: {0: "batch_size"} for name in outputs}}

    def rows(values: Tensor) -> dict[str, Array]:
        with torch.no_grad():
            return {"audio_embeds": unit(model(values).embeddings)}

    _written(
        "wav2vec2_xvector", model, extractor,
        lambda file: ("embeddings", export(model, {"input_values": example}, file, outputs, axes)), rows,
        "audio_embeds = embeddings, the x-vector; logits are of the speakers of the training.",
    )  # fmt: skip


def hubert() -> None:
    """HuBERT large: layer norm in the convolutions, stable layer norm, an attention mask where clips are padded."""
    config = HubertConfig(**WAVE, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
    model = filled(HubertModel(config), seed=22, gain=2.0)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    notes = (
        "audio_embeds = mean over time of last_hidden_state. Each clip alone, so the mask that the extractor makes is "
        "all ones; the graph has no such input."
    )
    _written("hubert", model, extractor, _waves(model, "last_hidden_state"), lambda values: _mean(model, values), notes)


def _spectrograms(
    model: Any, outputs: Sequence[str]
) -> Callable[[Path], tuple[str, float]]:  # Any: transformers has no types
    """Exports a model of spectrograms: always 1024 frames."""
    example = torch.randn(2, 1024, 128, generator=torch.Generator().manual_seed(0))
    axes: dict[str, dict[int, str]] = {name: {0: "batch_size"} for name in ("input_values", *outputs)}
    return lambda file: (outputs[0], export(model, {"input_values": example}, file, outputs, axes))


def _ast_extractor() -> Any:  # Any: transformers has no types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its lowest filters fall between two frequencies, and it says so
        return ASTFeatureExtractor()


def _ast_config(**more: Any) -> Any:  # Any: transformers has no types
    """Patches that do not overlap, to keep the files small; trained models step by 10."""
    return ASTConfig(**(SIZES | more), frequency_stride=16, time_stride=16)


def _every_64th(values: Tensor) -> dict[str, Array]:
    return {"features_every_64th_frame": values[:, ::64].numpy()}


def _two_tokens(model: Any, values: Tensor) -> dict[str, Array]:  # Any: transformers has no types
    with torch.no_grad():
        return {"audio_embeds": unit(model(values).pooler_output), **_every_64th(values)}


def ast() -> None:
    """AST for feature extraction: the mean of its two first tokens."""
    model = filled(ASTModel(_ast_config()), seed=23)
    notes = "audio_embeds = pooler_output = the mean of the CLS and the distillation token, after the last norm."
    exported = _spectrograms(model, ("last_hidden_state", "pooler_output"))
    _written("ast", model, _ast_extractor(), exported, lambda values: _two_tokens(model, values), notes)


def ast_hidden() -> None:
    """AST as Optimum exports it for feature extraction: the graph does not pool."""
    model = filled(ASTModel(_ast_config(num_hidden_layers=1)), seed=25)
    notes = (
        "audio_embeds = pooler_output, the mean of the two first rows of last_hidden_state; the graph gives only that."
    )
    exported = _spectrograms(model, ("last_hidden_state",))
    _written("ast_hidden", model, _ast_extractor(), exported, lambda values: _two_tokens(model, values), notes)


def ast_classes() -> None:
    """AST that classifies: a norm before its linear layer."""
    model = filled(ASTForAudioClassification(_ast_config(**labelled(SCENES))), seed=24)
    notes = (
        "audio_embeds = what enters the last linear layer: the mean of the CLS and the distillation token, normalised "
        "once more. Features by the NumPy path of the reference; torchaudio was not installed."
    )
    _written(
        "ast_classes", model, _ast_extractor(), _spectrograms(model, ("logits",)),
        lambda values: {**_classes(model, values), **_every_64th(values)}, notes, labels=list(SCENES),
    )  # fmt: skip


MAKERS: Final[dict[str, Callable[[], None]]] = {
    "wav2vec2": wav2vec2,
    "wav2vec2_classes": wav2vec2_classes,
    "wav2vec2_xvector": wav2vec2_xvector,
    "hubert": hubert,
    "ast": ast,
    "ast_hidden": ast_hidden,
    "ast_classes": ast_classes,
}
