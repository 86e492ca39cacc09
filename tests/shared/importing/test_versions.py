"""What a package that is added says of itself beside earlier versions: its space, and where it is from."""

from __future__ import annotations

import shutil
from pathlib import Path

from sensorium.cli import main
from shared.inference.manifest import Manifest
from shared.inference.package import open_package

_EXPORT = Path(__file__).parents[2] / "conformance/st_bert_mean/model"


def added(models: Path, export: Path, version: str, *more: str) -> Manifest:
    arguments = ["models", "add", str(export), "--name", "bert", "--version", version, "--models", str(models)]
    assert main([*arguments, *more]) == 0
    return open_package(models / "bert" / version).manifest


def test_a_version_with_the_same_vectors_keeps_the_space_and_another_gets_its_own(tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert added(models, _EXPORT, "1").space == "bert@1"
    assert added(models, _EXPORT, "2").space == "bert@1"
    assert added(models, _EXPORT, "3", "--prompt", "query=look for: ").space == "bert@3"
    assert added(models, _EXPORT, "4", "--prompt", "query=find: ", "--space", "ours@1").space == "ours@1"


def test_the_source_is_what_was_added_and_the_model_that_it_was_made_from(tmp_path: Path) -> None:
    export = tmp_path / "my-bert"
    shutil.copytree(_EXPORT, export)
    config = export / "config.json"
    config.write_text(config.read_text().replace("{", '{"_name_or_path": "somebody/base-model",', 1))
    assert added(tmp_path / "models", export, "1").source == "my-bert, made from somebody/base-model"
