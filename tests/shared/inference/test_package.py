"""A package is served only where its files are what its manifest says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.errors import FailedPrecondition, NotFound, Reason
from shared.inference.features import Features
from shared.inference.model import Model
from shared.inference.package import find_package, open_package
from tests.packages import bridge, linear, write_package

SHIPPED = Path(__file__).parents[3] / "models"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return bridge(tmp_path, "a@1", "b@1", np.eye(4, 3, dtype=np.float32))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize("folder", sorted(SHIPPED.glob("[!.]*/*")), ids=lambda folder: folder.parent.name)
def test_every_shipped_package_opens_and_fits_its_graph(folder: Path) -> None:
    package = open_package(folder)
    assert package.manifest.space == "tiny@1"
    assert package.manifest.licence
    assert len(package.fingerprint) == 16


def test_the_fingerprint_changes_with_the_weights_and_with_the_numbers(package: Path, tmp_path: Path) -> None:
    before = open_package(package).fingerprint
    edit(package, lambda manifest: manifest.update(preprocess={"size": 1}))
    assert open_package(package).fingerprint != before
    other = bridge(tmp_path / "other", "a@1", "b@1", np.ones((4, 3), np.float32))
    assert open_package(other).fingerprint != before


def test_the_fingerprint_stays_where_vectors_do_as_when_a_level_is_added_to_the_calibration(package: Path) -> None:
    before = open_package(package).fingerprint
    calibration = {"logit_scale": 1, "activation": "softmax", "none_cosine": 0.5}
    edit(package, lambda manifest: manifest.update(calibration=calibration))
    assert open_package(package).fingerprint == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: manifest.pop("dim"), "field `dim`: expected a whole number of at least 1, got nothing"),
        (
            lambda manifest: manifest.update(dim="wide"),
            'field `dim`: expected a whole number of at least 1, got "wide"',
        ),
        (lambda manifest: manifest.update(task="sing"), "field `task`: expected one of encode, fuse, project, predict"),
        (lambda manifest: manifest.update(colour=1), "field `colour`: expected one of the fields"),
        (lambda manifest: manifest.update(name="else"), "field `name` is 'else', but the folder is 'bridge-a-b'"),
        (lambda manifest: manifest["limits"].pop("max_batch_items"), "field `limits.max_batch_items`"),
        (
            lambda manifest: manifest.update(
                calibration={"logit_scale": 1, "activation": "softmax", "none_cosine": 1.5}
            ),
            "field `calibration.none_cosine`: expected a cosine from -1 to 1, got 1.5",
        ),
        (lambda manifest: manifest["files"].update({"gone.json": "00"}), "gone.json: is missing"),
        (lambda manifest: manifest["files"].update({"../../secret": "00"}), "../../secret: leads out of the package"),
        (lambda manifest: manifest.update(files={}), "is a graph, but `files` has no hash for it"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused_by_field(
    package: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit(package, change)
    with pytest.raises(FailedPrecondition) as refusal:
        open_package(package)
    assert said in str(refusal.value)
    assert refusal.value.reason is Reason.PACKAGE_INVALID


def test_a_changed_file_is_refused(package: Path) -> None:
    with (package / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(
        FailedPrecondition, match=r"model\.onnx: has the sha256 .*, but field `files\.model\.onnx` says"
    ):
        open_package(package)


def test_a_graph_that_lacks_the_output_is_refused(package: Path) -> None:
    edit(package, lambda manifest: manifest.update(output="embeds"))
    with pytest.raises(FailedPrecondition, match="has the outputs projected, but embeds is wanted"):
        Model(open_package(package))


def test_a_graph_of_another_width_is_refused_by_the_warm_up(package: Path) -> None:
    edit(package, lambda manifest: manifest.update(dim=5))
    model = Model(open_package(package))
    with pytest.raises(FailedPrecondition, match=r"returns rows of shape \(3,\); expected \(5,\)"):
        model.warm_up(Features({"embedding": np.ones(4, np.float32)}, 1, 1))


def test_a_graph_that_wants_other_inputs_is_refused(package: Path) -> None:
    with pytest.raises(FailedPrecondition, match="wants the inputs embedding; preprocessing makes pixel_values"):
        Model(open_package(package)).warm_up(Features({"pixel_values": np.ones(4, np.float32)}, 1, 1))


def test_the_highest_version_is_found_by_value_not_by_spelling(tmp_path: Path) -> None:
    graph = linear(np.eye(2, dtype=np.float32), "embedding", "projected")
    fields = {"task": "project", "space": "b", "source_space": "a", "source_dim": 2, "dim": 2, "output": "projected"}
    for version in ("2", "10", "9"):
        write_package(tmp_path, "m", graph, version, **fields)
    assert find_package(tmp_path, "m").name == "10"
    assert find_package(tmp_path, "m@9").name == "9"
    with pytest.raises(NotFound, match="it has m@2, m@9, m@10"):
        find_package(tmp_path, "n")


def test_a_link_out_of_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    shutil.move(package / "model.onnx", outside)
    (package / "model.onnx").symlink_to(outside)
    with pytest.raises(FailedPrecondition, match="leads out of the package"):
        open_package(package)
