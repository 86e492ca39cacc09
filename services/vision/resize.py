"""Resizes pictures to the bit as torchvision (uint8, antialias) and Pillow do.

Both are separable, antialiased and fixed-point; see `Resample.c` of Pillow and `UpSampleKernel.cpp` of PyTorch. The
integer weights are applied as float32 matrix products, which are fast and release the GIL, but round. So the few pixels
whose sums come too near the middle between two levels to be sure of are summed again, in integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Filter = Literal["bilinear", "bicubic", "lanczos"]
Mode = Literal["torchvision", "pil"]
_Float = TypeVar("_Float", np.float32, np.float64)

_RADIUS: dict[Filter, int] = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
_PIL_BITS = 22  # Resample.c: PRECISION_BITS = 32 - 8 - 2
_BLOCK = 12  # outputs a matrix product makes: enough to keep BLAS busy, few enough to skip most zero weights
_STRIP = 540  # rows filtered horizontally at a time: more leave the cache, fewer make threads wait for the GIL more
_MANY = 32  # where one pixel in so many is unsure, summing all of them again in float64 is faster
_OUTPUTS = 1 << 14  # whose weights are looked at at a time, to bound the memory
_NUDGE = 2.0**-16  # makes halves round up; below any difference of sums that count as exact


@dataclass(frozen=True, slots=True)
class _Block:
    """The weights (stop - start, high - low) float32 of outputs `start` to `stop` on inputs `low` to `high`."""

    start: int
    stop: int
    low: int
    high: int
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of one axis: m outputs, each of `taps` inputs.

    first: (m,) int64, the first input of each output.
    integers: (m, taps) int64, the weights from there on, times 2**bits.
    blocks: the same as matrices, in float32 and not multiplied.
    error: by how much their products may be off, at most; 0 where none is.
    exact: int64 places of the outputs that are not off in any case.
    is_signed: whether there are weights below 0.
    """

    first: NDArray[np.int64]
    integers: NDArray[np.int64]
    bits: int
    blocks: tuple[_Block, ...]
    error: float
    exact: NDArray[np.int64]
    is_signed: bool


@dataclass(frozen=True, slots=True)
class _Axis:
    """The part `low` to `high` of an axis that the wanted outputs touch, and their weights on it.

    weights: count from `low`; None where the axis keeps its length and is not filtered.
    """

    low: int
    high: int
    weights: _Weights | None


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
    height, width, _ = image.shape
    top, left, crop_height, crop_width = crop or (0, 0, *size)
    vertical = _axis(height, size[0], top, top + crop_height, resample, mode)
    horizontal = _axis(width, size[1], left, left + crop_width, resample, mode)
    image = image[vertical.low : vertical.high, horizontal.low : horizontal.high]
    if mode == "pil" and _is_vertical_first(height, width, size):
        return _horizontally(_vertically(image, vertical.weights), horizontal.weights)
    return _vertically(_horizontally(image, horizontal.weights), vertical.weights)


def _is_vertical_first(height: int, width: int, size: tuple[int, int]) -> bool:
    """Returns Pillow 13's order of passes: vertical first where that shrinks the intermediate picture much more."""
    return height - size[0] > 0 and height - size[0] > 2 * (width - size[1])


def _horizontally(image: NDArray[np.uint8], weights: _Weights | None) -> NDArray[np.uint8]:
    """Returns (h, m, 3) uint8: the weights applied along the rows of (h, w, 3)."""
    if weights is None:
        return np.ascontiguousarray(image)
    height, width, channels = image.shape
    outputs = len(weights.first)
    result = np.empty((height, outputs, channels), np.uint8)
    for top in range(0, height, _STRIP):
        columns = np.asarray(cv2.transpose(image[top : top + _STRIP]), np.uint8)  # (w, strip, 3)
        filtered = _filtered(columns.reshape(width, -1), weights)
        cv2.transpose(filtered.reshape(outputs, -1, channels), dst=result[top : top + _STRIP])
    return result


def _vertically(image: NDArray[np.uint8], weights: _Weights | None) -> NDArray[np.uint8]:
    """Returns (m, w, 3) uint8: the weights applied along the columns of (h, w, 3)."""
    image = np.ascontiguousarray(image)
    if weights is None:
        return image
    height, width, channels = image.shape
    return _filtered(image.reshape(height, -1), weights).reshape(-1, width, channels)


def _filtered(rows: NDArray[np.uint8], weights: _Weights) -> NDArray[np.uint8]:
    """Returns (m, k) uint8: the weights applied along the first axis of (n, k), rounded half up and clipped."""
    sums = _products(rows, weights, np.float32)
    if weights.is_signed:
        np.maximum(sums, 0, out=sums)  # for the next, |sums + beta| rounded half to even and clipped, all in one pass
    result = np.asarray(cv2.convertScaleAbs(sums, beta=weights.error or _NUDGE), np.uint8)
    if weights.error:
        unsure = cv2.convertScaleAbs(sums, beta=-weights.error) != result
        unsure[weights.exact] = False
        places = np.flatnonzero(unsure)
        if len(places) > result.size // _MANY:  # a pattern as fine as the scale; float64 is exact
            return np.clip(np.floor(_products(rows, weights, np.float64) + 0.5), 0, 255).astype(np.uint8)
        if len(places):
            result.ravel()[places] = _summed(rows, weights, *np.divmod(places, rows.shape[1]))
    return result


def _products(rows: NDArray[np.uint8], weights: _Weights, dtype: type[_Float]) -> NDArray[_Float]:
    """Returns the sums (m, k) of the first axis of (n, k), weighted, as computed in `dtype`."""
    sums = np.empty((len(weights.first), rows.shape[1]), dtype)
    inputs = np.empty((max(block.high - block.low for block in weights.blocks), rows.shape[1]), dtype)
    for block in weights.blocks:
        part = inputs[: block.high - block.low]
        np.copyto(part, rows[block.low : block.high])
        np.matmul(block.weights, part, out=sums[block.start : block.stop])
    return sums


def _summed(
    rows: NDArray[np.uint8], weights: _Weights, outputs: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns (p,) int64: the pixels at `outputs`, `columns` (p,) of what `_filtered` makes of (n, k) uint8."""
    integers = weights.integers[outputs]  # (p, taps)
    inputs = weights.first[outputs, None] + np.arange(integers.shape[1])
    sums = np.einsum("pt,pt->p", rows[inputs, columns[:, None]], integers)
    pixels: NDArray[np.int64] = np.clip((sums + (1 << (weights.bits - 1))) >> weights.bits, 0, 255)
    return pixels


@lru_cache(maxsize=256)
def _axis(length: int, target: int, start: int, stop: int, resample: Filter, mode: Mode) -> _Axis:
    """Returns what makes outputs `start` to `stop` of an axis that goes from `length` to `target` samples."""
    if length == target:
        return _Axis(start, stop, None)
    first, weights = _taps(np.arange(start, stop), length, target, resample)
    low, high = int(first[0]), int(first[-1]) + weights.shape[1]
    bits = _PIL_BITS if mode == "pil" else _torchvision_bits(length, target, resample)
    integers = _rounded(weights * (1 << bits)).astype(np.int64)
    blocks = tuple(_blocks(first - low, integers / (1 << bits)))
    error, exact = _error(integers, bits)
    return _Axis(low, high, _Weights(first - low, integers, bits, blocks, error, exact, bool(integers.min() < 0)))


def _blocks(first: NDArray[np.int64], weights: NDArray[np.float64]) -> Iterator[_Block]:
    """Cuts the weights (m, taps) of outputs, which begin at the inputs `first` (m,), into matrices."""
    for start in range(0, len(first), _BLOCK):
        stop = min(start + _BLOCK, len(first))
        low, high = int(first[start]), int(first[stop - 1]) + weights.shape[1]
        matrix = np.zeros((stop - start, high - low), np.float32)
        inputs = first[start:stop, None] - low + np.arange(weights.shape[1])
        np.put_along_axis(matrix, inputs, weights[start:stop].astype(np.float32), axis=1)
        yield _Block(start, stop, low, high, matrix)


def _error(integers: NDArray[np.int64], bits: int) -> tuple[float, NDArray[np.int64]]:
    """Returns the largest error of float32 sums with weights (m, taps) times 2**bits, and the outputs without any.

    Sums are exact, in whatever order, where they stay under 2**24 times the power of two that divides all weights: so
    they are at scales like 2 or 4, where halves, and so pixels to be unsure of, would be many. Other sums of n terms
    are off by less than n * 2**-24 times the sum of their magnitudes; two more are for what follows on the sum.
    """
    total = np.abs(integers).sum(1)
    common = np.gcd.reduce(integers, axis=1)
    unit = common & -common
    is_exact = (total * 255 <= unit << 24) & (1 << bits <= unit << 15)
    if is_exact.all():
        return 0.0, np.flatnonzero(is_exact)
    error = float(total.max()) / (1 << bits) * (integers.shape[1] + 2) * 2.0**-16
    return error, np.flatnonzero(is_exact & (unit > error * (1 << bits)))


def _rounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns x rounded half away from zero."""
    return np.trunc(x + np.copysign(0.5, x))


def _taps(
    outputs: NDArray[np.int64], length: int, target: int, resample: Filter
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns the first inputs (m,) of some outputs (m,), in their order, and their weights (m, taps), summing to 1."""
    scale = length / target
    stretch = max(scale, 1.0)
    centre = (outputs + 0.5) * scale
    radius = _RADIUS[resample] * stretch
    low = np.maximum((centre - radius + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + radius + 0.5).astype(np.int64), length)
    count = int((high - low).max())
    first = np.minimum(low, length - count)  # all have as many taps, some of them 0
    inputs = first[:, None] + np.arange(count)
    weights = _KERNEL[resample](np.abs((inputs - centre[:, None] + 0.5) / stretch))
    weights[(inputs < low[:, None]) | (inputs >= high[:, None])] = 0
    return first, weights / weights.cumsum(1)[:, -1:]  # one after the other, as the references sum


@lru_cache(maxsize=256)
def _torchvision_bits(length: int, target: int, resample: Filter) -> int:
    """Returns torchvision's precision: the most bits that keep the largest weight of the whole axis an int16."""
    largest = 0.0
    for start in range(0, target, _OUTPUTS):
        outputs = np.arange(start, min(start + _OUTPUTS, target))
        largest = max(largest, float(_taps(outputs, length, target, resample)[1].max()))
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
