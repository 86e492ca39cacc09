"""One mesh for all tests of the command line, files to give to it, and a way to run a command in this process."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import sensorium
from sensorium.cli import main
from sensorium.cli.mesh import Mesh, running_mesh


@dataclass(frozen=True)
class Files:
    """Two real pictures, a real sound, and a picture that ends early."""

    folder: Path
    red: Path
    blue: Path
    tone: Path
    broken: Path


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    found = Files(folder, *(folder / name for name in ("red.png", "blue.png", "tone.wav", "broken.png")))
    for path, colour in ((found.red, (220, 20, 20)), (found.blue, (20, 20, 220))):
        pixels = np.full((48, 48, 3), 255, np.uint8)
        pixels[12:36, 12:36] = colour
        path.write_bytes(sensorium.image(pixels).image.data)
    found.broken.write_bytes(found.red.read_bytes()[:60])
    with wave.open(str(found.tone), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes((8000 * np.sin(np.arange(8000) * 0.35)).astype("<i2").tobytes())
    return found


@pytest.fixture(scope="session")
def mesh() -> Iterator[Mesh]:
    with running_mesh(start_timeout_s=30.0) as mesh:
        yield mesh


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""

    def run(*arguments: object) -> Done:
        code = main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def ask(mesh: Mesh, run: Run) -> Run:
    """Runs a command against the mesh."""

    def ask(command: str, *arguments: object) -> Done:
        return run(command, "--address", mesh.address, *arguments)

    return ask
