"""The things that the demo shows to the mesh: the samples of `demo/inputs`, and texts and vectors made on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import sensorium
from sensorium.v1.content_pb2 import Content

Kind = Literal["text", "image", "audio", "vector"]

INDEX = "samples.json"


class SamplesError(Exception):
    """The folder of samples is missing, or its index and its files do not agree."""


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """One text, picture, sound or vector.

    name: what a reader calls it; of a sample, its caption.
    meaning: what it shows or says; things that mean the same have the same meaning; empty where that is not known.
    path: of a sample, its file as seen from the root of the checkout.
    """

    name: str
    kind: Kind
    content: Content
    meaning: str = ""
    path: str = ""

    @property
    def media(self) -> bytes:
        """The encoded file of a picture or a sound; empty for the others."""
        return self.content.image.data if self.kind == "image" else self.content.audio.data


def load_samples(folder: Path) -> Sequence[Thing]:
    """Returns the samples that a folder's index lists, in its order.

    Raises:
        SamplesError: the index is missing or wrong, or a file that it lists is.
    """
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        samples = [_sample(folder, entry) for entry in entries]
    except FileNotFoundError as fault:
        raise SamplesError(
            f"{fault.filename} is missing; the samples of the demo lie in a checkout of Sensorium, in demo/inputs"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise SamplesError(f"{folder / INDEX} cannot be read: {fault}") from None
    if not samples:
        raise SamplesError(f"{folder / INDEX} lists no samples")
    return samples


def pick(samples: Sequence[Thing], kind: Kind, *meanings: str) -> list[Thing]:
    """Returns the samples of a kind that mean one of `meanings`, in that order; without meanings all of the kind.

    Raises:
        SamplesError: there is none for a meaning.
    """
    of_kind = [sample for sample in samples if sample.kind == kind]
    if not meanings:
        return of_kind
    found = {meaning: [sample for sample in of_kind if sample.meaning == meaning] for meaning in meanings}
    missing = [meaning for meaning, things in found.items() if not things]
    if missing:
        raise SamplesError(f"demo/inputs/{INDEX} lists no {kind} with the caption {missing[0]!r}, which the tour needs")
    return [thing for things in found.values() for thing in things]


def text(words: str, meaning: str = "") -> Thing:
    """Returns a text; by default it means itself."""
    return Thing(words, "text", sensorium.text(words), meaning or words)


def vector(name: str, values: NDArray[np.float32], space: str, meaning: str = "") -> Thing:
    """Returns a (dim,) vector as a thing."""
    return Thing(name, "vector", sensorium.embedding(values, space=space), meaning)


def broken(sample: Thing, name: str) -> Thing:
    """Returns a picture or sound whose file ends in the middle."""
    half = sample.media[: len(sample.media) // 2]
    return of_bytes(name, "image" if sample.kind == "image" else "audio", half)


def of_bytes(name: str, kind: Literal["image", "audio"], data: bytes) -> Thing:
    """Returns bytes that are sent as a picture or a sound, whatever they are."""
    return Thing(name, kind, sensorium.image(data) if kind == "image" else sensorium.audio(data))


def _sample(folder: Path, entry: dict[str, str]) -> Thing:
    file, modality, caption = folder / entry["file"], entry["modality"], entry["caption"]
    path = f"demo/inputs/{entry['file']}"
    if modality == "image":
        return Thing(caption, "image", sensorium.image(file.read_bytes()), caption, path)
    if modality == "audio":
        return Thing(caption, "audio", sensorium.audio(file.read_bytes()), caption, path)
    raise ValueError(f"{entry['file']} is of the modality {modality!r}, not image or audio")
