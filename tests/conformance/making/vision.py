"""Makes the fixtures that know images alone: ViT and DINOv2, as encoders and as classifiers; ResNet and Swin."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from transformers import (
    BitImageProcessor,
    ConvNextImageProcessor,
    DeiTConfig,
    DeiTImageProcessor,
    DeiTModel,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from tests.conformance.making.common import (
    HERE,
    IMAGES,
    Array,
    classified,
    export,
    filled,
    labelled,
    on_white,
    pictures,
    pixels,
    save,
    unit,
    write,
)

LABELS: Final = ("tabby cat", "terrier", "sports car", "mountain, peak", "teapot")
SIZES: Final[dict[str, Any]] = {  # Any: numbers and names of a configuration
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
IMAGENET: Final[dict[str, Any]] = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
PIXEL_AXES: Final = {0: "batch_size", 1: "num_channels", 2: "height", 3: "width"}  # Optimum frees them all


def _written(
    family: str,
    model: Any,  # Any: transformers has no types
    processor: Any,
    rows: Callable[[Tensor], Mapping[str, Array]],
    notes: str,
) -> None:
    """Exports a model of one output, and writes what `rows` computes from the images of both backends."""
    folder = HERE / family / "model"
    save(folder, model, processor)
    bytes_, values = pixels(folder, pictures())
    _, values_pil = pixels(folder, pictures(), "pil")
    white_bytes, white_values = pixels(folder, [on_white()])
    classifies = hasattr(model, "classifier")
    output = "logits" if classifies else "last_hidden_state"
    free = {0: "batch_size"} if classifies else {0: "batch_size", 1: "sequence_length"}
    file = folder / "onnx" / "model.onnx"
    difference = export(model, {"pixel_values": values}, file, [output], {"pixel_values": PIXEL_AXES, output: free})
    golden = {
        **rows(values),
        **{f"{name}_pil": value for name, value in rows(values_pil).items()},
        **{f"on_white_{name}": value[0] for name, value in rows(white_values).items()},
    }
    if not classifies:
        golden |= {"pixel_u8": bytes_, "on_white_pixel_u8": white_bytes[0]}
    meta: dict[str, Any] = {"images": IMAGES, "notes": notes}
    if classifies:
        meta["labels"] = list(LABELS)
    write(family, golden, {**meta, "torch_to_onnxruntime_max_abs": {file.name: float(f"{difference:.1e}")}})


def _classes(model: Any, values: Tensor) -> dict[str, Array]:  # Any: transformers has no types
    found = classified(model, pixel_values=values)
    return {"image_embeds": found["embeds"], "logits": found["logits"], "probs": found["probs"]}


def _first_token(model: Any, values: Tensor) -> dict[str, Array]:  # Any: transformers has no types
    with torch.no_grad():
        return {"image_embeds": unit(model(pixel_values=values).last_hidden_state[:, 0])}


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def vit() -> None:
    """ViT for feature extraction: the CLS token after the last norm."""
    model = filled(ViTModel(ViTConfig(**SIZES, image_size=48, patch_size=8), add_pooling_layer=False), seed=10)
    notes = "image_embeds = last_hidden_state[:, 0], after the last norm. Stretched to 48 x 48, bilinear."
    _written("vit", model, ViTImageProcessor(size=_square(48)), lambda values: _first_token(model, values), notes)


def vit_classes() -> None:
    """ViT for image classification."""
    config = ViTConfig(**SIZES, **labelled(LABELS), image_size=48, patch_size=8)
    model = filled(ViTForImageClassification(config), seed=11)
    notes = (
        "image_embeds = what enters the last linear layer, the CLS token after the last norm. "
        "Stretched to 48 x 48, bilinear; the processor states no do_convert_rgb."
    )
    _written("vit_classes", model, ViTImageProcessor(size=_square(48)), lambda values: _classes(model, values), notes)


def deit() -> None:
    """DeiT: pictures are stretched to more than the crop, 64 to 48 for its 256 to 224; in two layouts."""
    folder, old = HERE / "deit" / "model", HERE / "deit" / "model_old"
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = filled(DeiTModel(DeiTConfig(**sizes, image_size=48, patch_size=8), add_pooling_layer=False), seed=14)
    processor = DeiTImageProcessor(size=_square(64), crop_size=_square(48), **IMAGENET)
    notes = (
        "image_embeds = last_hidden_state[:, 0], after the last norm. Stretched to 64 x 64, centre crop 48, bicubic. "
        "model_old is the same with the processor's file of 2021: DeiTFeatureExtractor, sizes of one number."
    )
    _written("deit", model, processor, lambda values: _first_token(model, values), notes)
    shutil.copytree(folder, old, dirs_exist_ok=True)
    stated = {"crop_size": 48, "do_center_crop": True, "do_normalize": True, "do_resize": True,
              "feature_extractor_type": "DeiTFeatureExtractor", **IMAGENET, "resample": 3, "size": 64}  # fmt: skip
    (old / "preprocessor_config.json").write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    for backend in ("torchvision", "pil"):
        one, other = (pixels(each, pictures(), backend)[1] for each in (folder, old))
        if not torch.equal(one, other):
            raise ValueError(f"the reference does not read {old} as {folder}")


def _dinov2_processor() -> Any:  # Any: transformers has no types
    """Resizes the short edge to more than the crop, as DINOv2 does: 64 to 56 for its 256 to 224."""
    sizes = {"size": {"shortest_edge": 64}, "crop_size": _square(56)}
    return BitImageProcessor(**sizes, **IMAGENET, resample=3, do_convert_rgb=True)


def _dinov2_config(**more: Any) -> Any:  # Any: transformers has no types
    """Positions for 70 pixels, which the graph interpolates to 56, as DINOv2 does from 518 to 224."""
    sizes = {name: value for name, value in SIZES.items() if name != "intermediate_size"}
    return Dinov2Config(**sizes, **more, mlp_ratio=2, image_size=70, patch_size=14)


def dinov2() -> None:
    """DINOv2 for feature extraction: the CLS token after the last norm."""
    model = filled(Dinov2Model(_dinov2_config()), seed=12)
    notes = (
        "image_embeds = last_hidden_state[:, 0], after the last norm. Short edge 64, centre crop 56, bicubic; "
        "config.json says image_size 70."
    )
    _written("dinov2", model, _dinov2_processor(), lambda values: _first_token(model, values), notes)


def dinov2_classes() -> None:
    """DINOv2 for image classification: its last linear layer sees the CLS token beside the mean of the patches."""
    model = filled(Dinov2ForImageClassification(_dinov2_config(**labelled(LABELS))), seed=13)
    notes = (
        "image_embeds = what enters the last linear layer, the CLS token and the mean of the patch tokens side by "
        "side. Short edge 64, centre crop 56, bicubic; config.json says image_size 70."
    )
    _written("dinov2_classes", model, _dinov2_processor(), lambda values: _classes(model, values), notes)


def _pooled(model: Any, values: Tensor) -> dict[str, Array]:  # Any: transformers has no types
    with torch.no_grad():
        return {"image_embeds": unit(model(pixel_values=values).pooler_output.flatten(1))}


def resnet() -> None:
    """ResNet as Optimum exports it for feature extraction: the graph gives maps, and does not pool."""
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], layer_type="basic")
    processor = ConvNextImageProcessor(size={"shortest_edge": 56}, crop_pct=0.875, **IMAGENET)
    notes = (
        "image_embeds = pooler_output = the mean of the maps over their pixels; the graph gives only "
        "last_hidden_state, (n, 24, 2, 2). Short edge 64, centre crop 56, bicubic."
    )
    model = filled(ResNetModel(config), seed=15)
    _written("resnet", model, processor, lambda values: _pooled(model, values), notes)


def swin() -> None:
    """Swin as Optimum exports it for feature extraction: the mean of the last states."""
    config = SwinConfig(image_size=48, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=3)
    notes = "image_embeds = pooler_output = the mean of last_hidden_state, which alone the graph gives."
    model = filled(SwinModel(config), seed=16)
    _written("swin", model, ViTImageProcessor(size=_square(48)), lambda values: _pooled(model, values), notes)


MAKERS: Final[dict[str, Callable[[], None]]] = {
    "vit": vit,
    "vit_classes": vit_classes,
    "deit": deit,
    "dinov2": dinov2,
    "dinov2_classes": dinov2_classes,
    "resnet": resnet,
    "swin": swin,
}
