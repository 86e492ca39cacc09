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
from shared.importing.layouts import open_hub_folder
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


def unprojected(folder: Path) -> None:
    """Leaves CLIP's text graph with what comes before the projection alone."""
    name = folder / "onnx" / "text_model.onnx"
    graph = onnx.load(name)
    graph.graph.output[0].name = "pooler_output"
    for node in graph.graph.node:
        node.output[:] = ["pooler_output" if each == "text_embeds" else each for each in node.output]
    onnx.save(graph, name)


def scalar_output(folder: Path) -> None:
    """Makes a graph of the right name give one number a text."""
    name = folder / "onnx" / "text_model.onnx"
    graph = onnx.load(name)
    graph.graph.output[0].name = "all_embeds"
    for node in graph.graph.node:
        node.output[:] = ["all_embeds" if each == "text_embeds" else each for each in node.output]
    graph.graph.node.append(helper.make_node("ReduceMean", ["all_embeds"], ["text_embeds"], axes=[1], keepdims=1))
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, ["b", "w"]))
    onnx.save(graph, name)


def other_width(folder: Path) -> None:
    """Gives the picture encoder of CLIP half of the width, and takes the stated width out of the config."""
    name = folder / "onnx" / "vision_model.onnx"
    graph = onnx.load(name)
    graph.graph.output[0].name = "all_embeds"
    for node in graph.graph.node:
        node.output[:] = ["all_embeds" if each == "image_embeds" else each for each in node.output]
    graph.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), key) for key, value in (("a", [0]), ("z", [24]), ("x", [1]))
    )
    graph.graph.node.append(helper.make_node("Slice", ["all_embeds", "a", "z", "x"], ["image_embeds"]))
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["b", 24]))
    onnx.save(graph, name)
    edited(folder, "config.json", lambda it: it.pop("projection_dim"))


def weights_by_link(folder: Path) -> None:
    (folder.parent / "secrets.bin").write_bytes(b"0" * 64)
    name = folder / "onnx" / "model.onnx_data"
    name.unlink()
    name.symlink_to(folder.parent / "secrets.bin")


def oversized(folder: Path) -> None:
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(65 << 20)


def pickled_weights(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")


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
    "embedding before the projection": ("clip", unprojected, "gives pooler_output, but none of text_embeds"),
    "output that is no embedding": ("clip", scalar_output, "returns rows of shape (1,); expected (48,)"),
    "two widths in one space": (
        "clip",
        other_width,
        "must have one width, but onnx/text_model.onnx gives 48 and onnx/vision_model.onnx gives 24",
    ),
    "weights by a link": ("bert_external", weights_by_link, "onnx/model.onnx_data: leads out of the folder"),
    "tokenizer of 65 MiB": ("clip", oversized, "tokenizer.json: has 68,157,440 bytes; at most 67,108,864 are taken"),
    "pickled Dense": ("st_dense", pickled_weights, "2_Dense/model.safetensors: is missing; weights are read from"),
    "Dense with a residual": (
        "st_dense",
        lambda at: edited(at, "2_Dense/config.json", lambda it: it.update(use_residual=True)),
        "2_Dense/config.json: `use_residual` is True",
    ),
    "unknown activation": (
        "st_dense",
        lambda at: edited(at, "2_Dense/config.json", lambda it: it.update(activation_function="torch.nn.Mish")),
        "`activation_function` Mish is none of",
    ),
    "pooling of another kind": (
        "st_bert_mean",
        lambda at: (at / "1_Pooling" / "config.json").write_text('{"pooling_mode": "attention"}'),
        "`pooling_mode` has 'attention'",
    ),
    "no pooling known": (
        "plain_e5",
        lambda at: edited(at, "config.json", lambda it: it.update(_name_or_path="someone/bert")),
        "give --pooling",
    ),
    "pictures of any size": (
        "clip",
        lambda at: edited(at, "preprocessor_config.json", lambda it: it.update(do_center_crop=False)),
        "without `do_center_crop`: pictures would differ in size",
    ),
    "a resample that is not done": (
        "clip",
        lambda at: edited(at, "preprocessor_config.json", lambda it: it.update(resample=0)),
        "`resample` is 0; only 1, 2 and 3",
    ),
    "classes without names": (
        "vit_classes",
        lambda at: edited(at, "config.json", lambda it: it.pop("id2label")),
        "`id2label` has 0 labels",
    ),
    "fewer names than classes": (
        "vit_classes",
        lambda at: edited(at, "config.json", lambda it: it.update(id2label={"0": "a", "1": "b"})),
        "`id2label` has 2 labels, but onnx/model.onnx gives 5 logits",
    ),
    "a regression": (
        "bert_classes",
        lambda at: edited(at, "config.json", lambda it: it.update(problem_type="regression")),
        "`problem_type` is regression",
    ),
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
        lambda at: (at / "modules.json").write_text(
            '[{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.LSTM"}]'
        ),
        "has the modules Transformer, LSTM",
    ),
    "code of its own": (
        "st_bert_mean",
        lambda at: (at / "modules.json").write_text('[{"type": "custom_st.Transformer"}]'),
        "names the module custom_st.Transformer, whose code comes along",
    ),
    "no file of the pooling": (
        "st_bert_mean",
        lambda at: (at / "1_Pooling" / "config.json").unlink(),
        "1_Pooling/config.json: is missing",
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
