"""Numbers of image models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.numbers.processors import processor

_RESAMPLE = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers

_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a class of image processors does where its file leaves it out (transformers 5.24).

    edge: of `size`. keeps_shape: whether a `size` that is one number is the short side; else pictures are stretched to
    a square. crops: whether the centre is cut out.
    """

    normal: tuple[Sequence[float], Sequence[float]]
    resample: int
    edge: int = 224
    keeps_shape: bool = False
    crops: bool = False


_CLIP_KIND = _Kind(_CLIP, 3, keeps_shape=True, crops=True)
_MOBILE_NET = _Kind(_HALF, 2, edge=256, keeps_shape=True, crops=True)

# By the names of the classes before `ImageProcessor` or `FeatureExtractor`; others may take steps that are not done.
_KINDS: Mapping[str, _Kind] = {
    "CLIP": _CLIP_KIND,
    "ChineseCLIP": _CLIP_KIND,
    "Bit": _CLIP_KIND,
    "Siglip": _Kind(_HALF, 3, keeps_shape=True),
    "ViT": _Kind(_HALF, 2),
    "DeiT": _Kind(_HALF, 3, edge=256, crops=True),
    "Beit": _Kind(_HALF, 3),
    "ConvNext": _Kind(_HALF, 3, edge=384, keeps_shape=True),
    "Levit": _Kind(_IMAGENET, 3, keeps_shape=True, crops=True),
    "MobileNetV1": _MOBILE_NET,
    "MobileNetV2": _MOBILE_NET,
    "Segformer": _Kind(_IMAGENET, 2, edge=512),
    "Pvt": _Kind(_IMAGENET, 3),
}
_USUAL_CROP = 224
_CROP_SHARE = 224 / 256  # ConvNeXt and LeViT resize to the size over this, and crop


def image_numbers(folder: HubFolder, mode: str) -> dict[str, Any]:
    """Returns the numbers of an image model, whose pixels are to be those of `mode`. Any: JSON.

    Raises:
        FailedPrecondition: the processor's file is missing, or says what is not done here.
    """
    file, raw = processor(folder, "image_processor")
    name, kind = _kind(file, raw)
    size, shortest, stretched = _sizes(file, raw, name, kind)
    resample = _RESAMPLE.get(raw.get("resample", kind.resample))
    if resample is None:
        raise import_error(file, f"`resample` is {raw.get('resample')}; only 1, 2 and 3 are done")
    for flag in ("do_pad", "do_thumbnail", "do_align_long_axis", "do_flip_channel_order"):
        if raw.get(flag):
            raise import_error(file, f"`{flag}` is true, which is not done")
    if raw.get("do_resize") is False:
        raise import_error(file, "`do_resize` is false; pictures of any size come in, so the model needs one size")
    is_normal, (mean, std) = raw.get("do_normalize", True), kind.normal
    rescale = float(raw.get("rescale_factor", 1 / 255)) if raw.get("do_rescale", True) else 1.0
    return {
        "size": list(size),
        "shortest_edge": shortest,
        **({"stretched": list(stretched)} if stretched else {}),
        "resample": resample,
        "mode": mode,
        "mean": _channels(raw.get("image_mean") or mean) if is_normal else [0.0, 0.0, 0.0],
        "std": _channels(raw.get("image_std") or std) if is_normal else [1.0, 1.0, 1.0],
        **({} if rescale == 1 / 255 else {"rescale": rescale}),
    }


def _kind(file: str, raw: Mapping[str, Any]) -> tuple[str, _Kind]:
    """Returns the name and the habits of the class that a file was written by.

    Raises:
        FailedPrecondition: it is none that is known here.
    """
    stated = str(raw.get("image_processor_type") or raw.get("feature_extractor_type") or "")
    name = re.sub(r"(ImageProcessor|FeatureExtractor)\w*$", "", stated)
    if not stated:  # files of the first versions; those with a crop are CLIP's
        name = "CLIP" if raw.get("do_center_crop") else "ViT"
    if name not in _KINDS:
        known = ", ".join(f"{each}ImageProcessor" for each in _KINDS)
        raise import_error(file, f"is of the class {stated}, whose steps are not known here; known are {known}")
    return name, _KINDS[name]


_Size = tuple[int, int]


def _sizes(file: str, raw: Mapping[str, Any], name: str, kind: _Kind) -> tuple[_Size, int, _Size | None]:
    """Returns the model's (height, width); the short side before the crop, or 0; what is stretched to before it."""
    size = raw.get("size", kind.edge)
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind.keeps_shape else {"height": size, "width": size}
    if name == "ConvNext":  # it crops small pictures alone
        edge = _edge(file, size)
        return (edge, edge), int(edge / float(raw.get("crop_pct") or _CROP_SHARE)) if edge < 384 else 0, None
    if name == "Levit" and "shortest_edge" in size:
        size = {"shortest_edge": int(_edge(file, size) / _CROP_SHARE)}
    if not raw.get("do_center_crop", kind.crops):
        if "height" not in size:
            raise import_error(file, f"`size` is {size} without `do_center_crop`: pictures would differ in size")
        return _height_width(size), 0, None
    wanted = _height_width(raw.get("crop_size", _USUAL_CROP))
    before = _height_width(size) if "height" in size else (_edge(file, size),) * 2
    if before[0] < wanted[0] or before[1] < wanted[1]:
        raise import_error(file, f"`crop_size` {list(wanted)} is over the size before it, {size}, which is not done")
    if "height" in size:
        return wanted, 0, before if before != wanted else None
    return wanted, before[0], None


def _edge(file: str, size: Mapping[str, Any]) -> int:
    if "shortest_edge" not in size or "longest_edge" in size:
        raise import_error(file, f"`size` is {size}; `shortest_edge`, or `height` and `width`, are done")
    return int(size["shortest_edge"])


def _height_width(size: Any) -> tuple[int, int]:
    """Returns the height and width of a size (Any: JSON: a number, or an object)."""
    if isinstance(size, int):
        return size, size
    if "height" in size:
        return int(size["height"]), int(size["width"])
    return int(size["shortest_edge"]), int(size["shortest_edge"])


def _channels(value: Any) -> list[float]:
    """Returns three numbers of one or three (Any: JSON)."""
    values = [float(each) for each in (value if isinstance(value, list | tuple) else [value])]
    return values * 3 if len(values) == 1 else values
