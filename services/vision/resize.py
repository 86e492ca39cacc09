"""Resizes pictures to the bit as torchvision (uint8, antialias) and Pillow do.

Both are separable, antialiased and fixed-point; see `Resample.c` of Pillow and `UpSampleKernel.cpp` of PyTorch. The
integer weights are applied as float64 matrix products, which are exact (sums stay under 2**53) and release the GIL.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Filter = Literal["bilinear", "bicubic", "lanczos"]
Mode = Literal["torchvision", "pil"]

_RADIUS: dict[Filter, int] = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
_PIL_BITS = 22  # Resample.c: PRECISION_BITS = 32 - 8 - 2
_BLOCK = 32  # output rows a matrix product covers: wide enough for BLAS, narrow enough to skip most zero weights


@dataclass(frozen=True, slots=True)
class _Block:
    """The weights (stop - start, taps) float64 of output rows `start` to `stop` on input rows `low` to `high`."""

    start: int
    stop: int
    low: int
    high: int
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis: how much of the input the wanted outputs touch, and the weights that make them."""

    low: int
    high: int
    blocks: tuple[_Block, ...]
    bits: int
    size: int


def resize(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    crop: tuple[int, int, int, int] | None = None,
    *,
    resample: Filter = "bicubic",
    mode: Mode = "torchvision",
) -> NDArray[np.uint8]:
    """Returns a picture (h, w, 3) uint8 resized to `size` = (height, width), of which only `crop` is computed.

    crop: (top, left, height, width) inside the resized picture; None keeps all of it. The pixels are the same as
    those of the whole resized picture, at the cost of the part that is kept.
    """
    height, width, channels = image.shape
    top, left, crop_height, crop_width = crop or (0, 0, *size)
    vertical = _axis(height, size[0], top, top + crop_height, resample, mode)
    horizontal = _axis(width, size[1], left, left + crop_width, resample, mode)
    image = image[vertical.low : vertical.high, horizontal.low : horizontal.high]
    if mode == "pil" and _is_vertical_first(height, width, size):
        image = _along_rows(image, vertical)
        columns = image.transpose(1, 0, 2)  # (w, h', 3)
        return np.ascontiguousarray(_along_rows(columns, horizontal).transpose(1, 0, 2))
    image = _along_rows(image.transpose(1, 0, 2), horizontal).transpose(1, 0, 2)  # (h, w', 3)
    return np.ascontiguousarray(_along_rows(image, vertical)).reshape(crop_height, crop_width, channels)


def _is_vertical_first(height: int, width: int, size: tuple[int, int]) -> bool:
    """Returns Pillow 13's order of passes: vertical first where that shrinks the intermediate picture much more."""
    return height - size[0] > 0 and height - size[0] > 2 * (width - size[1])


def _along_rows(image: NDArray[np.uint8], axis: _Axis) -> NDArray[np.uint8]:
    """Returns (m, k, 3) uint8: the weights of `axis` applied along the first axis of (n, k, 3), rounded and clipped."""
    if not axis.blocks:
        return image  # an axis that keeps its length is not filtered
    tail = image.shape[1:]
    rows = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    result = np.empty((axis.size, rows.shape[1]), np.uint8)
    half, scale = float(1 << (axis.bits - 1)), 1.0 / (1 << axis.bits)
    for block in axis.blocks:
        sums = block.weights @ rows[block.low : block.high].astype(np.float64)
        sums += half
        sums *= scale  # a power of two: exact
        np.floor(sums, out=sums)
        np.clip(sums, 0, 255, out=sums)
        result[block.start : block.stop] = sums
    return result.reshape(axis.size, *tail)


@lru_cache(maxsize=256)
def _axis(length: int, target: int, start: int, stop: int, resample: Filter, mode: Mode) -> _Axis:
    """Returns the blocks for outputs `start` to `stop` of an axis that goes from `length` to `target` samples."""
    if length == target:
        return _Axis(start, stop, (), 0, stop - start)
    taps = [_taps(i, length, target, resample) for i in range(start, stop)]
    bits = _PIL_BITS if mode == "pil" else _torchvision_bits(length, target, resample)
    low = min(first for first, _ in taps)
    high = max(first + len(weights) for first, weights in taps)
    blocks = []
    for at in range(0, len(taps), _BLOCK):
        part = taps[at : at + _BLOCK]
        block_low = min(first for first, _ in part)
        block_high = max(first + len(weights) for first, weights in part)
        matrix = np.zeros((len(part), block_high - block_low))
        for row, (first, weights) in enumerate(part):
            matrix[row, first - block_low : first - block_low + len(weights)] = _rounded(weights * (1 << bits))
        blocks.append(_Block(at, at + len(part), block_low - low, block_high - low, matrix))
    return _Axis(low, high, tuple(blocks), bits, stop - start)


def _rounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns x rounded half away from zero."""
    return np.trunc(x + np.copysign(0.5, x))


def _taps(output: int, length: int, target: int, resample: Filter) -> tuple[int, NDArray[np.float64]]:
    """Returns the first input sample and the weights, summing to 1, of one output sample."""
    scale = length / target
    stretch = max(scale, 1.0)
    centre = (output + 0.5) * scale
    radius = _RADIUS[resample] * stretch
    first = max(0, int(centre - radius + 0.5))
    last = min(length, int(centre + radius + 0.5))
    distance = np.abs((np.arange(first, last) - centre + 0.5) / stretch)
    weights = _KERNEL[resample](distance)
    return first, weights / weights.sum()


@lru_cache(maxsize=256)
def _torchvision_bits(length: int, target: int, resample: Filter) -> int:
    """Returns torchvision's precision: the most bits that keep the largest weight of the whole axis an int16."""
    largest = max(float(_taps(i, length, target, resample)[1].max()) for i in range(target))
    bits = 0
    while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return bits


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x < 1, 1 - x, 0.0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.5  # Pillow and torchvision with antialias; OpenCV's is -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


_KERNEL: dict[Filter, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "lanczos": _lanczos,
}


def shortest_edge(height: int, width: int, edge: int) -> tuple[int, int]:
    """Returns (height, width) with the short side `edge`; the long side is truncated, as transformers does."""
    if height <= width:
        return edge, math.floor(edge * width / height)
    return math.floor(edge * height / width), edge
