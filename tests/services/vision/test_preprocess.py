"""A vision package whose numbers are wrong is refused before it serves, by file and field."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sensorium.errors import FailedPrecondition
from services.vision.app import serving
from services.vision.config import Config
from shared.hosting.config import HostingConfig
from tests.running import running

SHIPPED = Path(__file__).parents[3] / "models" / "tiny-vision"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resample": "nearest"}, "field `preprocess.resample`: expected one of bicubic, bilinear, lanczos, got"),
        ({"mode": "opencv"}, "field `preprocess.mode`: expected one of pil, torchvision, got"),
        ({"size": [32]}, "field `preprocess.size`: expected a list of 2"),
    ],
)
async def test_wrong_numbers_are_refused_at_the_start(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    shutil.copytree(SHIPPED, tmp_path / "tiny-vision")
    file = tmp_path / "tiny-vision" / "1" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["preprocess"] |= change
    file.write_text(json.dumps(manifest))
    with pytest.raises(FailedPrecondition) as refusal:
        async with running(serving, Config, hosting=HostingConfig(models=tmp_path)):
            pass
    assert said in str(refusal.value)
    assert "tiny-vision/1: manifest.json" in str(refusal.value)
