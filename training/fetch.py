"""`python -m training.fetch`: brings the data sets from their homes and packs them as `originals.py` reads them."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import soundfile
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from services.audio.preprocess import resample
from training.concepts import PHOTOGRAPH_LABELS
from training.originals import ANIMALS, HANDWRITTEN, PHOTOGRAPHS, SPOKEN_DIGITS, members, pack
from training.waves import Wave

_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20
_CLIP_S, _RATE_HZ = 5, 16_000
_CIFAR_CLASSES = PHOTOGRAPH_LABELS  # the data set's own order, which is alphabetical
# The folders of the animal sounds are named in Turkish; some are in parts, such as Kus-Part1.
_ANIMAL_FOLDERS = {"aslan": "lion", "esek": "donkey", "inek": "cow", "kedi": "cat", "kopek": "dog", "koyun": "sheep",
                   "kurbaga": "frog", "kus": "bird", "maymun": "monkey", "tavuk": "chicken"}  # fmt: skip


class FetchError(Exception):
    """A file cannot be had, or is not the one that was expected."""


@dataclass(frozen=True, slots=True)
class Original:
    """A file at its home. md5: as published with it; empty where the home promises no fixed bytes."""

    url: str
    md5: str = ""


HOMES = {
    "cifar": Original("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    "mnist-images": Original("https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
                             "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "mnist-labels": Original("https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz",
                             "d53e105ee54ea40749a09fcbcd1e9432"),
    "spoken": Original("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"),
    "animals": Original("https://github.com/YashNita/Animal-Sound-Dataset/archive/refs/heads/master.tar.gz"),
}  # fmt: skip


def fetch(data: Path, homes: Mapping[str, Original] = HOMES) -> None:
    """Writes the four archives into `data`; those that are there already stay.

    Raises:
        FetchError: a file cannot be had, or its bytes are not those that were published.
    """
    data.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        for name, (parts, write) in _ARCHIVES.items():
            if not (data / name).is_file():
                files = [_download(homes[part], data / f"{part}.download", progress) for part in parts]
                write(data / name, files)
                for file in files:
                    file.unlink()


def _download(original: Original, file: Path, progress: Progress) -> Path:
    """Returns the file, downloaded unless an earlier try did."""
    if file.is_file():
        return file
    digest, partial = hashlib.md5(usedforsecurity=False), file.with_suffix(".part")
    try:
        with urllib.request.urlopen(original.url, timeout=_TIMEOUT_S) as answer, partial.open("wb") as target:  # noqa: S310  # the URLs stand above
            size = answer.headers.get("Content-Length")
            task = progress.add_task(file.stem, total=int(size) if size else None)
            while chunk := answer.read(_CHUNK_BYTES):
                target.write(chunk)
                digest.update(chunk)
                progress.update(task, advance=len(chunk))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as fault:
        raise FetchError(
            f"{original.url} cannot be had ({fault}); try again, or put the file there as {file}"
        ) from None
    if original.md5 and digest.hexdigest() != original.md5:
        raise FetchError(f"{original.url} has the MD5 {digest.hexdigest()}, not {original.md5}; it may be broken")
    return partial.rename(file)


def _photographs(target: Path, files: list[Path]) -> None:
    pack(target, "w", _pictures(files[0]))


def _pictures(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the photographs as PNG files; each record is a label and 32 x 32 of red, of green and of blue."""
    counts = [0] * len(_CIFAR_CLASSES)
    for path, content in members(archive):
        if not path.name.startswith("data_batch"):
            continue
        for record in np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32):
            label, rgb = int(record[0]), record[1:].reshape(3, 32, 32).transpose(1, 2, 0)
            png = cv2.imencode(".png", np.ascontiguousarray(rgb[:, :, ::-1]))[1].tobytes()
            yield f"train/{_CIFAR_CLASSES[label]}/{counts[label]:04}.png", png
            counts[label] += 1


def _handwritten(target: Path, files: list[Path]) -> None:
    """Packs what is in the IDX format: a head of 16 bytes and the pixels; one of 8 bytes and the labels."""
    pixels, labels = (np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8) for file in files)
    np.savez_compressed(target, images=pixels[16:].reshape(-1, 28, 28), labels=labels[8:])


def _spoken(target: Path, files: list[Path]) -> None:
    recordings = ((path, content) for path, content in members(files[0]) if path.parent.name == "recordings")
    pack(target, "w:gz", ((path.name, content) for path, content in recordings if path.suffix == ".wav"))


def _animals(target: Path, files: list[Path]) -> None:
    pack(target, "w", _calls(files[0]))


def _calls(archive: Path) -> Iterator[tuple[str, bytes]]:
    for path, content in members(archive):
        animal = _ANIMAL_FOLDERS.get(path.parent.name.lower().partition("-")[0])
        if animal and path.suffix == ".wav":
            yield f"{animal}/{PurePosixPath(path.name).stem}.flac", _shortened(content)


def _shortened(content: bytes) -> bytes:
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    mono: Wave = np.ascontiguousarray(samples[: _CLIP_S * rate].mean(1))
    stream = io.BytesIO()
    soundfile.write(stream, resample(mono, int(rate), _RATE_HZ), _RATE_HZ, "PCM_16", format="FLAC")
    return stream.getvalue()


_ARCHIVES: Mapping[str, tuple[tuple[str, ...], Callable[[Path, list[Path]], None]]] = {
    PHOTOGRAPHS: (("cifar",), _photographs),
    HANDWRITTEN: (("mnist-images", "mnist-labels"), _handwritten),
    SPOKEN_DIGITS: (("spoken",), _spoken),
    ANIMALS: (("animals",), _animals),
}


def main() -> None:
    """Reads the command line and fetches."""
    parser = argparse.ArgumentParser(prog="python -m training.fetch", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the archives go (data)")
    given = parser.parse_args()
    try:
        fetch(given.data)
    except FetchError as fault:
        parser.exit(1, f"{fault}\n")


if __name__ == "__main__":
    main()
