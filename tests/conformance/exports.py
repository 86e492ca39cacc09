"""The exports beside this file: what was asked of the reference, and what it answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.cli import main

HERE = Path(__file__).parent
EXACT = 1e-5  # absolute, of rows of length 1

Rows = NDArray[np.float32]

FOLDERS = sorted(file.parent.name for file in HERE.glob("*/meta.json") if file.parent.name != "odd")


@cache
def facts(family: str) -> dict[str, Any]:
    """What was asked of the reference. Any: JSON."""
    found: dict[str, Any] = json.loads((HERE / family / "meta.json").read_text(encoding="utf-8"))
    return found


@cache
def goldens(family: str) -> dict[str, Rows]:
    with np.load(HERE / family / "golden.npz") as archive:
        return dict(archive)


def texts(family: str) -> list[str]:
    found: list[str] = facts(family)["texts"]
    return found


def files(family: str, kind: str) -> list[Path]:
    """The pictures or sounds of a family: `images` or `audios`."""
    folder = HERE / "inputs" / "odd" if family == "odd" else HERE / "inputs"
    return [folder / Path(name).name for name in facts(family)[kind]]


def images_as_promised(family: str, backend: str = "", key: str = "image_embeds") -> Rows:
    """The golden rows of pictures, with the one that has alpha on white: that is the contract."""
    found = goldens(family)
    rows = found[key + backend].copy()
    place = [file.name for file in files(family, "images")].index("rgba.png")
    if family in ("clip", "siglip") or not backend:
        rows[place] = found.get(f"on_white_{key}{backend}", found.get(f"on_white_embeds{backend}"))
    return rows


def add(models: Path, family: str, *options: str, name: str = "", layout: str = "model") -> str:
    """Adds an export by its one command, and returns what it is called."""
    name = name or family.replace("_", "-")
    command = ["models", "add", str(HERE / family / layout), "--name", name, "--models", str(models)]
    assert main([*command, *options]) == 0
    return name


def with_golden(kind: str, families: Sequence[str] = FOLDERS) -> list[str]:
    """The families that have a golden array of that name."""
    return [family for family in families if kind in goldens(family)]
