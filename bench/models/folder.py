"""Keeps the models that are timed: as exports in the Hub's layout, and as packages of ours, made once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from bench.models.transformer import Shape, bert, vit
from bench.models.vocabulary import SIZE, tokenizer_json

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"

MAX_TOKENS = 256  # of all-MiniLM-L6-v2
MINILM = Shape(width=384, layers=6, heads=12, inner=1536)
VIT_SMALL = Shape(width=384, layers=12, heads=6, inner=1536)
_EDGE, _PATCH = 224, 16
_MADE_BY = "2"  # changes when the files below change, so that old ones are made again
_CARD = "---\nlicense: apache-2.0\n---\nRandom weights in a known shape; made by bench/ to be timed.\n"
_ST = "sentence_transformers.models."


@dataclass(frozen=True, slots=True)
class Models:
    """The models on disk.

    text, vision: the exports, folders in the layout of the Hugging Face Hub.
    packages: the folder that our services load, with both of them and the audio model that ships.
    """

    text: Path
    vision: Path
    packages: Path


def models(root: Path = BUILD) -> Models:
    """Returns the models, made where they are missing."""
    made = Models(root / "exports" / "minilm", root / "exports" / "vit", root / "models")
    stamp = root / "made-by"
    if stamp.is_file() and stamp.read_text() == _MADE_BY:
        return made
    for folder in (made.text, made.vision, made.packages):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    write_text(made.text, MINILM)
    write_vision(made.vision, VIT_SMALL)
    add(made.text, "minilm", made.packages)
    add(made.vision, "vit", made.packages)
    shutil.copytree(ROOT / "models" / "tiny-audio", made.packages / "tiny-audio")
    stamp.write_text(_MADE_BY)
    return made


def graph_of(made: Models, kind: str) -> Path:
    """Returns the graph that inputs of a kind go through."""
    if kind == "audio":
        return made.packages / "tiny-audio" / "1" / "model.onnx"
    return (made.vision if kind == "image" else made.text) / "onnx" / "model.onnx"


def add(export: Path, name: str, packages: Path) -> None:
    """Makes a package of an export by the command that users have."""
    command = [sys.executable, "-m", "sensorium.cli", "models", "add", str(export), "--name", name]
    subprocess.run([*command, "--models", str(packages)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT, timeout=300)


def write_text(folder: Path, shape: Shape) -> None:
    """Writes a sentence encoder as sentence-transformers keeps it: BERT, mean pooling, normalized."""
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    files: Mapping[str, Any] = {
        "config.json": {
            "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": shape.width,
            "intermediate_size": shape.inner, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
            "num_attention_heads": shape.heads, "num_hidden_layers": shape.layers, "pad_token_id": 0,
            "type_vocab_size": 2, "vocab_size": SIZE,
        },
        "modules.json": [{"idx": i, "name": name, "path": path, "type": f"{_ST}{kind}"}
                         for i, (name, path, kind) in enumerate(modules)],
        "1_Pooling/config.json": {"word_embedding_dimension": shape.width, "pooling_mode_cls_token": False,
                                  "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False},
        "2_Normalize/config.json": {},
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.2.2"}},
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, "strip_accents": None,
            "tokenize_chinese_chars": True, "cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]",
            "sep_token": "[SEP]", "unk_token": "[UNK]",
        },
    }  # fmt: skip
    _write(folder, files, bert(shape, SIZE, 512))
    (folder / "tokenizer.json").write_text(tokenizer_json(MAX_TOKENS))


def write_vision(folder: Path, shape: Shape) -> None:
    """Writes an image encoder as transformers keeps it: ViT, of which the state of CLS is served."""
    files: Mapping[str, Any] = {
        "config.json": {
            "architectures": ["ViTModel"], "model_type": "vit", "hidden_act": "gelu", "hidden_size": shape.width,
            "image_size": _EDGE, "intermediate_size": shape.inner, "layer_norm_eps": 1e-12, "num_channels": 3,
            "num_attention_heads": shape.heads, "num_hidden_layers": shape.layers, "patch_size": _PATCH,
        },
        "preprocessor_config.json": {
            "image_processor_type": "ViTImageProcessor", "do_normalize": True, "do_rescale": True, "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 1 / 255,
            "size": {"height": _EDGE, "width": _EDGE},
        },
    }  # fmt: skip
    _write(folder, files, vit(shape, _EDGE, _PATCH))


def _write(folder: Path, files: Mapping[str, Any], model: onnx.ModelProto) -> None:
    """Any: whatever JSON the files hold."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=1))
    (folder / "README.md").write_text(_CARD)
    (folder / "onnx").mkdir(exist_ok=True)
    onnx.save(model, str(folder / "onnx" / "model.onnx"))
