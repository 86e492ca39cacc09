"""A package is held to a reference's vectors by one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.cli import main

EXPORTS = Path(__file__).parents[2] / "conformance"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for family in ("st_bert_mean", "whisper"):
        command = [
            "models",
            "add",
            str(EXPORTS / family / "model"),
            "--name",
            family,
            "--models",
            str(tmp_path / "models"),
        ]
        assert main(command) == 0
    return tmp_path / "models"


def golden_file(folder: Path, family: str, change: float = 0.0) -> Path:
    """Writes a golden file from the fixtures; `change` is added to one number of the second row."""
    known: dict[str, Any] = json.loads((EXPORTS / family / "meta.json").read_text(encoding="utf-8"))  # Any: JSON
    kind = "text" if "texts" in known else "audio"
    with np.load(EXPORTS / family / "golden.npz") as archive:
        vectors = archive[f"{kind}_embeds"].copy()
    vectors[1, 0] += change
    np.save(folder / "reference.npy", vectors)
    given = (
        known["texts"] if kind == "text" else [str(EXPORTS / "inputs" / Path(name).name) for name in known["audios"]]
    )
    file = folder / "golden.json"
    file.write_text(json.dumps({"items": [{kind: each} for each in given], "vectors": "reference.npy"}))
    return file


@pytest.mark.parametrize("family", ["st_bert_mean", "whisper"])
def test_vectors_of_the_reference_are_good(
    tmp_path: Path, models: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    file = golden_file(tmp_path, family)
    assert main(["models", "verify", family, "--golden", str(file), "--models", str(models), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["is_good"]
    assert facts["largest_difference"] < 1e-5


def test_another_vector_is_bad_and_its_item_named_first(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    file = golden_file(tmp_path, "st_bert_mean", change=0.01)
    assert main(["models", "verify", "st_bert_mean", "--golden", str(file), "--models", str(models)]) == 1
    out = capsys.readouterr().out
    first, second = json.loads((EXPORTS / "st_bert_mean" / "meta.json").read_text(encoding="utf-8"))["texts"][:2]
    assert out.index(second[:20]) < out.index(first[:20]) < out.index("BAD")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ('{"items": []}', "field `items`"),
        ('{"items": [{"video": "x"}], "vectors": [[1]]}', "field `items[0]`"),
        ('{"items": [{"image": "gone.png"}], "vectors": [[1]]}', "there is no file"),
        ('{"items": [{"text": "x"}], "vectors": [[1], [2]]}', "expected 1 rows"),
        ('{"items": [{"text": "x"}], "vectors": [[1, 2]]}', "the model gives 64"),
    ],
)
def test_a_wrong_golden_file_is_refused_by_field(
    tmp_path: Path, models: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "golden.json").write_text(content)
    command = ["models", "verify", "st_bert_mean", "--golden", str(tmp_path / "golden.json"), "--models", str(models)]
    assert main(command) != 0
    assert said in capsys.readouterr().err


def test_a_prompt_that_the_file_names_goes_before_the_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = str(tmp_path / "models")
    assert main(["models", "add", str(EXPORTS / "e5_xlmr" / "model"), "--name", "e5", "--models", models]) == 0
    capsys.readouterr()
    file = golden_file(tmp_path, "e5_xlmr")
    known = json.loads(file.read_text())
    with np.load(EXPORTS / "e5_xlmr" / "golden.npz") as archive:
        np.save(tmp_path / "reference.npy", archive["query_text_embeds"])
    for prompt_name, code in (("query", 0), ("passage", 1)):
        file.write_text(json.dumps({**known, "prompt_name": prompt_name}))
        assert main(["models", "verify", "e5", "--golden", str(file), "--models", models, "--json"]) == code
