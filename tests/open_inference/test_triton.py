"""A client that never saw our protos: `tritonclient`, in a process and an environment of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.cli.mesh import Mesh, running_mesh
from shared.hosting.config import HostingConfig
from tests.open_inference.strangers import answer_of, given

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build" / "tritonclient" / "bin" / "python"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no tritonclient; `make test` installs it")

SHIPPED = HostingConfig().models
TEXTS = ["three", "Grüße, 三"]


def address_of(mesh: Mesh, name: str) -> str:
    return next(each.address for each in mesh.services if each.name == name)


def triton(step: str, address: str, **asked: Any) -> Any:
    """Runs a step; Any: JSON."""
    return answer_of([PYTHON, Path(__file__).with_name("triton.py"), step], address=address, **asked)


@pytest.mark.parametrize(("name", "kind"), [("text", "text"), ("vision", "image"), ("audio", "audio")])
def test_an_encoder_gives_the_native_vectors(mesh: Mesh, files: dict[str, bytes], name: str, kind: str) -> None:
    elements = TEXTS if kind == "text" else [files[kind], files[kind]]
    answer = triton("infer", address_of(mesh, name), model=f"tiny-{name}", inputs={kind: given(*elements)})
    single = triton("infer", address_of(mesh, name), model=f"tiny-{name}", inputs={kind: given(elements[0])})
    makers: dict[str, Any] = {"text": sensorium.text, "image": sensorium.image, "audio": sensorium.audio}
    with sensorium.Client(mesh.address) as client:
        native = client.embed([makers[kind](each) for each in elements]).vectors
    assert answer["id"] == "7"
    np.testing.assert_allclose(answer["outputs"]["embedding"], native, atol=1e-6)
    np.testing.assert_allclose(single["outputs"]["embedding"], native[:1], atol=1e-6)


def test_the_orchestrator_takes_all_kinds_in_one_call(mesh: Mesh, files: dict[str, bytes]) -> None:
    inputs = {"text": given(*TEXTS), "image": given(files["image"]), "audio": given(files["audio"])}
    answer = triton("infer", mesh.address, model="tiny", inputs=inputs)
    with sensorium.Client(mesh.address) as client:
        contents = [*map(sensorium.text, TEXTS), sensorium.image(files["image"]), sensorium.audio(files["audio"])]
        native = client.embed(contents).vectors
    found = [row for kind in ("text", "image", "audio") for row in answer["outputs"][f"{kind}_embedding"]]
    np.testing.assert_allclose(found, native, atol=1e-6)
    only = triton("infer", mesh.address, model="tiny", inputs=inputs, outputs=["image_embedding"])
    assert list(only["outputs"]) == ["image_embedding"]


def test_the_fusion_service_joins_rows(mesh: Mesh, files: dict[str, bytes]) -> None:
    with sensorium.Client(mesh.address) as client:
        parts = [sensorium.text("three"), sensorium.image(files["image"])]
        rows = client.embed(parts).vectors
        native = client.fuse([parts]).vectors
    inputs = {"text": rows[:1].tolist(), "image": rows[1:].tolist()}
    answer = triton("infer", address_of(mesh, "fusion"), model="tiny-fusion", inputs=inputs)
    np.testing.assert_allclose(answer["outputs"]["embedding"], native, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "model"), [("text", "tiny-text"), ("fusion", "tiny-fusion"), ("orchestrator", "tiny")]
)
def test_a_server_and_its_models_describe_themselves(mesh: Mesh, name: str, model: str) -> None:
    about = triton("about", address_of(mesh, name), model=model)
    assert (about["live"], about["ready"], about["model_ready"], about["other_ready"]) == (True, True, True, False)
    assert about["server"]["name"] == f"sensorium-{name}"
    assert about["model"]["name"] == model
    assert {each["datatype"] for each in about["model"]["outputs"]} == {"FP32"}
    assert {"name": model, "version": "1", "state": "READY"} in about["index"]["models"]


def test_a_stream_goes_on_after_an_error(mesh: Mesh) -> None:
    models = ["tiny", "none-such", "tiny"]
    first, wrong, last = triton("stream", mesh.address, models=models, inputs={"text": given("three")})
    assert first == last
    assert "none-such" in wrong
    assert "tiny@1" in wrong


def test_a_model_goes_and_comes_back(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "tiny-text", tmp_path / "models" / "tiny-text")
    spare = tmp_path / "models" / "tiny-text-spare" / "1"
    shutil.copytree(SHIPPED / "tiny-text" / "1", spare)
    manifest = json.loads((spare / "manifest.json").read_text())
    (spare / "manifest.json").write_text(json.dumps({**manifest, "name": "tiny-text-spare"}))
    with running_mesh(tmp_path / "models", log_dir=tmp_path / "logs") as mesh:
        for address, name in ((address_of(mesh, "text"), "tiny-text-spare"), (mesh.address, "tiny-text-spare")):
            assert triton("load", address, model=name) == {"gone": False}
        assert triton("about", address_of(mesh, "text"), model="tiny-text-spare")["model_ready"] is True


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ({"model": "none-such", "inputs": {"text": given("a")}}, "NOT_FOUND", "tiny@1"),
        ({"model": "tiny", "inputs": {"image": given("no picture")}}, "INVALID_ARGUMENT", "inputs[0].contents[0]"),
        ({"model": "tiny", "inputs": {"smell": given("a")}}, "INVALID_ARGUMENT", "text, image, audio"),
        ({"model": "tiny", "inputs": {"text": [[1.0, 2.0]]}}, "INVALID_ARGUMENT", "BYTES"),
        ({"model": "tiny", "inputs": {"text": given(b"\xff\xfe")}}, "INVALID_ARGUMENT", "UTF-8"),
        ({"model": "tiny", "inputs": {"text": given("a")}, "outputs": ["x"]}, "INVALID_ARGUMENT", "text_embedding"),
        (
            {"model": "tiny", "inputs": {"text": given("a")}, "options": {"parameters": {"dimensions": 4000}}},
            "INVALID_ARGUMENT",
            "parameters[dimensions]",
        ),
        (
            {"model": "tiny", "inputs": {"text": given("a")}, "options": {"parameters": {"colour": "red"}}},
            "INVALID_ARGUMENT",
            "colour",
        ),
        (
            {"model": "tiny", "inputs": {"text": given("a new text")}, "options": {"timeout": 1}},
            "DEADLINE_EXCEEDED",
            "",
        ),
        ({"model": "tiny", "inputs": {"text": given(*"abc" * 100)}}, "INVALID_ARGUMENT", "256"),
    ],
)
def test_what_is_wrong_has_the_right_status(mesh: Mesh, asked: dict[str, Any], code: str, says: str) -> None:
    answer = triton("infer", mesh.address, **asked)
    assert answer.get("code") == code, answer
    assert says in answer["message"]
