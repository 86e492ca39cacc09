"""A vocabulary's own files make the tokenizer that `tokenizer.json` would be."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer

from sensorium.errors import FailedPrecondition
from shared.importing.layouts import open_hub_folder
from shared.importing.numbers.texts import made_tokenizer, text_numbers
from tests.conformance.exports import HERE, texts

JSON = dict[str, Any]  # Any: whatever a file holds


def word_list(folder: Path, fast: JSON) -> None:
    pieces = sorted(fast["model"]["vocab"].items(), key=lambda each: each[1])
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in pieces), encoding="utf-8")


def unigrams(folder: Path, fast: JSON) -> None:
    """Writes the model that XLM-R's ids are made of: without fairseq's own tokens, which come before and after."""
    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made at import
    pieces = [*((name, 0.0) for name in ("<unk>", "<s>", "</s>")), *fast["model"]["vocab"][4:-1]]
    for piece, score in pieces:
        model.pieces.add(piece=piece, score=score)
    model.trainer_spec.model_type = 1
    steps = [step for step in [fast["normalizer"]] if step] or [{}]
    steps = steps[0].get("normalizers", steps)
    charsmap = next((step["precompiled_charsmap"] for step in steps if step.get("type") == "Precompiled"), "")
    model.normalizer_spec.precompiled_charsmap = base64.b64decode(charsmap)
    (folder / "sentencepiece.bpe.model").write_bytes(model.SerializeToString())


def byte_pairs(folder: Path, fast: JSON) -> None:
    (folder / "vocab.json").write_text(json.dumps(fast["model"]["vocab"]), encoding="utf-8")
    merges = (each if isinstance(each, str) else " ".join(each) for each in fast["model"]["merges"])
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


@pytest.mark.parametrize(
    ("family", "written"),
    [
        ("st_bert_mean", word_list),
        ("bert_cased_flags", word_list),
        ("st_mpnet_mean", word_list),
        ("e5_xlmr", unigrams),
        ("roberta_multilabel", byte_pairs),
        ("clip", byte_pairs),
    ],
)
def test_the_files_of_a_slow_tokenizer_give_the_ids_of_the_fast_one(
    tmp_path: Path, family: str, written: Callable[[Path, JSON], None]
) -> None:
    export = tmp_path / family
    shutil.copytree(HERE / family / "model", export)
    source = open_hub_folder(export)
    kept = made_tokenizer(source).get("tokenizer.json") or (export / "tokenizer.json").read_bytes()
    numbers = text_numbers(source, 64)
    written(export, json.loads(kept))
    (export / "tokenizer.json").unlink()
    (made,) = made_tokenizer(open_hub_folder(export)).values()
    fast, slow = (Tokenizer.from_str(each.decode()) for each in (kept, made))
    for each in (fast, slow):
        each.no_padding()
        each.no_truncation()
    for text in (*texts(family), "  Ünïcode\tand  spaces \n", "猫 mats!", "[MASK] </s>", ""):
        assert slow.encode(text).ids == fast.encode(text).ids, text
    assert text_numbers(open_hub_folder(export), 64) == numbers


def test_a_vocabulary_that_no_tokenizer_wrote_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}', encoding="utf-8")
    (tmp_path / "vocab.json").write_text('{"<s>": "0", "</s>": 1}', encoding="utf-8")
    (tmp_path / "merges.txt").write_text("", encoding="utf-8")
    with pytest.raises(FailedPrecondition, match=r"tokenizer.json: is missing, and cannot be made of the vocabulary"):
        text_numbers(open_hub_folder(tmp_path), 64)


@pytest.mark.parametrize("name", ["spiece.model", "vocab.txt"])
def test_a_vocabulary_of_another_class_is_refused_with_what_makes_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "albert"}', encoding="utf-8")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FailedPrecondition, match=rf"made here of {name} .*save_pretrained"):
        text_numbers(open_hub_folder(tmp_path), 64)
