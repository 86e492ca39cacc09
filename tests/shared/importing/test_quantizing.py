"""One command makes an int8 package, and says what it costs, or keeps nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.cli import main
from services.trial import encode
from shared.importing.quantizing import Costs, compare
from shared.inference.package import open_package
from tests.conformance import exports

SHIPPED = Path(__file__).parents[3] / "models"
TEXTS = [
    f"{size} {thing}" for size in ("a small", "one red") for thing in ("dog", "cat", "circle", "seven", "bird", "car")
]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "tiny-text", tmp_path / "models" / "tiny-text")
    return tmp_path / "models"


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join([*TEXTS, "", TEXTS[0]]))
    return file


def quantize(models: Path, name: str, inputs: Path | str, *options: str) -> int:
    return main(["models", "quantize", name, "--inputs", str(inputs), "--models", str(models), *options])


def report(captured: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(captured.readouterr().out)
    return found


def test_an_int8_package_is_written_measured_and_of_a_space_of_its_own(
    models: Path, sentences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(models, "tiny-text", sentences, "--way", "static", "--json") == 0
    facts = report(capsys)
    assert (facts["package"], facts["of"]) == ("tiny-text-int8@1", "tiny-text@1")
    assert (facts["calibration_count"], facts["held_out_count"]) == (9, 3)
    assert 0.99 < facts["minimum_cosine"] <= facts["mean_cosine"] <= 1
    assert facts["size_ratio"] < 0.4
    assert facts["latency_ratio"] > 0
    assert facts["neighbour_agreement"] > 0.5
    assert facts["largest_pair_change"] < 0.1
    package, original = open_package(models / "tiny-text-int8" / "1"), open_package(models / "tiny-text" / "1")
    assert (package.manifest.space, package.precision) == ("tiny-text-int8@1", "int8")
    assert package.manifest.source.endswith("tiny-text@1 quantized to int8")
    assert package.manifest.calibration == original.manifest.calibration
    kept = json.loads(package.path("manifest.json").read_text())["training"]["quantization"]
    assert kept["minimum_cosine"] == facts["minimum_cosine"]


def test_every_way_is_measured_and_the_fastest_that_is_near_enough_is_kept(
    models: Path, sentences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(models, "tiny-text", sentences, "--json") == 0
    facts = report(capsys)
    assert ([each["way"] for each in facts["ways"]], facts["failed"]) == (["static", "weights", "dynamic"], {})
    good = [each for each in facts["ways"] if each["minimum_cosine"] >= 0.99]
    assert facts["int8_ms"] == min(each["int8_ms"] for each in good)
    (weights,) = (each for each in good if each["way"] == "weights")
    assert weights["minimum_cosine"] > 0.999
    kept = json.loads((models / "tiny-text-int8" / "1" / "manifest.json").read_text())
    assert kept["training"]["quantization"]["way"] == facts["way"]
    assert "reference.npz" in kept["files"]


@pytest.mark.parametrize("way", ["static", "weights", "dynamic"])
def test_a_vector_of_an_int8_package_depends_on_its_own_input_alone(models: Path, sentences: Path, way: str) -> None:
    assert quantize(models, "tiny-text", sentences, "--way", way, "--json") == 0
    package = open_package(models / "tiny-text-int8" / "1")
    alone = np.concatenate([encode(package, [text]) for text in TEXTS])
    assert np.abs(encode(package, TEXTS) - alone).max() < 1e-5


def test_under_the_minimum_nothing_is_kept_unless_it_is_forced(
    models: Path, sentences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = ("--minimum-cosine", "1", "--no-per-channel", "--way", "static")
    assert quantize(models, "tiny-text", sentences, *strict) == 1
    assert "is not kept: its least cosine to fp32 is 0.9" in capsys.readouterr().err
    assert [path.name for path in models.iterdir()] == ["tiny-text"]
    options = (*strict, "--force", "--same-space", "--name", "small", "--version", "7")
    assert quantize(models, "tiny-text", sentences, *options) == 0
    assert open_package(models / "small" / "7").manifest.space == "tiny@1"


def test_pictures_and_weights_beside_the_graph_are_taken_too(
    models: Path, sentences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHIPPED / "tiny-vision", models / "tiny-vision")
    assert quantize(models, "tiny-vision", str(exports.HERE / "inputs" / "odd" / "exif_*.*g"), "--force") == 0
    external = exports.add(models, "bert_external")
    assert quantize(models, external, sentences, "--force") == 0
    files = open_package(models / f"{external}-int8" / "1").manifest.files
    assert [name for name in files if "onnx" in name] == ["onnx/model.onnx"]
    assert "kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "lines", "code", "said"),
    [
        ("tiny-text", TEXTS[:7], 4, "inputs: are 7 different ones; give 8 or more"),
        ("tiny-fusion", TEXTS, 4, "is no encoder: its task is fuse"),
        ("tiny-text", [], 4, "inputs: are 0 different ones"),
        ("bert-int8", TEXTS, 4, "is quantized already"),
        ("bert-fp16", TEXTS, 4, "has weights in half precision; quantize the fp32 variant"),
    ],
)
def test_what_cannot_be_quantized_is_refused(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, lines: list[str], code: int, said: str
) -> None:
    shutil.copytree(SHIPPED / "tiny-fusion", models / "tiny-fusion")
    for variant in ("int8", "fp16"):
        exports.add(models, "bert_fp16", "--variant", variant, name=f"bert-{variant}")
    (tmp_path / "few.txt").write_text("\n".join(lines))
    assert quantize(models, name, tmp_path / "few.txt") == code
    assert said in capsys.readouterr().err


def test_a_package_that_is_there_is_not_overwritten(
    models: Path, sentences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(models, "tiny-text", sentences, "--name", "tiny-text") == 2
    assert "is there already; give another --name or --version" in capsys.readouterr().err
    assert quantize(models, "tiny-text", sentences, "--way", "magic") == 2
    assert "--way: 'magic' is none of auto, static, weights, dynamic" in capsys.readouterr().err


def test_fidelity_is_of_the_held_out_rows_and_neighbours_are_looked_for_among_all() -> None:
    exact = np.eye(4, dtype=np.float32)[[0, 1, 0, 1]]
    other = exact.copy()
    other[3] = [0.8, 0.6, 0, 0]  # now nearer to the rows 0 and 2 than to row 1
    found = compare("static", exact, other, 2, Costs(0.25, 2, 1))
    assert (found.calibration_count, found.held_out_count) == (2, 2)
    assert (found.minimum_cosine, found.mean_cosine) == (0.6, 0.8)
    assert (found.largest_pair_change, found.neighbour_agreement) == (0.8, 0.5)
