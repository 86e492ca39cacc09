"""Decoding: what comes out is upright RGB on white."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.vision.decode import ImageLimits, decode

LIMITS = ImageLimits(10_000_000, 10_000_000)


def file(pixels: NDArray[np.uint8] | NDArray[np.uint16], suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


def random(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_alpha_is_composited_on_white() -> None:
    bgra = random(40, 30, 4)
    alpha = bgra[..., 3:].astype(np.float64)
    expected = np.floor((bgra[..., 2::-1] * alpha + 255 * (255 - alpha)) / 255 + 0.5)
    assert (decode(file(bgra), LIMITS) == expected).all()


def test_grey_and_sixteen_bit_become_rgb() -> None:
    grey = random(20, 10)
    assert (decode(file(grey), LIMITS) == grey[..., None]).all()
    deep = (grey.astype(np.uint16) << 8).astype(np.uint16)
    assert (decode(file(deep), LIMITS) == grey[..., None]).all()


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation]) + b"\x00" * 7
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :24] = 255  # white in the top left corner of what is stored
    upright = decode(with_exif_orientation(file(stored, ".jpg"), orientation), LIMITS)
    height, width = (32, 48) if orientation < 5 else (48, 32)
    assert upright.shape == (height, width, 3)
    corners = {
        "top left": upright[0, 0, 0] > 128,
        "top right": upright[0, -1, 0] > 128,
        "bottom right": upright[-1, -1, 0] > 128,
        "bottom left": upright[-1, 0, 0] > 128,
    }
    # Where row 0 and column 0 of the stored picture are shown (EXIF 2.32, tag 0x0112).
    corner = ["top left", "top right", "bottom right", "bottom left"]
    shown = [corner[at] for at in (0, 1, 2, 3, 0, 1, 2, 3)]
    assert [corner for corner, is_white in corners.items() if is_white] == [shown[orientation - 1]]
