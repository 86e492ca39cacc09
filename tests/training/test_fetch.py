"""Data sets fetched from a real server, in the formats of their homes."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")

from training.concepts import LABELS
from training.fetch import FetchError, Original, fetch
from training.originals import read_animals, read_handwritten, read_photographs, read_spoken_digits


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address that a server shows it at."""
    folder = tmp_path / "home"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def wav(rate_hz: int, seconds: float) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.full((int(rate_hz * seconds), 2), 0.25), rate_hz, "PCM_16", format="WAV")
    return stream.getvalue()


def tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_homes(folder: Path, address: str) -> dict[str, Original]:
    record = bytes([3]) + bytes([200]) * 1024 + bytes([100]) * 1024 + bytes([0]) * 1024  # a cat, all orange
    tar(
        folder / "cifar",
        {"cifar-10-batches-bin/data_batch_1.bin": record * 2, "cifar-10-batches-bin/test_batch.bin": record},
    )
    (folder / "mnist-images").write_bytes(gzip.compress(bytes(16) + bytes(range(28)) * 28 * 2))
    (folder / "mnist-labels").write_bytes(gzip.compress(bytes(8) + bytes([7, 2])))
    tar(folder / "spoken", {"fsdd/recordings/7_theo_0.wav": wav(8000, 0.5), "fsdd/README.md": b"x"})
    tar(
        folder / "animals",
        {"a/Kus-Part1/kus_1.wav": wav(44_100, 6), "a/Esek/esek_2.wav": wav(8000, 1), "a/LICENSE": b"x"},
    )
    names = ("cifar", "mnist-images", "mnist-labels", "spoken", "animals")
    return {name: Original(f"{address}/{name}") for name in names}


def test_what_is_fetched_is_what_training_reads(tmp_path: Path, home: tuple[Path, str]) -> None:
    fetch(tmp_path / "data", write_homes(*home))
    photographs = read_photographs(tmp_path / "data", 50_000)
    assert photographs.images.shape == (2, 32, 32, 3)
    assert photographs.images[0, 0, 0].tolist() == [200, 100, 0]
    assert [LABELS[label] for label in photographs.labels] == ["cat", "cat"]
    digits = read_handwritten(tmp_path / "data", 10)
    assert digits.labels.tolist() == [7, 2]
    assert digits.images[0, 5, :, 0].tolist() == list(range(28))
    spoken = read_spoken_digits(tmp_path / "data", 10)
    assert [(clip.label, clip.sample_rate_hz, clip.samples.size) for clip in spoken] == [(7, 8000, 4000)]
    calls = {LABELS[clip.label]: clip for clip in read_animals(tmp_path / "data", 10)}
    assert {name: clip.samples.size for name, clip in calls.items()} == {"bird": 80_000, "donkey": 16_000}
    assert not list((tmp_path / "data").glob("*.download"))


def test_what_was_fetched_is_not_fetched_again(tmp_path: Path, home: tuple[Path, str]) -> None:
    homes = write_homes(*home)
    fetch(tmp_path / "data", homes)
    fetch(tmp_path / "data", {name: Original("http://127.0.0.1:1/nowhere") for name in homes})


def test_other_bytes_than_published_are_refused(tmp_path: Path, home: tuple[Path, str]) -> None:
    homes = write_homes(*home)
    homes["cifar"] = Original(homes["cifar"].url, hashlib.md5(b"other", usedforsecurity=False).hexdigest())
    with pytest.raises(FetchError, match="has the MD5"):
        fetch(tmp_path / "data", homes)
    assert not (tmp_path / "data" / "cifar10-train.tar").exists()


def test_a_home_that_does_not_answer_is_named(tmp_path: Path, home: tuple[Path, str]) -> None:
    homes = write_homes(*home) | {"cifar": Original(f"{home[1]}/gone")}
    with pytest.raises(FetchError, match="/gone cannot be had"):
        fetch(tmp_path / "data", homes)
