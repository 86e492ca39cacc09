"""Folders of other libraries, and those that were not exported yet, are called what they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.errors import FailedPrecondition
from shared.importing.families import plan_of
from shared.importing.layouts import open_hub_folder

EXPORTS = Path(__file__).parents[2] / "conformance"


def only_weights(folder: Path) -> None:
    """Leaves what a training run wrote, before any export."""
    shutil.rmtree(folder / "onnx")
    (folder / "model.safetensors").write_bytes(b"weights")


def open_clip(folder: Path) -> None:
    (folder / "config.json").rename(folder / "open_clip_config.json")
    only_weights(folder)


def only_int8(folder: Path) -> None:
    for name in ("model.onnx", "model_fp16.onnx"):
        (folder / "onnx" / name).unlink()


def without_kind(folder: Path) -> None:
    (folder / "modules.json").unlink()
    (folder / "config.json").write_text("{}")


# Of another library, or not exported yet: what is said of such a folder, `{folder}` for its path.
LAYOUTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "timm": (
        "vit",
        lambda at: (at / "config.json").write_text('{"architecture": "resnet50", "pretrained_cfg": {"tag": "a1"}}'),
        "config.json: is timm's, of resnet50",
    ),
    "open_clip": ("clip", open_clip, "open_clip_config.json: is the layout of open_clip"),
    "model2vec": (
        "st_bert_mean",
        lambda at: (at / "config.json").write_text('{"model_type": "model2vec", "architectures": ["StaticModel"]}'),
        "config.json: is of model2vec: static embeddings without a transformer",
    ),
    "weights of an encoder": (
        "vit",
        only_weights,
        "export its weights: optimum-cli export onnx --model {folder} --task feature-extraction {folder}-onnx",
    ),
    "weights of a classifier": ("vit_classes", only_weights, "--task image-classification {folder}-onnx"),
    "weights of a pair": ("clip", only_weights, "--task zero-shot-image-classification {folder}-onnx"),
    "weights of CLAP": ("clap", only_weights, "Optimum does not know this kind, so with torch.onnx.export"),
    "int8 alone": (
        "bert_fp16",
        only_int8,
        "there is onnx/model_quantized.onnx: give --variant int8",
    ),
    "int8 alone, of a joint graph": (
        "clip_joint",
        lambda at: (at / "onnx" / "model.onnx").rename(at / "onnx" / "model_quantized.onnx"),
        "there is onnx/model_quantized.onnx: give --variant int8",
    ),
    "no kind at all": (
        "st_bert_mean",
        without_kind,
        "config.json: states no `model_type`; known are",
    ),
}


def test_weights_on_the_hub_are_exported_by_their_name_there(tmp_path: Path) -> None:
    source = tmp_path / "models--someone--a-vit" / "snapshots" / "0123abc"
    shutil.copytree(EXPORTS / "vit" / "model", source, ignore=shutil.ignore_patterns("onnx"))
    with pytest.raises(FailedPrecondition, match="--model someone/a-vit --task feature-extraction a-vit-onnx"):
        plan_of(open_hub_folder(source))


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_folder_of_another_layout_is_called_what_it_is(tmp_path: Path, case: str) -> None:
    family, change, said = LAYOUTS[case]
    source = tmp_path / "export"
    shutil.copytree(EXPORTS / family / "model", source)
    change(source)
    with pytest.raises(FailedPrecondition) as caught:
        plan_of(open_hub_folder(source))
    assert said.format(folder=source) in str(caught.value)
