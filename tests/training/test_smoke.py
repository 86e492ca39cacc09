"""The whole of training, from archives to packages that a mesh serves: small, on things that are made up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from shared.inference.package import open_package

_MOST_S = 300.0  # two minutes on two quiet cores


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng, which speaks the texts, is not installed")
def test_every_step_of_training_runs(tmp_path: Path) -> None:
    models, runs = tmp_path / "models", tmp_path / "runs"
    command = [sys.executable, "-m", "training", "--smoke", "--out", str(models), "--runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_S, check=False)
    assert done.returncode == 0, done.stderr
    packages = [open_package(file.parent) for file in sorted(models.glob("*/*/manifest.json"))]
    assert [package.manifest.name for package in packages] == [
        "tiny-audio", "tiny-concepts", "tiny-fusion", "tiny-text", "tiny-vision"
    ]  # fmt: skip
    run = next(each for each in runs.glob("seed0-*"))
    numbers = json.loads((run / "numbers.json").read_text(encoding="utf-8"))
    assert all(0 <= number <= 1 for task, number in numbers.items() if not task.startswith("ms "))
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 6
    card = (models / "tiny-text" / "1" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| photograph → class name |" in card


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "give --data"), (["--data", "nowhere"], "nowhere lacks cifar10-train.tar, mnist-train.npz")],
)
def test_missing_data_is_named(arguments: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "training", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
