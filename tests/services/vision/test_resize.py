"""The exact resize, against numbers of the reference installations (see tests/fixtures/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.vision.decode import ImageLimits, decode
from services.vision.resize import Filter, Mode, resize, shortest_edge

INPUTS = Path(__file__).parents[2] / "fixtures" / "images"
GOLDEN = np.load(Path(__file__).parents[2] / "fixtures" / "resize.npz")


@pytest.mark.parametrize("mode", ["torchvision", "pil"])
@pytest.mark.parametrize("way", ["crop", "stretch"])
@pytest.mark.parametrize("place", range(3))
def test_every_pixel_is_that_of_the_reference(place: int, way: str, mode: Mode) -> None:
    image = decode((INPUTS / str(GOLDEN["names"][place])).read_bytes(), ImageLimits(1 << 20, 1 << 24))
    if way == "stretch":
        result = resize(image, (96, 96), mode=mode)
    else:
        height, width = shortest_edge(image.shape[0], image.shape[1], 96)
        result = resize(image, (height, width), ((height - 96) // 2, (width - 96) // 2, 96, 96), mode=mode)
    assert (result == GOLDEN[f"{way}_{mode}"][place]).all()


@pytest.mark.parametrize("shape", [(7, 200), (200, 3), (64, 64), (31, 77)])
@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos"])
def test_a_crop_has_the_pixels_of_the_whole(shape: tuple[int, int], resample: Filter) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    size, crop = (48, 96), (5, 20, 32, 40)
    whole = resize(image, size, resample=resample)[5:37, 20:60]
    assert (resize(image, size, crop, resample=resample) == whole).all()


def test_a_flat_picture_stays_flat() -> None:
    image = np.full((37, 53, 3), 131, np.uint8)
    assert (resize(image, (11, 200)) == 131).all()


def summed(image: NDArray[np.uint8], target: int) -> NDArray[np.uint8]:
    """Returns the first axis of (n, k) resized as Pillow's bilinear filter does, in integers, an output at a time."""
    length = len(image)
    scale = length / target
    stretch = max(scale, 1.0)
    result = np.empty((target, image.shape[1]), np.uint8)
    for place in range(target):
        centre = (place + 0.5) * scale
        low, high = max(0, int(centre - stretch + 0.5)), min(length, int(centre + stretch + 0.5))
        weights = np.maximum(0, 1 - np.abs((np.arange(low, high) - centre + 0.5) / stretch))
        integers = np.floor(weights / sum(weights) * (1 << 22) + 0.5).astype(np.int64)
        result[place] = np.clip((integers @ image[low:high].astype(np.int64) + (1 << 21)) >> 22, 0, 255)
    return result


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("target", [7, 90, 128, 700])
def test_sums_near_the_middle_between_two_levels_are_rounded_as_integers_are(share: float, target: int) -> None:
    rng = np.random.default_rng(target)
    stripes = np.repeat(np.tile([0, 255], 45), 6)[:, None].astype(np.uint8)  # many sums at or near a half
    noise = rng.integers(0, 256, (540, 200), np.uint8)
    rows = np.where(rng.random(200) < share, stripes, noise).astype(np.uint8)
    image = np.repeat(rows[:, :, None], 3, axis=2)
    result = resize(image, (target, 200), resample="bilinear", mode="pil")
    assert (result[:, :, 1] == summed(rows, target)).all()
