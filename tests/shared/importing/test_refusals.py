"""Exports that no package can be made of are refused, with the file and what to do; nothing is left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sensorium.errors import FailedPrecondition
from services.trial import probe
from shared.importing.families import plan_of
from shared.importing.hub_folder import open_hub_folder
from shared.importing.packages import write_packages
from shared.importing.plan import Wishes

EXPORTS = Path(__file__).parents[2] / "conformance"


def edited(folder: Path, name: str, change: Callable[[dict[str, object]], object]) -> None:
    """Changes the JSON object in a file."""
    value = json.loads((folder / name).read_text(encoding="utf-8"))
    change(value)
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def graph_without_embedding(folder: Path) -> None:
    hidden = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "s", 4])
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])
    graph = helper.make_graph([], "none", [ids], [hidden])
    onnx.save(helper.make_model(graph), folder / "onnx" / "text_model.onnx")


def weights_elsewhere(folder: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secrets.bin")
    output = helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, ["b", 4])
    graph = helper.make_graph([], "far", [], [output], [tensor])
    (folder / "onnx" / "text_model.onnx").write_bytes(helper.make_model(graph).SerializeToString())


CASES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no config": ("clip", lambda at: (at / "config.json").unlink(), "config.json: is missing"),
    "config is no JSON": ("clip", lambda at: (at / "config.json").write_text("{"), "config.json: is no JSON"),
    "unknown family": (
        "clip",
        lambda at: edited(at, "config.json", lambda it: it.update(model_type="llama")),
        "`model_type` is 'llama'; known are",
    ),
    "no tokenizer": ("clip", lambda at: (at / "tokenizer.json").unlink(), "tokenizer.json: is missing"),
    "no preprocessor": (
        "clip",
        lambda at: (at / "preprocessor_config.json").unlink(),
        "preprocessor_config.json: is missing",
    ),
    "no vision graph": (
        "clip",
        lambda at: (at / "onnx" / "vision_model.onnx").unlink(),
        "there is onnx/text_model.onnx",
    ),
    "no projection": ("clip", graph_without_embedding, "was it exported without projection?"),
    "no graph at all": (
        "clip",
        lambda at: (at / "onnx" / "text_model.onnx").write_bytes(b"not a graph"),
        "onnx/text_model.onnx: is no ONNX graph",
    ),
    "weights outside": ("clip", weights_elsewhere, "outside of its folder"),
    "another width": (
        "clip",
        lambda at: edited(at, "config.json", lambda it: it.update(projection_dim=64)),
        "expected (64,): field `dim`",
    ),
    "unknown module": (
        "st_bert_mean",
        lambda at: (at / "modules.json").write_text('[{"type": "a.Transformer"}, {"type": "b.LSTM"}]'),
        "has the modules Transformer, LSTM",
    ),
    "no pooling stated": (
        "st_bert_mean",
        lambda at: (at / "1_Pooling" / "config.json").write_text("{}"),
        "1_Pooling/config.json: says no pooling",
    ),
}


def add(source: Path, models: Path) -> None:
    folder = open_hub_folder(source)
    write_packages(folder, plan_of(folder), models, "wrong", "1", replaces=False, probe=probe)


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_export_is_refused_by_file_and_fault(tmp_path: Path, case: str) -> None:
    family, spoil, said = CASES[case]
    source, models = tmp_path / "export", tmp_path / "models"
    shutil.copytree(EXPORTS / family / "model", source)
    spoil(source)
    with pytest.raises(FailedPrecondition) as caught:
        add(source, models)
    assert said in str(caught.value)
    assert not models.exists() or not list(models.iterdir())


def test_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK")
    with pytest.raises(FailedPrecondition, match="unpack it"):
        open_hub_folder(tmp_path / "model.zip")


def test_a_package_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    folder = open_hub_folder(EXPORTS / "whisper" / "model")
    plan = plan_of(folder)
    for replaces in (False, True):
        write_packages(folder, plan, tmp_path, "ears", "1", replaces=replaces, probe=probe)
    with pytest.raises(FailedPrecondition, match="--replace"):
        write_packages(folder, plan, tmp_path, "ears", "1", replaces=False, probe=probe)
    assert [each.name for each in tmp_path.iterdir()] == ["ears"]


def test_a_variant_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(FailedPrecondition, match=r"text_model_fp16.onnx .*there is onnx/text_model.onnx"):
        plan_of(open_hub_folder(EXPORTS / "clip" / "model"), Wishes(variant="fp16"))
