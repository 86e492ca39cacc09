"""`python -m bench.resize`: times the vision service's exact resize against Pillow's, on one core."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when NumPy loads its BLAS

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from services.vision.resize import Filter, Mode, resize, shortest_edge

_EDGE = 224
_SIZES = ((480, 640), (1080, 1920), (3000, 4000))  # (height, width)
_WAYS = ("whole", "crop", "stretch")
_FILTERS: tuple[Filter, ...] = ("bilinear", "bicubic")
_MODES: tuple[Mode, ...] = ("torchvision", "pil")


@dataclass(frozen=True, slots=True)
class Timing:
    """Median milliseconds of one case; `ratio` is the median over the rounds of ours / Pillow's."""

    picture: str
    way: str
    resample: str
    mode: str
    ours_ms: float
    pillow_ms: float
    ratio: float


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Returns (height, width, 3) uint8 that looks like a photograph: ever finer detail, ever fainter, and noise."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128, np.float32)
    cells = 2
    while cells < max(height, width):
        detail = rng.normal(0, 90 * cells**-0.5, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(detail, (width, height), interpolation=cv2.INTER_LINEAR)
        cells *= 2
    picture += 3 * rng.standard_normal(picture.shape, np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def timings(rounds: int) -> Iterator[Timing]:
    """Times every case, both modes and Pillow in turn in each round."""
    for height, width in _SIZES:
        image = photograph(height, width)
        for way in _WAYS:
            for resample in _FILTERS:
                runs = [_ours(image, way, resample, mode) for mode in _MODES]
                *ours, pillow = _alternated([*runs, _pillow(image, way, resample)], rounds)
                for mode, seconds in zip(_MODES, ours, strict=True):
                    ratio = median(mine / other for mine, other in zip(seconds, pillow, strict=True))
                    case = (f"{width}x{height}", way, resample, mode)
                    yield Timing(*case, _milliseconds(seconds), _milliseconds(pillow), round(ratio, 2))


def _ours(image: NDArray[np.uint8], way: str, resample: Filter, mode: Mode) -> Callable[[], object]:
    size, (left, top, right, bottom) = _target(image, way)
    crop = (top, left, bottom - top, right - left)
    return lambda: resize(image, size, crop, resample=resample, mode=mode)


def _pillow(image: NDArray[np.uint8], way: str, resample: Filter) -> Callable[[], object]:
    size, box = _target(image, way)
    picture = Image.fromarray(image)
    chosen = Image.Resampling[resample.upper()]
    if way != "crop":
        return lambda: picture.resize(size[::-1], chosen)
    return lambda: np.asarray(picture.resize(size[::-1], chosen).crop(box))


def _target(image: NDArray[np.uint8], way: str) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Returns the size (height, width) to resize to and the box (left, top, right, bottom) of it that is kept."""
    if way == "stretch":
        return (_EDGE, _EDGE), (0, 0, _EDGE, _EDGE)
    height, width = shortest_edge(image.shape[0], image.shape[1], _EDGE)
    if way == "whole":
        return (height, width), (0, 0, width, height)
    top, left = (height - _EDGE) // 2, (width - _EDGE) // 2
    return (height, width), (left, top, left + _EDGE, top + _EDGE)


def _alternated(runs: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Returns the seconds of each run in each round, after a round that only warms up."""
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 1):
        for place in range(
            turn, turn + len(runs)
        ):  # each is first in turn: what ran before leaves its mark on the cache
            start = time.perf_counter()
            runs[place % len(runs)]()
            if turn:
                seconds[place % len(runs)].append(time.perf_counter() - start)
    return seconds


def _milliseconds(seconds: list[float]) -> float:
    return round(median(seconds) * 1000, 2)


def _table(results: list[Timing]) -> Table:
    table = Table(title=f"To {_EDGE}: medians in ms, and ours / Pillow", title_justify="left")
    for name in ("picture", "way", "filter", "mode"):
        table.add_column(name)
    for name in ("ours", "Pillow", "ratio"):
        table.add_column(name, justify="right")
    for result in results:
        numbers = (result.ours_ms, result.pillow_ms, result.ratio)
        table.add_row(result.picture, result.way, result.resample, result.mode, *(f"{each:.2f}" for each in numbers))
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.resize",
        description="Times the vision service's resize against Pillow's on the same pictures, one core, in "
        "alternation. Ways: the whole picture with the shortest edge 224; of that the centre 224x224, as CLIP "
        "crops it; stretched to 224x224. Ours keeps the weights of a size that it has seen, as it does in the service.",
    )
    parser.add_argument("--rounds", type=int, default=15, help="how often each case is timed (15)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds: {given.rounds} is less than 1")
    return given


def main() -> None:
    """Reads the command line, times and prints."""
    given = _arguments()
    cv2.setNumThreads(1)
    results = list(timings(given.rounds))
    if given.json:
        versions: dict[str, Any] = {"pillow": PIL.__version__, "numpy": np.__version__, "opencv": cv2.__version__}
        print(json.dumps({"versions": versions, "rounds": given.rounds, "timings": [asdict(each) for each in results]}))
    else:
        Console().print(_table(results))


if __name__ == "__main__":
    main()
