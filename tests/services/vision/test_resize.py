"""The exact resize, against numbers of the reference installations (see tests/fixtures/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
