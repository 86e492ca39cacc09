"""Whatever a package folder holds, it is refused by file and field, and nothing outside of it is opened."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import set_external_data

from sensorium.errors import FailedPrecondition, Reason, SensoriumError
from services.audio.preprocess import AudioNumbers
from services.text.preprocess import TextNumbers, TextPreprocessor
from services.vision.preprocess import ImageNumbers
from shared.inference.manifest import read_manifest, read_numbers
from shared.inference.package import find_package, open_package
from tests.packages import bridge, linear, write_package

_SHIPPED = Path(__file__).parents[3] / "models"
_NUMBERS: dict[str, Callable[[Any], object]] = {  # Any: JSON
    "text": TextNumbers.of,
    "vision": ImageNumbers.of,
    "audio": AudioNumbers.of,
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return bridge(tmp_path, "a@1", "b@1", np.eye(4, 3, dtype=np.float32))


def _refused(read: Callable[[], object]) -> str:
    with pytest.raises(FailedPrecondition) as refusal:
        read()
    assert refusal.value.reason is Reason.PACKAGE_INVALID
    said = str(refusal.value)
    assert len(said) < 1500
    said.encode()  # or it could not be sent
    assert "\0" not in said
    return said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"dim": 3', b'"dim": 3, "licence": "\xff"', "is no manifest: 'utf-8' codec can't decode byte 0xff"),
        (b'"dim": 3', b'"dim": "3"', 'field `dim`: expected a whole number from 1 to 1048576, got "3"'),
        (b'"dim": 3', b'"dim": 3, "dim": 4', "field `dim`: expected one value, got"),
        (b'"dim": 3', b'"dim": NaN', "field `dim`: expected a finite number, got NaN"),
        (b'"dim": 3', b'"dim": 1' + b"0" * 30, "field `dim`: expected a whole number from 1 to 1048576, got 1000"),
        (b'"dim": 3', b'"dim": 1' + b"0" * 5000, "is no manifest: Exceeds the limit"),
        (b'"dim": 3', b'"dim": 3, "training": {"loss": [1e999]}', "field `training.loss[0]`: expected a finite number"),
        (b'"dim": 3', b'"dim": 3, "training": ' + b"[" * 5000 + b"]" * 5000, "is nested too deeply"),
        (b'"dim": 3', b'"dim": 3, "training": "' + b"x" * 8_000_000 + b'"', "has more than 8000000 bytes"),
        (b'"dim": 3', b'"dim": 3, "' + b"k" * 100_000 + b'": 1', "expected one of the fields calibration"),
        (b'"dim": 3', rb'"dim": 3, "labels": ["\ud800"]', "field `labels[0]`: expected a text without NUL"),
        (b'"dim": 3', b'"dim": 3, "labels": ["a", 7]', "field `labels[1]`: expected a text, got 7"),
        (b'"dim": 3', b'"dim": 3, "prompts": {"q": 7}', "field `prompts.q`: expected a text, got 7"),
        (b'{"model.onnx"', rb'{"a\u0000b": "00", "model.onnx"', "field `files`: expected a text without NUL"),
        (b'{"model.onnx"', rb'{"\udc80": "00", "model.onnx"', "field `files`: expected a text without NUL"),
        (b'{"model.onnx"', b'{"' + b"n" * 5000 + b'": "00", "model.onnx"', "cannot be read: File name too long"),
        (b'{"model.onnx"', b'{"sub/../model.onnx": "00", "model.onnx"', "leads out of the package"),
        (b'"max_batch_items": 8', b'"max_batch_items": 0', "field `limits.max_batch_items`: expected a whole number"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_manifest_that_is_wrong_in_any_way_is_refused_by_field(
    package: Path, old: bytes, new: bytes, said: str
) -> None:
    file = package / "manifest.json"
    text = file.read_bytes()
    assert old in text
    file.write_bytes(text.replace(old, new, 1))
    assert said in _refused(lambda: open_package(package))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *(("text", "max_tokens", value) for value in ("64", -5, 0, 10**11, 10**30, 6.5, True, None, [64])),
        ("text", "pad_multiple", 10**12),
        ("text", "fixed_length", 8),
        ("text", "pad_id", -1),
        ("text", "lowercase", "yes"),
        ("text", "tokenizer", 5),
        ("text", "truncation_side", "middle"),
        ("vision", "size", [0, 32]),
        ("vision", "size", [10**9, 10**9]),
        ("vision", "size", [32]),
        ("vision", "mean", [0.5, 0.5]),
        ("vision", "std", [0, 1, 1]),
        ("vision", "resample", "magic"),
        ("vision", "stretched", [8, 8]),
        ("audio", "window_samples", 10**12),
        ("audio", "hop_length", 0),
        ("audio", "mel_count", "64"),
        ("audio", "f_max", -1),
        ("audio", "f_max", 0),
        ("audio", "front_end", []),
    ],
)
def test_a_number_of_preprocessing_that_is_wrong_is_refused_by_field(kind: str, field: str, value: object) -> None:
    raw = json.loads((_SHIPPED / f"tiny-{kind}" / "1" / "manifest.json").read_text())
    raw["preprocess"][field] = value
    manifest = read_manifest(json.dumps(raw), f"tiny-{kind}/1")
    said = _refused(lambda: read_numbers(manifest, _NUMBERS[kind]))
    assert "manifest.json: field `preprocess." + field in said
    assert "expected" in said


def test_a_tokenizer_outside_of_the_package_or_without_a_hash_is_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-text" / "1"
    shutil.copytree(_SHIPPED / "tiny-text" / "1", folder)
    raw = json.loads((folder / "manifest.json").read_text())
    for name in ("../../outside.json", "spare.json", str(tmp_path / "outside.json")):
        shutil.copy(folder / "tokenizer.json", folder / name)
        raw["preprocess"]["tokenizer"] = name
        (folder / "manifest.json").write_text(json.dumps(raw))
        said = _refused(lambda: TextPreprocessor(open_package(folder), 1 << 16))
        assert "is used, but `files` has no hash for it" in said


def _bridge_of(root: Path, graph: onnx.ModelProto) -> Path:
    return write_package(root, "m", graph, task="project", space="b", source_space="a", source_dim=4, dim=3,
                         output="projected")  # fmt: skip


@pytest.mark.parametrize("location", ["../../outside.bin", "weights.bin", "/etc/hostname", "*/_ORT_MEM_ADDR_/*"])
def test_weights_of_a_graph_that_no_hash_vouches_for_are_never_opened(tmp_path: Path, location: str) -> None:
    graph = linear(np.ones((4, 3), np.float32), "embedding", "projected")
    set_external_data(graph.graph.initializer[0], location, 0, 48)
    weights = graph.graph.initializer[0].raw_data
    graph.graph.initializer[0].ClearField("raw_data")
    folder = _bridge_of(tmp_path, graph)
    (folder / "weights.bin").write_bytes(weights)
    said = _refused(lambda: open_package(folder))
    assert f"model.onnx: keeps weights in '{location}', but `files` has no hash" in said
    if location == "weights.bin":
        raw = json.loads((folder / "manifest.json").read_text())
        raw["files"]["weights.bin"] = hashlib.sha256(weights).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(raw))
        assert open_package(folder).path("weights.bin").is_file()


def test_weights_in_a_branch_and_in_a_constant_are_seen_too(tmp_path: Path) -> None:
    inner = linear(np.ones((4, 3), np.float32), "x", "y").graph
    set_external_data(inner.initializer[0], "hidden.bin")
    graph = linear(np.ones((4, 3), np.float32), "embedding", "projected")
    graph.graph.node.append(onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    assert "keeps weights in 'hidden.bin'" in _refused(lambda: open_package(_bridge_of(tmp_path, graph)))


@pytest.mark.parametrize("data", [b"", b"no graph", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_graph_is_said_to_be_none(package: Path, data: bytes) -> None:
    raw = json.loads((package / "manifest.json").read_text())
    raw["files"]["model.onnx"] = hashlib.sha256(data).hexdigest()
    (package / "model.onnx").write_bytes(data)
    (package / "manifest.json").write_text(json.dumps(raw))
    assert "model.onnx: is no ONNX graph" in _refused(lambda: open_package(package))


def test_a_manifest_that_is_a_link_out_of_the_package_or_in_a_circle_is_refused(package: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(package / "manifest.json", outside)
    for target in (outside, package / "manifest.json"):
        (package / "manifest.json").unlink(missing_ok=True)
        (package / "manifest.json").symlink_to(target)
        assert "leads out of the package" in _refused(lambda: open_package(package))


def test_folders_of_any_name_can_be_listed_and_refused(package: Path, tmp_path: Path) -> None:
    for name in ("²", "٣", "9" * 200, os.fsdecode(b"\xff")):
        other = package.parent / name
        shutil.copytree(package, other)
        assert "field `version` is '1', but the folder is" in _refused(partial(open_package, other))
    with pytest.raises(SensoriumError) as missing:
        find_package(tmp_path, "other")
    str(missing.value).encode()
