"""From a decoded picture to model input: resized, cropped, normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from services.vision.resize import Filter, Mode, resize, shortest_edge
from shared.inference.features import Features, Prepared


@dataclass(frozen=True, slots=True)
class ImageNumbers:
    """What the manifest's `preprocess` says of an image model.

    size: (height, width) of the model's input; `shortest_edge` is the short side before the centre crop to `size`,
        or 0 where the picture is stretched: to `stretched` (height, width) and then cropped, or to `size` itself.
    mean, std: per channel, of pixels that were multiplied by `rescale`.
    """

    size: tuple[int, int]
    shortest_edge: int
    resample: Filter
    mode: Mode
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rescale: float = 1 / 255
    stretched: tuple[int, int] | None = None

    @classmethod
    def of(cls, preprocess: Mapping[str, Any]) -> ImageNumbers:
        """Reads the numbers; raises KeyError, TypeError or ValueError where one is missing or wrong."""
        height, width = preprocess["size"]
        for name, choices in (("resample", get_args(Filter)), ("mode", get_args(Mode))):
            if preprocess[name] not in choices:
                raise ValueError(f"`{name}` is {preprocess[name]!r}, none of {', '.join(choices)}")
        return cls(
            size=(int(height), int(width)),
            shortest_edge=int(preprocess["shortest_edge"]),
            resample=preprocess["resample"],
            mode=preprocess["mode"],
            mean=tuple(preprocess["mean"]),
            std=tuple(preprocess["std"]),
            rescale=float(preprocess.get("rescale", 1 / 255)),
            stretched=tuple(preprocess["stretched"]) if "stretched" in preprocess else None,
        )


def preprocess(rgb: NDArray[np.uint8], numbers: ImageNumbers) -> Prepared:
    """Returns one row, `pixel_values` (3, height, width) float32, of a picture (h, w, 3) uint8 RGB."""
    pixels = normalize(resize_and_crop(rgb, numbers), numbers)
    height, width = numbers.size
    row = Features({"pixel_values": pixels}, 1, height * width)
    return Prepared([row], rgb.shape[0] * rgb.shape[1])


def resize_and_crop(rgb: NDArray[np.uint8], numbers: ImageNumbers) -> NDArray[np.uint8]:
    """Returns the (height, width, 3) uint8 part of the resized picture that the model sees."""
    height, width = numbers.size
    whole = numbers.stretched or numbers.size
    if numbers.shortest_edge:
        whole = shortest_edge(rgb.shape[0], rgb.shape[1], numbers.shortest_edge)
    top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
    return resize(rgb, whole, (top, left, height, width), resample=numbers.resample, mode=numbers.mode)


def normalize(rgb: NDArray[np.uint8], numbers: ImageNumbers) -> NDArray[np.float32]:
    """Returns (3, h, w) float32: (u - 255 mean) / (255 std), the fused form that transformers computes."""
    scale = np.float32(1 / numbers.rescale)
    mean = np.asarray(numbers.mean, np.float32) * scale
    std = np.asarray(numbers.std, np.float32) * scale
    normal = (rgb.astype(np.float32) - mean) / std  # (h, w, 3)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))
