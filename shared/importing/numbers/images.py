"""Numbers of image models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.numbers.processors import processor

_RESAMPLE = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
_BILINEAR_KINDS = ("ViT", "ConvNext", "ConvNeXT")  # what `resample` is where a file leaves it out; others: bicubic


def image_numbers(folder: HubFolder, mode: str) -> dict[str, Any]:
    """Returns the numbers of an image model, whose pixels are to be those of `mode`. Any: JSON.

    Raises:
        FailedPrecondition: the processor's file is missing, or says what is not done here.
    """
    file, raw = processor(folder, "image_processor")
    kind = str(raw.get("image_processor_type") or raw.get("feature_extractor_type") or "")
    size, shortest = _sizes(file, raw, kind)
    resample = _RESAMPLE.get(raw.get("resample", 2 if kind.startswith(_BILINEAR_KINDS) else 3))
    if resample is None:
        raise import_error(file, f"`resample` is {raw.get('resample')}; only 1, 2 and 3 are done")
    for name in ("do_pad", "do_thumbnail", "do_align_long_axis"):
        if raw.get(name):
            raise import_error(file, f"`{name}` is true, which is not done")
    if raw.get("do_resize") is False:
        raise import_error(file, "`do_resize` is false; pictures of any size come in, so the model needs one size")
    is_normal = raw.get("do_normalize", True)
    if is_normal and not (raw.get("image_mean") and raw.get("image_std")):
        raise import_error(file, "states no `image_mean` and `image_std`; save the image processor again")
    rescale = float(raw.get("rescale_factor", 1 / 255)) if raw.get("do_rescale", True) else 1.0
    return {
        "size": list(size),
        "shortest_edge": shortest,
        "resample": resample,
        "mode": mode,
        "mean": _channels(raw["image_mean"]) if is_normal else [0.0, 0.0, 0.0],
        "std": _channels(raw["image_std"]) if is_normal else [1.0, 1.0, 1.0],
        **({} if rescale == 1 / 255 else {"rescale": rescale}),
    }


def _sizes(file: str, raw: Mapping[str, Any], kind: str) -> tuple[tuple[int, int], int]:
    """Returns the model's (height, width), and the short side before the centre crop or 0 for none."""
    size, crops = raw.get("size", 224), bool(raw.get("do_center_crop"))
    if "crop_pct" in raw and kind.startswith(_BILINEAR_KINDS[1:]):  # ConvNeXt crops small pictures alone
        edge = int(size["shortest_edge"] if isinstance(size, dict) else size)
        return (edge, edge), int(edge / float(raw["crop_pct"] or 0.875)) if edge < 384 else 0
    if not crops:
        if isinstance(size, dict) and "height" not in size:
            raise import_error(file, f"`size` is {size} without `do_center_crop`: pictures would differ in size")
        return _height_width(size), 0
    wanted = _height_width(raw.get("crop_size", size))
    if isinstance(size, dict) and "shortest_edge" not in size:
        if "height" not in size:
            raise import_error(file, f"`size` is {size}; `shortest_edge`, or `height` and `width`, are done")
        if _height_width(size) != wanted:
            raise import_error(file, f"stretches to {size} and crops to {wanted}, which is not done")
        return wanted, 0
    edge = int(size["shortest_edge"] if isinstance(size, dict) else size)
    if edge < max(wanted):
        raise import_error(file, f"`crop_size` {wanted} is over the short side {edge}, which is not done")
    return wanted, edge


def _height_width(size: Any) -> tuple[int, int]:
    """Returns the height and width of a size (Any: JSON: a number, or an object)."""
    if isinstance(size, int):
        return size, size
    if "height" in size:
        return int(size["height"]), int(size["width"])
    return int(size["shortest_edge"]), int(size["shortest_edge"])


def _channels(value: Any) -> list[float]:
    """Returns three numbers of one or three (Any: JSON)."""
    values = [float(each) for each in (value if isinstance(value, list) else [value])]
    return values * 3 if len(values) == 1 else values
