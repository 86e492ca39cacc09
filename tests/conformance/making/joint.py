"""What the makers of contrastive fixtures share: towers of one model, or all of it in one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from tests.conformance.making.common import Array, export, unit

TEXT: Final[dict[str, Any]] = {  # Any: numbers and names of a configuration
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def pooled(model: Any, method: str, output: str) -> Callable[..., dict[str, Tensor]]:
    """What a method of a joint model pools, by the name of the output. Any: transformers has no types."""
    return lambda **inputs: {output: getattr(model, method)(**inputs).pooler_output}


def axes(*names: str, fixed: Sequence[str] = ()) -> dict[str, dict[int, str]]:
    """Batch and sequence of every name free; of the fixed, the batch alone."""
    return {**{name: {0: "b", 1: "s"} for name in names}, **{name: {0: "b"} for name in fixed}}


def text_goldens(model: Any, inputs: Mapping[str, Tensor]) -> dict[str, Array]:  # Any: transformers has no types
    """The text goldens of a joint model."""
    with torch.no_grad():
        rows = unit(model.get_text_features(**inputs).pooler_output)
    return {"text_embeds": rows, **{name: value.numpy() for name, value in inputs.items()}}


def rounded(differences: Mapping[str, float]) -> dict[str, float]:
    """Two significant digits."""
    return {name: float(f"{value:.1e}") for name, value in differences.items()}


def set_scalars(model: nn.Module, **values: float) -> None:
    """Gives scalar parameters, as logit_scale, what training would."""
    with torch.no_grad():
        for name, value in values.items():
            getattr(model, name).fill_(value)


JOINT_AXES: Final = {  # as Optimum names them
    "input_ids": {0: "text_batch_size", 1: "sequence_length"},
    "attention_mask": {0: "text_batch_size", 1: "sequence_length"},
    "pixel_values": {0: "image_batch_size", 1: "num_channels", 2: "height", 3: "width"},
    "logits_per_image": {0: "image_batch_size", 1: "text_batch_size"},
    "logits_per_text": {0: "text_batch_size"},
    "text_embeds": {0: "text_batch_size"},
    "image_embeds": {0: "image_batch_size"},
    "input_features": {0: "audio_batch_size"},
    "logits_per_audio": {0: "audio_batch_size", 1: "text_batch_size"},
    "audio_embeds": {0: "audio_batch_size"},
}


def export_joint(folder: Path, model: Any, inputs: Mapping[str, Tensor], other: str) -> dict[str, float]:
    """Exports a model whole, as Optimum's zero-shot tasks do. Any: transformers has no types."""
    outputs = [f"logits_per_{other}", "logits_per_text", "text_embeds", f"{other}_embeds"]
    named = {name: dict(JOINT_AXES[name]) for name in (*inputs, *outputs)}
    named["logits_per_text"][1] = f"{other}_batch_size"
    return rounded({"model.onnx": export(model, inputs, folder / "onnx" / "model.onnx", outputs, named)})
