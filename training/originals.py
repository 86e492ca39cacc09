"""Reads the data sets out of their archives, and decides what is held out for evaluation."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np
import soundfile
from numpy.typing import NDArray

from training.concepts import ANIMAL_LABELS, LABELS, PHOTOGRAPH_LABELS

PHOTOGRAPHS, HANDWRITTEN = "cifar10-train.tar", "mnist-train.npz"
SPOKEN_DIGITS, ANIMALS = "spoken-digits-train.tar.gz", "animal-sounds-train.tar"
ARCHIVES = (PHOTOGRAPHS, HANDWRITTEN, SPOKEN_DIGITS, ANIMALS)
HELD_OUT_SPEAKER = "theo"
_HELD_OUT_SHARE = {"photographs": 0.05, "handwritten": 0.12, "animals": 0.15}


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of one size with their labels: images (n, h, w, 3) uint8 RGB, labels (n,), is_held_out (n,) bool."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    is_held_out: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: (n,) float32 mono samples at their own rate, its label, and whether it is held out."""

    samples: NDArray[np.float32]
    sample_rate_hz: int
    label: int
    is_held_out: bool


def read_photographs(folder: Path, limit: int) -> Pictures:
    """Returns CIFAR-10 photographs (n, 32, 32, 3); the last 5 % of each class are held out."""
    images, labels, held_out = [], [], []
    per_class = limit // len(PHOTOGRAPH_LABELS)
    for path, content in members(folder / PHOTOGRAPHS):
        name, number = path.parts[-2], int(path.stem)
        if number >= per_class:
            continue
        images.append(decode_picture(content))
        labels.append(LABELS.index(name))
        held_out.append(number >= per_class * (1 - _HELD_OUT_SHARE["photographs"]))
    return Pictures(np.stack(images), np.array(labels), np.array(held_out))


def read_handwritten(folder: Path, limit: int) -> Pictures:
    """Returns MNIST digits (n, 28, 28, 3), light on dark; the last 12 % are held out."""
    with np.load(folder / HANDWRITTEN) as archive:
        grey, labels = archive["images"][:limit], archive["labels"][:limit].astype(np.int64)
    held_out = np.arange(len(labels)) >= len(labels) * (1 - _HELD_OUT_SHARE["handwritten"])
    return Pictures(np.repeat(grey[:, :, :, None], 3, 3), labels, held_out)


def read_spoken_digits(folder: Path, limit: int) -> list[Clip]:
    """Returns spoken digits; one speaker is held out whole."""
    clips = []
    for path, content in members(folder / SPOKEN_DIGITS):
        digit, speaker, _ = path.stem.split("_")
        samples, rate = _decode(content)
        clips.append(Clip(samples, rate, int(digit), speaker == HELD_OUT_SPEAKER))
    return _thin(clips, limit)


def read_animals(folder: Path, limit: int) -> list[Clip]:
    """Returns animal calls; the last 15 % of each animal's files are held out."""
    found = sorted(members(folder / ANIMALS), key=lambda member: member[0])
    clips = []
    for animal in ANIMAL_LABELS:
        own = [content for path, content in found if path.parent.name == animal]
        kept = round(len(own) * (1 - _HELD_OUT_SHARE["animals"]))
        for number, content in enumerate(own):
            clips.append(Clip(*_decode(content), LABELS.index(animal), number >= kept))
    return _thin(clips, limit)


def decode_picture(content: bytes) -> NDArray[np.uint8]:
    """Returns (h, w, 3) uint8 RGB of an encoded picture."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None, "no picture"
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _thin(clips: list[Clip], limit: int) -> list[Clip]:
    """Returns at most `limit` of the clips, spread evenly."""
    return clips[:: max(1, len(clips) // limit)][:limit]


def _decode(content: bytes) -> tuple[NDArray[np.float32], int]:
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return samples.mean(1), int(rate)


def pack(archive: Path, mode: Literal["w", "w:gz"], files: Iterable[tuple[str, bytes]]) -> None:
    """Writes an archive of files, each a name and its content; it appears once it is whole."""
    partial = archive.with_name(f"{archive.name}.part")
    with tarfile.open(partial, mode) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    partial.rename(archive)


def members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields path and content of every file of an archive, in the archive's order."""
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield PurePosixPath(member.name), stream.read()
