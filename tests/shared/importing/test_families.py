"""What an export is taken for is decided by what its graph gives and its files say, not by one key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sensorium.cli import main
from sensorium.errors import FailedPrecondition
from services.trial import encode, probe
from shared.importing.families import plan_of
from shared.importing.families.known import known_pooling
from shared.importing.layouts import open_hub_folder
from shared.importing.packages import write_packages
from shared.importing.plan import ExportPlan, Wishes
from shared.inference.package import open_package
from tests.conformance.exports import facts, files, goldens, images_as_promised, texts

EXPORTS = Path(__file__).parents[2] / "conformance"


def export_of(folder: Path, family: str, layout: str = "model", **config: Any) -> Path:
    """Copies an export, with other values in its config; None takes one out. Any: JSON."""
    target = folder / family
    shutil.copytree(EXPORTS / family / layout, target)
    stated = {**json.loads((target / "config.json").read_text(encoding="utf-8")), **config}
    kept = {name: value for name, value in stated.items() if value is not None}
    (target / "config.json").write_text(json.dumps(kept), encoding="utf-8")
    return target


def planned(folder: Path, **wishes: Any) -> ExportPlan:
    """Any: fields of `Wishes`."""
    return plan_of(open_hub_folder(folder), Wishes(**wishes))


def vectors(export: Path, models: Path, inputs: list[Any], **wishes: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Adds an export and encodes with its first package. Any: texts or files; fields of `Wishes`."""
    folder = open_hub_folder(export)
    (package, *_) = write_packages(folder, planned(export, **wishes), models, "it", "1", replaces=False, probe=probe)
    return encode(package, inputs)


@pytest.mark.parametrize("family", ["vit_classes", "ast_classes", "wav2vec2_classes", "bert_classes"])
def test_a_classifier_that_does_not_state_its_class_is_one_by_its_graph_and_labels(tmp_path: Path, family: str) -> None:
    encoder, head = planned(export_of(tmp_path, family, architectures=None)).packages
    stated_encoder, stated_head = planned(EXPORTS / family / "model").packages
    assert (encoder.graph, head.graph, head.labels) == (stated_encoder.graph, stated_head.graph, stated_head.labels)
    assert encoder.preprocess == stated_encoder.preprocess


def test_a_classifier_that_was_exported_without_its_head_is_an_encoder(tmp_path: Path) -> None:
    export = export_of(tmp_path, "vit", architectures=["ViTForImageClassification"], id2label={"0": "a", "1": "b"})
    (package,) = planned(export).packages
    assert (package.modality, package.pooling) == ("image", "cls")


def test_a_head_of_tokens_is_no_classifier(tmp_path: Path) -> None:
    export = export_of(tmp_path, "bert_classes", architectures=["BertForTokenClassification"])
    with pytest.raises(FailedPrecondition, match="gives logits of a head that is not served"):
        planned(export)


def test_pooling_beside_the_graphs_own_embedding_is_refused_with_both_named(tmp_path: Path) -> None:
    export = export_of(tmp_path, "st_pooled", "model")
    (export / "modules.json").unlink()
    with pytest.raises(
        FailedPrecondition, match=r"gives sentence_embedding.* --pooling mean would pool token_embeddin"
    ):
        planned(export, pooling="mean")
    for wish in ("", "none"):
        assert planned(export, pooling=wish).packages[0].graph.output == "sentence_embedding"


def test_another_pooling_than_that_of_modules_is_refused_beside_the_graphs_own_embedding() -> None:
    with pytest.raises(FailedPrecondition, match="--pooling cls would pool token_embeddings"):
        planned(EXPORTS / "st_pooled" / "model", pooling="cls")


def test_pooling_is_refused_where_the_graphs_of_a_pair_have_it() -> None:
    with pytest.raises(FailedPrecondition, match="these encoders pool in their graphs"):
        planned(EXPORTS / "clip" / "model", pooling="mean")


def test_one_half_of_clip_is_served_alone_as_its_files_or_its_user_say(tmp_path: Path) -> None:
    export = export_of(tmp_path, "clip")
    (export / "onnx" / "text_model.onnx").unlink()
    named = {"family": "clip_vision_model"}
    models = tmp_path / "models"
    command = ["models", "add", str(export), "--name", "eyes", "--models", str(models), "--family"]
    assert (main([*command, "clip_vision"]), main([*command, named["family"]])) == (2, 0)
    found = encode(open_package(models / "eyes" / "1"), files("clip", "images"))
    assert np.abs(found - images_as_promised("clip")).max() < 1e-5
    alone = json.loads((export / "config.json").read_text(encoding="utf-8"))["vision_config"]
    (export / "config.json").write_text(json.dumps(alone), encoding="utf-8")
    assert planned(export).packages[0].graph == planned(export, **named).packages[0].graph


def test_the_sounds_of_clap_are_served_alone(tmp_path: Path) -> None:
    export = export_of(tmp_path, "clap")  # whose config is that of both halves
    for name in ("onnx/text_model.onnx", "tokenizer.json"):
        (export / name).unlink()
    sounds = files("clap", "audios")
    place = [file.name for file in sounds].index("long_16k.flac")  # of which the reference drew a piece at random
    found = np.delete(vectors(export, tmp_path / "models", sounds), place, 0)
    assert planned(export, family="clap_audio_model").packages == planned(export).packages
    assert np.abs(found - np.delete(goldens("clap")["audio_embeds"], place, 0)).max() < 1e-5


def test_an_embedder_of_qwen3_is_known_by_its_name_without_modules(tmp_path: Path) -> None:
    export = export_of(tmp_path, "st_lasttoken")
    for name in ("modules.json", "config_sentence_transformers.json"):
        (export / name).unlink(missing_ok=True)
    source = "hf://Qwen/Qwen3-Embedding-0.6B"
    found = vectors(export, tmp_path / "models", texts("st_lasttoken"), source=source)
    assert np.abs(found - goldens("st_lasttoken")["text_embeds"]).max() < 1e-5
    (package,) = planned(export, source=source).packages
    assert set(package.prompts) == {"query", "document"}
    (unnamed,) = planned(export).packages
    assert (unnamed.pooling, unnamed.prompts) == ("lasttoken", {})
    assert "no file says it" in unnamed.remarks[0]


def test_an_embedder_made_of_mistral_is_not_pooled_as_e5_is() -> None:
    found = [known_pooling(name, "") for name in ("intfloat/e5-mistral-7b-instruct", "intfloat/e5-base-v2")]
    assert found == ["lasttoken", "mean"]


def test_an_embedder_of_gemma_is_refused_without_the_layers_after_its_states(tmp_path: Path) -> None:
    export = export_of(tmp_path, "st_lasttoken", model_type="gemma3_text", use_bidirectional_attention=True)
    (export / "modules.json").unlink()
    with pytest.raises(FailedPrecondition, match="EmbeddingGemma has dense layers after its pooled states"):
        planned(export)
    (package,) = planned(export, pooling="mean").packages
    assert "none of them is in these vectors" in package.remarks[0]


def test_a_model_of_pictures_of_a_kind_not_known_is_pooled_as_its_user_says(tmp_path: Path) -> None:
    export = export_of(tmp_path, "swin", model_type="newer_net")
    with pytest.raises(
        FailedPrecondition, match=r"gives last_hidden_state alone.* say --pooling mean or cls, or --family"
    ):
        planned(export)
    found = vectors(export, tmp_path / "models", files("swin", "images"), pooling="mean")
    assert np.abs(found - images_as_promised("swin")).max() < 1e-5


def test_a_graph_that_masks_at_random_is_refused_unless_the_mask_is_empty(tmp_path: Path) -> None:
    export = export_of(tmp_path, "vit", model_type="vit_mae")
    file = export / "onnx" / "model.onnx"
    graph = onnx.load(file)
    for node in graph.graph.node:
        node.output[:] = ["states" if name == "last_hidden_state" else name for name in node.output]
    noise = helper.make_node("RandomUniformLike", ["states"], ["noise"], dtype=TensorProto.FLOAT)
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in (("none", 0), ("all", 1))]
    graph.graph.initializer.extend(weights)
    for share, is_refused in (("all", True), ("none", False)):
        masked = onnx.ModelProto.FromString(graph.SerializeToString())
        masked.graph.node.extend([noise, helper.make_node("Mul", ["noise", share], ["share"])])
        masked.graph.node.append(helper.make_node("Add", ["states", "share"], ["last_hidden_state"]))
        onnx.save(masked, file)
        if is_refused:
            with pytest.raises(FailedPrecondition, match="gives other vectors at each call"):
                planned(export)
        else:
            assert planned(export).packages[0].pooling == "cls"


def test_a_classifier_of_sounds_says_that_it_reads_the_first_minute() -> None:
    assert facts("wav2vec2_classes")["labels"]
    remarks = [
        planned(EXPORTS / "wav2vec2_classes" / "model", long_clip=wish).packages[0].remarks for wish in ("", "windows")
    ]
    assert [any("first 60 s" in each for each in said) for said in remarks] == [True, False]
