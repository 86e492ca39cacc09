"""From a decoded picture to model input: resized, cropped, normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.vision.resize import Filter, Mode, resize, shortest_edge
from shared.inference.features import Features, Prepared
from shared.inference.typed import FieldFault, Positive, typed

# Of pictures that models take: none is near to it, and a picture of 4096 by 4096 takes 200 MB as numbers.
Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]
SideOrNone = Annotated[int, msgspec.Meta(ge=0, le=4096)]


@dataclass(frozen=True, slots=True)
class ImageNumbers:
    """What the manifest's `preprocess` says of an image model.

    size: (height, width) of the model's input; `shortest_edge` is the short side before the centre crop to `size`,
        or 0 where the picture is stretched: to `stretched` (height, width) and then cropped, or to `size` itself.
    mean, std: per channel, of pixels that were multiplied by `rescale`.
    """

    size: tuple[Side, Side]
    shortest_edge: SideOrNone
    resample: Filter
    mode: Mode
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    rescale: Positive = 1 / 255
    stretched: tuple[Side, Side] | None = None

    @classmethod
    def of(cls, preprocess: Mapping[str, Any]) -> ImageNumbers:
        """Reads the numbers; raises FieldFault where one is missing or wrong."""
        numbers = typed(preprocess, cls)
        (height, width), stretched = numbers.size, numbers.stretched
        if stretched is not None and (stretched[0] < height or stretched[1] < width):
            raise FieldFault("stretched", f"at least the `size`, {height} by {width}", list(stretched))
        return numbers


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
