"""A mesh, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import soundfile

from sensorium.cli.mesh import Mesh, running_mesh


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(log_dir=tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A picture and a sound, as whole files."""
    pixels = np.full((40, 60, 3), 250, np.uint8)
    cv2.putText(pixels, "3", (10, 35), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 3)
    sound = tmp_path_factory.mktemp("sound") / "sound.wav"
    soundfile.write(sound, np.sin(np.arange(8000) / 9).astype(np.float32), 16_000)
    return {"image": bytes(cv2.imencode(".png", pixels)[1]), "audio": sound.read_bytes()}
