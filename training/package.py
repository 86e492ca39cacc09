"""Writes the model packages: graph, tokenizer, model card, and a manifest with the hash of every file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from training import settings
from training.concepts import LABELS
from training.export import Graph, audio_graph, concepts_graph, export, fusion_graph, text_graph, vision_graph
from training.joint import ConceptHead, Fusion
from training.towers import AudioTower, TextTower, VisionTower

VERSION = "1"
TEMPLATES = ("{}", "a picture of {}", "this is {}")


@dataclass(frozen=True, slots=True)
class Calibration:
    """How cosines of queries of one modality become probabilities, and below which one the best label may not fit."""

    logit_scale: float
    logit_bias: float
    none_cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that ships: trained modules in evaluation mode, the tokenizer, and the numbers that were measured.

    calibration: by query modality: `text`, `image`, `audio`; a modality may lack it. card: the text of MODEL_CARD.md.
    facts: what the manifests' `training` field says (Any: JSON).
    """

    vision: VisionTower
    audio: AudioTower
    text: TextTower
    fusion: Fusion
    head: ConceptHead
    tokenizer: Tokenizer
    calibration: Mapping[str, Calibration]
    card: str
    facts: Mapping[str, Any]


def write_bundle(bundle: Bundle, models: Path) -> None:
    """Writes the five packages into `models`, each replaced whole once all of them are written."""
    fresh = models.parent / f".{models.name}-fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    for name, graph, manifest in _packages(bundle):
        folder = fresh / name / VERSION
        folder.mkdir(parents=True)
        export(graph, folder / "model.onnx")
        (folder / "MODEL_CARD.md").write_text(bundle.card, encoding="utf-8")
        if name == "tiny-text":
            bundle.tokenizer.save(str(folder / "tokenizer.json"))
        _write_manifest(folder, manifest)
    _swap(fresh, models)


def _packages(bundle: Bundle) -> list[tuple[str, Graph, dict[str, Any]]]:
    return [
        (
            "tiny-text",
            text_graph(bundle.text),
            _encoder(bundle, "text", "text_embeds", settings.TEXT_PREPROCESS, 4096)
            | {"prompts": {}, "templates": list(TEMPLATES)},
        ),
        (
            "tiny-vision",
            vision_graph(bundle.vision),
            _encoder(bundle, "image", "image_embeds", settings.IMAGE_PREPROCESS, 64 * 1024),
        ),
        (
            "tiny-audio",
            audio_graph(bundle.audio),
            _encoder(bundle, "audio", "audio_embeds", settings.AUDIO_PREPROCESS, 8192),
        ),
        ("tiny-fusion", fusion_graph(bundle.fusion), _joint(bundle, "fuse", "fused")),
        (
            "tiny-concepts",
            concepts_graph(bundle.head),
            _joint(bundle, "predict", "logits") | {"labels": list(LABELS)},
        ),
    ]


def _encoder(bundle: Bundle, modality: str, output: str, preprocess: Mapping[str, Any], cost: int) -> dict[str, Any]:
    fitted = bundle.calibration.get(modality)
    calibration = (
        {
            "calibration": {
                "logit_scale": round(fitted.logit_scale, 3),
                "logit_bias": round(fitted.logit_bias, 3),
                "activation": "softmax",
                **({} if fitted.none_cosine is None else {"none_cosine": round(fitted.none_cosine, 4)}),
            }
        }
        if fitted
        else {}
    )
    return {
        "task": "encode",
        "modality": modality,
        **_common(bundle, output, cost),
        "preprocess": dict(preprocess),
        **calibration,
    }


def _joint(bundle: Bundle, task: str, output: str) -> dict[str, Any]:
    return {"task": task, **_common(bundle, output, 4096)}


def _common(bundle: Bundle, output: str, cost: int) -> dict[str, Any]:
    return {
        "space": settings.SPACE,
        "dim": settings.DIM,
        "graph": "model.onnx",
        "output": output,
        "pooling": "none",
        "limits": {"max_batch_items": 64, "max_batch_cost": cost},
        "licence": "Apache-2.0",
        "source": "made by training/ of this repository",
        "training": dict(bundle.facts),
    }


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    whole = {"schema": 1, "name": folder.parent.name, "version": folder.name, **manifest, "files": files}
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def _swap(fresh: Path, models: Path) -> None:
    """Puts each fresh package in place of the old one by renames; other packages of the folder stay."""
    models.mkdir(parents=True, exist_ok=True)
    for package in sorted(fresh.iterdir()):
        target, old = models / package.name, fresh / f"old-{package.name}"
        if target.exists():
            target.rename(old)
        package.rename(target)
    shutil.rmtree(fresh)
