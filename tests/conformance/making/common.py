"""What all makers share: random weights, the export to ONNX, the standard inputs, and the files of a fixture."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor
from transformers.audio_utils import load_audio
from transformers.image_utils import load_image

HERE: Final = Path(__file__).resolve().parent.parent
INPUTS: Final = HERE / "inputs"
OPSET: Final = 17
TOLERANCE: Final = 1e-4  # torch against onnxruntime, of the largest value of the output

TEXTS: Final = json.loads((HERE / "clip" / "meta.json").read_text(encoding="utf-8"))["texts"]
IMAGES: Final = [
    "photo.jpg",
    "portrait_q60_444.jpg",
    "small.png",
    "gray.png",
    "rgba.png",
    "wide.png",
    "exif6.jpg",
    "palette.png",
]
SOUNDS: Final = [
    "seven_8k.wav",
    "stereo_44k1.wav",
    "mono_22k05.flac",
    "odd_11025_u8.wav",
    "long_16k.flac",
    "exact_48k.wav",
]
LIBRARIES: Final = (
    "transformers",
    "torch",
    "torchvision",
    "sentence-transformers",
    "tokenizers",
    "sentencepiece",
    "pillow",
    "numpy",
    "soundfile",
    "soxr",
    "onnxruntime",
)

Array = NDArray[Any]  # Any: goldens are float32, int64, uint8 or bool
Module = TypeVar("Module", bound=nn.Module)


def filled(module: Module, seed: int = 0, gain: float = 1.5) -> Module:
    """Gives every parameter random values, of sizes that keep inputs apart, and returns the module in eval mode.

    Matrices and kernels have standard deviation gain / √fan-in, so attention is decided and differences survive;
    embeddings 1, tokens and positions that are parameters 0.5, biases 0.05; norms are near one. Scalars, as
    logit_scale, are left.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for owner in module.modules():
            for name, parameter in owner.named_parameters(recurse=False):
                if parameter.dim() > 0:
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(_scaled(owner, name, noise, gain))
        for owner in module.modules():
            if hasattr(owner, "original0") and hasattr(owner, "original1"):  # weight norm: length times direction
                kept = [axis for axis, size in enumerate(owner.original0.shape) if size == 1]
                owner.original0.copy_(owner.original1.norm(dim=kept, keepdim=True))
    module.eval()
    return module


def _scaled(owner: nn.Module, name: str, noise: Tensor, gain: float) -> Tensor:
    """The values of one parameter of the module that owns it."""
    if name.endswith("bias"):
        return 0.05 * noise
    if "Norm" in type(owner).__name__ or name.startswith("lambda"):
        return 1 + 0.1 * noise
    if isinstance(owner, nn.Embedding):
        return noise
    if noise.dim() > 1 and (name.endswith("weight") or name == "original1"):
        return noise * gain / (noise[0].numel() ** 0.5)
    return 0.5 * noise


def export(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    file: Path,
    output_names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    called: Callable[..., Mapping[str, Tensor]] | None = None,
) -> float:
    """Writes the module's graph as Optimum does, and returns the largest difference of onnxruntime to torch.

    The difference is taken over all items together, and over the first alone.

    Args:
        module: Owns the weights.
        inputs: Examples by name; the first axis is the batch.
        file: Where to write; folders are made.
        output_names: Of the mapping, in the order of the graph.
        dynamic_axes: By input and output: axis → name. An axis not named is fixed.
        called: Takes the inputs by name and returns a mapping that has the outputs by name; by default the module.

    Raises:
        ValueError: onnxruntime differs by more than TOLERANCE.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    module.eval()
    own_forward = module.forward
    compute = called or own_forward

    def forward(*values: Tensor) -> tuple[Tensor, ...]:
        found = compute(**dict(zip(inputs, values, strict=True)))
        return tuple(found[name] for name in output_names)

    module.forward = forward  # as Optimum does: a wrapping module would rename every weight
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter is deprecated, traces shapes, and says so at length
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                str(file),
                input_names=list(inputs),
                output_names=list(output_names),
                dynamic_axes={name: dict(axes) for name, axes in dynamic_axes.items()},
                opset_version=OPSET,
                dynamo=False,
            )
            alone = {name: value[:1] for name, value in inputs.items()}
            return max(_difference(module, each, file) for each in (inputs, alone))
    finally:
        module.forward = own_forward


def _difference(module: nn.Module, inputs: Mapping[str, Tensor], file: Path) -> float:
    """The largest absolute difference of the file's outputs to the module's."""
    expected = [value.numpy() for value in module(*inputs.values())]
    found = run(file, {name: value.numpy() for name, value in inputs.items()})
    differences = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    largest = max(float(np.abs(each).max()) for each in expected)
    if max(differences) > TOLERANCE * max(largest, 1.0):
        raise ValueError(f"{file.name}: onnxruntime differs from torch by {max(differences):.1e}")
    return max(differences)


def run(file: Path, inputs: Mapping[str, Array]) -> list[Array]:
    """The outputs of a file for these inputs, by onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, dict(inputs))
    return outputs


def unit(rows: Tensor | Array) -> Array:
    """Rows of length 1, float32."""
    values = np.asarray(rows.detach().numpy() if isinstance(rows, Tensor) else rows, dtype=np.float32)
    lengths: Array = np.linalg.norm(values, axis=-1, keepdims=True)
    return values / lengths


def classified(model: Any, **inputs: Tensor) -> dict[str, Array]:  # Any: transformers has no types
    """Logits, probabilities, and the vector that enters the last linear layer, at length 1."""
    entering: list[Tensor] = []
    last = [each for each in model.classifier.modules() if isinstance(each, nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda _, values: entering.append(values[0]))
    with torch.no_grad():
        logits = model(**inputs).logits
    hook.remove()
    return {"embeds": unit(entering[0]), "logits": logits.numpy(), "probs": logits.softmax(dim=-1).numpy()}


def labelled(labels: Sequence[str]) -> dict[str, Any]:  # Any: part of a configuration
    """The labels as a configuration states them."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: place for place, label in enumerate(labels)}}


def pictures(names: Sequence[str] = IMAGES) -> list[Image.Image]:
    """The images as the reference loads them: turned upright, RGB."""
    return [load_image(str(INPUTS / name)) for name in names]


def on_white(name: str = "rgba.png") -> Image.Image:
    """The transparent image on white, as the public contract has it."""
    image = Image.open(INPUTS / name).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def sounds(sample_rate_hz: int, names: Sequence[str] = SOUNDS) -> list[Array]:
    """The sounds as the reference loads them: mono float32 at this rate."""
    return [load_audio(str(INPUTS / name), sampling_rate=sample_rate_hz, backend="soundfile") for name in names]


def pixels(model: Path, images: Sequence[Image.Image], backend: str = "torchvision") -> tuple[Array, Tensor]:
    """The images resized and cropped, (n, 3, h, w) uint8, and the model's input, (n, 3, h, w) float32."""
    processor = AutoImageProcessor.from_pretrained(model, backend=backend)
    plain = processor(images=list(images), do_rescale=False, do_normalize=False, return_tensors="np")
    values = processor(images=list(images), return_tensors="pt")
    return np.stack(plain["pixel_values"]), values["pixel_values"]


def save(model: Path, *parts: Any) -> None:  # Any: transformers has no types
    """Writes configurations, processors and tokenizers to a folder; of a model its configuration, with its class."""
    model.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if isinstance(part, nn.Module):
            part.config.architectures = [type(part).__name__]
            part.config.save_pretrained(model)
        else:
            part.save_pretrained(model)


def write(family: str, golden: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Writes golden.npz, and meta.json with the versions, shapes and spread added. Any: JSON."""
    folder = HERE / family
    arrays: dict[str, Any] = {name: np.ascontiguousarray(value) for name, value in golden.items()}
    np.savez_compressed(folder / "golden.npz", **arrays)
    known = {
        "family": family,
        **meta,
        "made_with": {name: version(name) for name in LIBRARIES},
        "onnx_opset": OPSET,
        "cosine_between_different_inputs_min_max": {
            name: _spread(value) for name, value in arrays.items() if name.endswith("_embeds") and value.ndim == 2
        },
        "golden": {name: {"shape": list(value.shape), "dtype": str(value.dtype)} for name, value in arrays.items()},
    }
    text = json.dumps(known, ensure_ascii=False, indent=1)
    (folder / "meta.json").write_text(text + "\n", encoding="utf-8")


def _spread(rows: Array) -> list[float]:
    """The smallest and the largest cosine between two different rows."""
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return [round(float(cosines.min()), 3), round(float(cosines.max()), 3)]
