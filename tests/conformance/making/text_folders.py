"""Writes the folders of text models as sentence-transformers lays them out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from tests.conformance.making.common import HERE
from tests.conformance.making.text_tokenizers import Files

CLASSIC: Final = "sentence_transformers.models"


def pipeline(*names: str, package: str = CLASSIC) -> list[dict[str, object]]:
    """modules.json for a transformer and these modules, each in the folder of its place and name."""
    listed = [("", "Transformer"), *((f"{place}_{name}", name) for place, name in enumerate(names, 1))]
    return [
        {"idx": place, "name": str(place), "path": path, "type": f"{package}.{name}"}
        for place, (path, name) in enumerate(listed)
    ]


def classic_pooling(*modes: str, width: int = 32, **others: bool) -> dict[str, object]:
    """1_Pooling/config.json before version 6. modes: of cls_token, mean_tokens, max_tokens …, lasttoken."""
    known = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    stated = {f"pooling_mode_{mode}": mode in modes for mode in known[: 6 if others or "lasttoken" in modes else 4]}
    return {"word_embedding_dimension": width, **stated, **others}


def model_config(model: Any, **changes: object) -> dict[str, Any]:
    """config.json of a model with keys changed. Any: transformers has no types, and JSON."""
    stated = json.loads(model.config.to_json_string(use_diff=True))
    stated.update(architectures=[type(model).__name__], dtype="float32")
    merged = {**stated, **changes}
    return {key: merged[key] for key in sorted(merged)}


def dense(file: Path, in_features: int, out_features: int, seed: int, *, bias: bool, activation: str) -> None:
    """Writes a Dense module's folder: its numbers and its weights."""
    generator = torch.Generator().manual_seed(seed)
    weights = {"linear.weight": torch.randn(out_features, in_features, generator=generator) / in_features**0.5}
    if bias:
        weights["linear.bias"] = 0.3 * torch.randn(out_features, generator=generator)
    stated = {"in_features": in_features, "out_features": out_features, "bias": bias, "activation_function": activation}
    put(file, {"config.json": stated})
    save_file(weights, file / "model.safetensors", metadata={"format": "pt"})


def put(folder: Path, files: Files) -> None:
    """Writes files into a folder."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif isinstance(content, str):
            file.write_text(content, encoding="utf-8")
        else:
            file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def fresh(family: str, *layouts: str) -> list[Path]:
    """The empty folders of a family's layouts."""
    shutil.rmtree(HERE / family, ignore_errors=True)
    folders = [HERE / family / layout for layout in layouts or ("model",)]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


def card(name: str, licence: str, words: str) -> str:
    """A model card that names a published model: importers know by it what no file says."""
    head = f"---\nlicense: {licence}\nlibrary_name: sentence-transformers\n---\n\n"
    return f"{head}# {name}\n\nTiny random weights in the layout of {name}. {words}\n"
