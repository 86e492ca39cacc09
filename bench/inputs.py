"""Makes what is encoded: texts, pictures and clips, the same in every run, and the model input that each becomes."""

from __future__ import annotations

import io
import math
import random
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from bench.models.folder import Models
from bench.models.vocabulary import text
from bench.resize import photograph
from services.audio.preprocess import AudioNumbers, preprocess
from shared.inference.manifest import read_numbers
from shared.inference.package import Package, open_package

Feed = Mapping[str, NDArray[Any]]  # a batch by the names of the graph's inputs

TEXTS = ("short", "mixed")
KINDS = (*TEXTS, "image", "audio")
TEXT_COUNT = 512
_SHORT = (9, 15)  # tokens, ends included
_MIXED = (8, 128)
_FILES = 16
_SIZE = (480, 640)
_QUALITY = 90
_CLIP_S, _RATE_HZ = 5.0, 16_000


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of one kind.

    payloads: each as a caller has it: UTF-8, JPEG, WAV.
    lengths: tokens of each; 1 for pictures and clips, which are all of one size.
    feeds: makes one batch of the inputs at these places, padded to its longest.
    """

    kind: str
    payloads: Sequence[bytes]
    lengths: Sequence[int]
    feeds: Callable[[Sequence[int]], Feed]

    def batches(self, size: int, *, is_sorted: bool = False) -> Sequence[tuple[Feed, int]]:
        """Returns all inputs in batches, in their order or by length, each with how many it holds."""
        places = sorted(range(len(self.payloads)), key=self.lengths.__getitem__) if is_sorted else range(
            len(self.payloads))  # fmt: skip
        cut = [places[start : start + size] for start in range(0, len(places), size)]
        return [(self.feeds(each), len(each)) for each in cut]

    def padding(self, size: int, *, is_sorted: bool = False) -> float:
        """Returns the padded over the real length of those batches."""
        lengths = sorted(self.lengths) if is_sorted else list(self.lengths)
        cut = [lengths[start : start + size] for start in range(0, len(lengths), size)]
        return sum(max(each) * len(each) for each in cut) / sum(lengths)


def inputs(kind: str, models: Models, text_count: int = TEXT_COUNT) -> Inputs:
    """Returns the inputs of a kind, one of KINDS."""
    if kind == "image":
        return _pictures()
    if kind == "audio":
        return _clips(models)
    return texts(kind, _SHORT if kind == "short" else _MIXED, tokenizer(models), text_count)


def tokenizer(models: Models) -> Tokenizer:
    """Returns the tokenizer of the text model."""
    return Tokenizer.from_file(str(models.text / "tokenizer.json"))


def texts(kind: str, bounds: tuple[int, int], known: Tokenizer, count: int = TEXT_COUNT) -> Inputs:
    """Returns texts whose token counts are log-uniform between the bounds, both included."""
    rng = random.Random(kind)  # noqa: S311  # the same texts in every run
    low, high = math.log(bounds[0]), math.log(bounds[1] + 1)
    found: list[str] = []
    ids: list[list[int]] = []
    while len(found) < count:
        wanted = int(math.exp(rng.uniform(low, high)))
        made = text(wanted, rng)
        encoded = known.encode(made).ids
        if len(encoded) == wanted:  # else two pieces met that are another piece together
            found.append(made)
            ids.append(encoded)

    def feeds(places: Sequence[int]) -> Feed:
        longest = max(len(ids[place]) for place in places)
        batch = np.zeros((2, len(places), longest), np.int64)
        for row, place in enumerate(places):
            batch[:, row, : len(ids[place])] = ids[place], [1] * len(ids[place])
        return {"input_ids": batch[0], "attention_mask": batch[1], "token_type_ids": np.zeros_like(batch[0])}

    return Inputs(kind, [each.encode() for each in found], [len(each) for each in ids], feeds)


def _pictures() -> Inputs:
    files = []
    for seed in range(_FILES):
        picture = cv2.cvtColor(photograph(*_SIZE, seed), cv2.COLOR_RGB2BGR)
        is_done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        assert is_done
        files.append(encoded.tobytes())
    rows = [pixels(each) for each in files]

    def feeds(places: Sequence[int]) -> Feed:
        return {"pixel_values": np.stack([rows[place] for place in places])}

    return Inputs("image", files, [1] * len(files), feeds)


def pixels(jpeg: bytes) -> NDArray[np.float32]:
    """Returns (3, 224, 224) float32 as ViTImageProcessor makes it, by Pillow: what ours is compared with."""
    small = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    scaled: NDArray[np.float32] = np.asarray(small, np.float32) / np.float32(127.5) - np.float32(1)
    rows: NDArray[np.float32] = scaled.transpose(2, 0, 1)
    return rows


def _clips(models: Models) -> Inputs:
    package = packaged(models, "tiny-audio")
    numbers = read_numbers(package.manifest, AudioNumbers.of)
    samples = [_sound(seed) for seed in range(_FILES)]
    rows = [preprocess(each, _RATE_HZ, numbers).rows[0].arrays for each in samples]

    def feeds(places: Sequence[int]) -> Feed:
        return {name: np.stack([rows[place][name] for place in places]) for name in rows[0]}

    return Inputs("audio", [_wav(each) for each in samples], [1] * len(samples), feeds)


def packaged(models: Models, name: str) -> Package:
    """Returns one of the packages that are timed."""
    return open_package(models.packages / name / "1")


def _sound(seed: int) -> NDArray[np.float32]:
    """Returns 5 s of a few tones and noise, as 16 bits hold it."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(_CLIP_S * _RATE_HZ)) / _RATE_HZ
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in rng.uniform(80, 4000, 5))
    sound = 0.1 * tones + 0.02 * rng.standard_normal(time.size)
    rounded: NDArray[np.float32] = (np.round(sound * 32767) / 32768).astype(np.float32)
    return rounded


def _wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(_RATE_HZ)
        out.writeframes((samples * 32768).astype("<i2").tobytes())
    return file.getvalue()
