"""Times what a call within the caller's own process does before the graph: tokenizing, decoding, preprocessing."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import cv2

from bench.inputs import Inputs, packaged, tokenizer
from bench.models.folder import Models
from services.audio.decode import AudioLimits
from services.audio.decode import decode as decode_audio
from services.audio.preprocess import AudioNumbers
from services.audio.preprocess import preprocess as preprocess_audio
from services.vision.decode import ImageLimits
from services.vision.decode import decode as decode_image
from services.vision.preprocess import ImageNumbers
from services.vision.preprocess import preprocess as preprocess_image
from shared.inference.manifest import read_numbers

_TIMES = 64
_ANY = 1 << 40  # no limit


def prepare_ms(inputs: Inputs, models: Models) -> float:
    """Returns the median milliseconds from a payload to the graph's input, by the services' own functions."""
    prepare = _prepare(inputs.kind, models)
    cv2.setNumThreads(1)  # as in the service
    prepare(inputs.payloads[0])  # tables of a size, caches
    took = []
    for number in range(_TIMES):
        start = time.perf_counter()
        prepare(inputs.payloads[number % len(inputs.payloads)])
        took.append(time.perf_counter() - start)
    return 1e3 * median(took)


def _prepare(kind: str, models: Models) -> Callable[[bytes], object]:
    if kind == "image":
        image = read_numbers(packaged(models, "vit").manifest, ImageNumbers.of)
        return lambda data: preprocess_image(decode_image(data, ImageLimits(_ANY, _ANY)), image)
    if kind == "audio":
        audio = read_numbers(packaged(models, "tiny-audio").manifest, AudioNumbers.of)
        return lambda data: preprocess_audio(*decode_audio(data, AudioLimits(_ANY, _ANY, _ANY)), audio)
    known = tokenizer(models)
    return lambda data: known.encode(data.decode())
