"""Exports text models, and asks sentence-transformers what it makes of their folders."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel

from tests.conformance.making.common import TEXTS, Array, export, filled, write
from tests.conformance.making.text_folders import put
from tests.conformance.making.text_tokenizers import Files

SIZES: Final = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
HIDDEN: Final = "last_hidden_state"
AXES: Final = {0: "batch_size", 1: "sequence_length"}
BERT_INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")


def export_texts(
    model: Any,
    folder: Path,
    file: str = "onnx/model.onnx",
    outputs: Mapping[str, Mapping[int, str]] | None = None,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
) -> float:
    """Writes a model's graph, tried with TEXTS as its folder's tokenizer makes them; Any: transformers has no types.

    Returns the largest difference of onnxruntime to torch.
    """
    batch = tokens(folder)
    given = {name: batch[name] for name in inputs}
    axes = outputs or {HIDDEN: AXES}
    named = {**dict.fromkeys(given, AXES), **axes}
    return export(model, given, folder / file, list(axes), named)


def tokens(folder: Path, texts: Sequence[str] = TEXTS, max_tokens: int | None = None) -> dict[str, Tensor]:
    """One batch of texts by the folder's tokenizer, with the inputs that some graphs take beside.

    max_tokens: None takes what the tokenizer's files say.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
    mask = batch["attention_mask"]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"token_type_ids": torch.zeros_like(mask), "position_ids": positions, **batch}


@dataclass(frozen=True)
class Encoder:
    """A folder that sentence-transformers reads, but for its weights."""

    folder: Path
    model: Any  # transformers has no types
    more: Files = field(default_factory=dict)  # files that the reference needs, and the folder has not
    texts: Sequence[str] = tuple(TEXTS)
    batch_size: int = 32
    is_overruled: bool = False  # the tokenizer's class overrules what tokenizer.json says

    def reference(self, prefixes: Mapping[str, str] | None = None, names: Iterable[str] = ()) -> dict[str, Array]:
        """What SentenceTransformer.encode gives for the texts, with the tokens of one batch.

        prefixes: Put before the texts, by the name of the golden; names: prompts of the folder.
        """
        texts, size = list(self.texts), self.batch_size
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, "model")
            shutil.copytree(self.folder, copy)
            put(copy, self.more)
            weights = {name: value.contiguous() for name, value in self.model.state_dict().items()}
            save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
            encoder = SentenceTransformer(str(copy), device="cpu", local_files_only=True)
            batch = encoder.preprocess(texts)
            golden = {"text_embeds": encode(encoder, texts, batch_size=size)}
            for name, prefix in (prefixes or {}).items():
                golden[f"{name}_text_embeds"] = encode(encoder, [prefix + text for text in texts], batch_size=size)
            for name in names:
                golden[f"{name}_text_embeds"] = encode(encoder, texts, batch_size=size, prompt_name=name)
        ids = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
        if self.is_overruled == (not disagreeing(self.folder, batch["input_ids"], batch["attention_mask"], texts)):
            raise ValueError(f"{self.folder}: tokenizer.json is overruled where it should not be, or the reverse")
        return {**golden, **ids}


def encode(encoder: Any, texts: Sequence[str], **options: object) -> Array:
    """The embeddings of texts, of length 1. Any: sentence-transformers is not installed where types are checked."""
    rows: Array = encoder.encode(list(texts), normalize_embeddings=True, **options)
    return rows


def agree(folder: Path, ids: Tensor, mask: Tensor) -> None:
    """Holds the reference's tokens to tokenizer.json.

    Raises:
        ValueError: transformers made other tokens than tokenizer.json says.
    """
    if others := disagreeing(folder, ids, mask, TEXTS):
        raise ValueError(f"{folder}: the reference does not tokenize {others[0]!r} as tokenizer.json does")


def disagreeing(folder: Path, ids: Tensor, mask: Tensor, texts: Sequence[str]) -> list[str]:
    """The texts of which the reference made other tokens than tokenizer.json says."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(int(ids.shape[1]))
    rows = [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
    return [text for text, row in zip(texts, rows, strict=True) if tokenizer.encode(text).ids != row]


def finish(family: str, golden: Mapping[str, Array], notes: str, cost: Mapping[str, float], **known: object) -> None:
    """Writes the goldens and what is known of them. cost: torch to onnxruntime, by file."""
    rounded = {file: float(f"{value:.1e}") for file, value in cost.items()}
    write(family, golden, {"texts": TEXTS, "notes": notes, **known, "torch_to_onnxruntime_max_abs": rounded})


def bert(vocabulary_size: int, seed: int = 0, **changes: int) -> Any:  # Any: transformers has no types
    """A tiny BERT without pooler."""
    config = BertConfig(**{"vocab_size": vocabulary_size, "max_position_embeddings": 64, **SIZES, **changes})
    return filled(BertModel(config, add_pooling_layer=False), seed)
