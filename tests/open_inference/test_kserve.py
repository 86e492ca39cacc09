"""KServe's own client, in a process and an environment of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sensorium
from sensorium.cli.mesh import Mesh
from tests.open_inference.strangers import answer_of, given

PYTHON = Path(__file__).parents[2] / "build" / "kserve" / "bin" / "python"
CLIENT = [PYTHON, Path(__file__).with_name("kserve_client.py")]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no client of KServe; `make test-kserve` installs it")


def test_kserve_s_client_gets_the_native_vectors(mesh: Mesh, files: dict[str, bytes]) -> None:
    inputs = {"text": given("three", "Grüße"), "image": given(files["image"]), "audio": given(files["audio"])}
    answer = answer_of(CLIENT, address=mesh.address, model="tiny", inputs=inputs)
    with sensorium.Client(mesh.address) as client:
        contents = [sensorium.text("three"), sensorium.text("Grüße")]
        native = client.embed([*contents, sensorium.image(files["image"]), sensorium.audio(files["audio"])]).vectors
    assert (answer["live"], answer["ready"], answer["model_ready"]) == (True, True, True)
    found = [row for kind in ("text", "image", "audio") for row in answer["outputs"][f"{kind}_embedding"]]
    np.testing.assert_allclose(found, native, atol=1e-6)


def test_kserve_s_client_is_told_what_is_wrong(mesh: Mesh) -> None:
    unknown = answer_of(CLIENT, address=mesh.address, model="none-such", inputs={"text": given("a")})
    assert (unknown["model_ready"], unknown["code"]) == (False, "NOT_FOUND")
    broken = answer_of(CLIENT, address=mesh.address, model="tiny", inputs={"image": given("no picture")})
    assert broken["code"] == "INVALID_ARGUMENT"
    assert "inputs[0].contents[0]" in broken["message"]
