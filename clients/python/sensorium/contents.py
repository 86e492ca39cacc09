"""Makes the things that a mesh understands. What a thing is, is said by which function makes it, and never guessed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sensorium import vectors
from sensorium.errors import InvalidInput
from sensorium.v1 import content_pb2
from sensorium.v1.content_pb2 import Audio, Content, Pcm
from sensorium.v1.embedding_pb2 import Embedding
from sensorium.v1.orchestrator_pb2 import FuseItem, FusePart, Label

# The names of the modalities, wherever people write them.
MODALITY_OF: Mapping[str, content_pb2.Modality.ValueType] = {
    "text": content_pb2.MODALITY_TEXT,
    "image": content_pb2.MODALITY_IMAGE,
    "audio": content_pb2.MODALITY_AUDIO,
}


def text(words: str) -> Content:
    """Makes a text.

    Raises:
        TypeError: it is no str.
        InvalidInput: UTF-8 cannot say it.
    """
    if not isinstance(words, str):
        raise TypeError(f"a text is a str, not {type(words).__name__}")
    try:
        return Content(text=words)
    except UnicodeEncodeError:  # half a surrogate pair: bytes that were not UTF-8 when they became a str
        raise InvalidInput("holds bytes that were no UTF-8; give it as Unicode", field="text") from None


def image(picture: Path | bytes | NDArray[np.uint8]) -> Content:
    """Makes a picture: a file by its path, the bytes of a file, or RGB pixels (h, w, 3) uint8.

    Raises:
        OSError: the file cannot be read.
        TypeError: it is none of these; a path is a `pathlib.Path`, so that no string is ever taken for one.
    """
    if isinstance(picture, np.ndarray):
        return Content(image=content_pb2.Image(data=_png(picture)))
    return Content(image=content_pb2.Image(data=_read(picture, "picture")))


def audio(sound: Path | bytes | NDArray[Any], sample_rate_hz: int | None = None) -> Content:
    """Makes a sound: a file by its path, the bytes of a file, or samples (n,) or (n, channels) with their rate.

    Samples are float32 with a full scale of 1, or int16 (Any: either of the two).

    Raises:
        OSError: the file cannot be read.
        TypeError: it is none of these, or samples came without `sample_rate_hz`.
    """
    if isinstance(sound, np.ndarray):
        if sample_rate_hz is None:
            raise TypeError("samples need their sample_rate_hz")
        return Content(audio=content_pb2.Audio(pcm=_pcm(sound, sample_rate_hz)))
    return Content(audio=content_pb2.Audio(data=_read(sound, "sound")))


def embedding(vector: ArrayLike, space: str = "") -> Content:
    """Makes a content of a vector (dim,) that is there already; it stands for the thing itself.

    Raises:
        TypeError: it is of another shape; several vectors are several contents.
    """
    row = np.asarray(vector, np.float32)
    if row.ndim != 1:
        raise TypeError(f"a vector is (dim,), not {row.shape}")
    return Content(embedding=vectors.write(row, space))


def label(name: str, examples: Sequence[Content] = (), *, is_tag: bool = False) -> Label:
    """Makes a class: named by text, shown by examples, or both; `is_tag` keeps the name from being read as text."""
    return Label(name=name, examples=examples, is_tag=is_tag)


def part(content: Content, weight: float = 1.0, modality: str | None = None) -> FusePart:
    """Makes one view of a thing to fuse; an embedding needs its `modality`: text, image or audio."""
    if modality and modality not in MODALITY_OF:
        raise ValueError(f"modality is {modality!r}; give text, image or audio")
    made_from = MODALITY_OF[modality] if modality else content_pb2.MODALITY_UNSPECIFIED
    return FusePart(content=content, weight=weight, modality=made_from)


def fuse_items(items: Sequence[Sequence[Content | FusePart]]) -> list[FuseItem]:
    """Returns items of which each part may be a content alone."""
    return [
        FuseItem(parts=[each if isinstance(each, FusePart) else FusePart(content=each) for each in item])
        for item in items
    ]


def audios_of(sounds: Sequence[Content]) -> list[Audio]:
    """Returns the sounds of contents that are nothing else; raises TypeError where one is."""
    if strange := [each.WhichOneof("kind") for each in sounds if not each.HasField("audio")]:
        raise TypeError(f"windows are of sounds, not of {strange[0]}")
    return [each.audio for each in sounds]


def embeddings_of(contents: Sequence[Content]) -> list[Embedding]:
    """Returns the vectors of contents that are nothing else; raises TypeError where one is."""
    if strange := [each.WhichOneof("kind") for each in contents if not each.HasField("embedding")]:
        raise TypeError(f"only embeddings are carried to another space, not {strange[0]}; embed it there")
    return [each.embedding for each in contents]


def _read(source: Path | bytes, what: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Path):
        return source.read_bytes()
    raise TypeError(f"a {what} is a pathlib.Path, bytes or a numpy array, not {type(source).__name__}")


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Returns (h, w, 3) uint8 RGB as a PNG file, without loss (PNG specification, 2nd edition)."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise TypeError(f"pixels are (h, w, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row starts with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _pcm(samples: NDArray[Any], sample_rate_hz: int) -> Pcm:
    if samples.ndim not in (1, 2):
        raise TypeError(f"samples are (n,) or (n, channels), not {samples.shape}")
    is_int16 = samples.dtype == np.int16
    if not is_int16 and samples.dtype not in (np.float32, np.float64):
        raise TypeError(f"samples are float32 or int16, not {samples.dtype}")
    return Pcm(
        samples=np.ascontiguousarray(samples, "<i2" if is_int16 else "<f4").tobytes(),
        format=content_pb2.PCM_FORMAT_INT16 if is_int16 else content_pb2.PCM_FORMAT_FLOAT32,
        sample_rate_hz=sample_rate_hz,
        channel_count=1 if samples.ndim == 1 else samples.shape[1],
    )
