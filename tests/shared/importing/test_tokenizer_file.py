"""A tokenizer's file is read as transformers 5.24 reads it, which many classes do by their own steps."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from shared.importing.layouts import open_hub_folder
from shared.importing.numbers.texts import made_tokenizer
from shared.importing.numbers.tokenizer_file import as_read

EXPORTS = Path(__file__).parents[2] / "conformance"

JSON = dict[str, Any]  # Any: whatever a file holds

LETTERS = "abcABCé1,ǅ"
LOWERCASE = {"type": "Lowercase"}


def file_of(model: JSON, normalizer: JSON | None, pre_tokenizer: JSON | None) -> JSON:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": None,
        "model": model,
    }


def word_pieces() -> JSON:
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *LETTERS,
        "e",
        *(f"##{each}" for each in LETTERS + "e"),
        "猫",
    ]
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 3,
        "vocab": {piece: place for place, piece in enumerate(pieces)},
    }
    return file_of(model, {**LOWERCASE}, {"type": "WhitespaceSplit"})


def unigrams() -> JSON:
    """No piece of several letters: the tokens show what normalizer and pre-tokenizer leave."""
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = [[mark, 0.0] for mark in marks] + [[letter, -1.0] for letter in f"▁{LETTERS} \n"]
    model: JSON = {
        "type": "Unigram",
        "unk_id": 3,
        "byte_fallback": False,
        "vocab": [*vocabulary, ["▁▁", -0.5], ["a▁", -0.5]],
    }
    splits = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return file_of(model, {**LOWERCASE}, splits)


def byte_pairs() -> JSON:
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", "Ċ", *"abcABC1,"]
    model: JSON = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": {letter: place for place, letter in enumerate(letters)},
        "merges": [],
    }
    splits = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return file_of(model, {**LOWERCASE}, splits)


def llama_pairs() -> JSON:
    vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256)), *"▁abcABC", "▁a", "▁▁"]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "vocab": {piece: place for place, piece in enumerate(vocabulary)},
        "merges": [["▁", "a"], ["▁", "▁"]],
    }
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prepended = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]}
    return file_of(model, prepended, None)


FILES = {each.__name__: each for each in (word_pieces, unigrams, byte_pairs, llama_pairs)}

WORDS = "Ab,C \x07é 猫 aaaa"
PIECES = "Ab,  c\n é\u0301\tB \u3000a "
BYTES = "A b\na"
SPACES = "  a B\nabc"

CASED = {"do_lower_case": False}
UNKNOWN = {"unk_token": "<unk>"}

# Kind of file, tokenizer_config.json, model_type, text, and the tokens of transformers 5.24 without special ones.
CASES: list[tuple[str, JSON, str, str, str]] = [
    ("word_pieces", {"tokenizer_class": "BertTokenizer"}, "bert", WORDS, "a ##b , c e 猫 a ##a ##a ##a"),
    ("word_pieces", {}, "bert", WORDS, "a ##b , c e 猫 a ##a ##a ##a"),
    ("word_pieces", {**CASED}, "bert", WORDS, "A ##b , C é 猫 a ##a ##a ##a"),
    ("word_pieces", {"tokenizer_class": "BertTokenizerFast", **CASED}, "bert", WORDS, "A ##b , C é 猫 a ##a ##a ##a"),
    ("word_pieces", {"tokenizer_class": "BertTokenizer", **CASED, "strip_accents": True}, "bert", WORDS,
     "A ##b , C e 猫 a ##a ##a ##a"),
    (
        "word_pieces", {"tokenizer_class": "BertTokenizer", "strip_accents": False, "tokenize_chinese_chars": False},
        "bert", WORDS, "a ##b , c é 猫 a ##a ##a ##a",
    ),
    ("word_pieces", {"tokenizer_class": "DistilBertTokenizer", **CASED}, "distilbert", WORDS,
     "A ##b , C é 猫 a ##a ##a ##a"),
    ("word_pieces", {"tokenizer_class": "MPNetTokenizer", **CASED}, "mpnet", WORDS, "A ##b , C é 猫 a ##a ##a ##a"),
    ("word_pieces", {"tokenizer_class": "ElectraTokenizer", **CASED}, "electra", WORDS, "A ##b , C é 猫 a ##a ##a ##a"),
    ("word_pieces", {"tokenizer_class": "BertTokenizer", **CASED}, "xlm-roberta", WORDS,
     "A ##b , C é 猫 a ##a ##a ##a"),
    ("word_pieces", {"tokenizer_class": "PreTrainedTokenizerFast", **CASED}, "bert", WORDS, "[UNK] [UNK] 猫 [UNK]"),
    ("word_pieces", {"tokenizer_class": "BertTokenizer", **CASED}, "modernbert", WORDS, "[UNK] [UNK] 猫 [UNK]"),
    ("unigrams", {"tokenizer_class": "XLMRobertaTokenizer"}, "xlm-roberta", PIECES, "▁ A b , ▁ c ▁ é <unk> ▁ B ▁ a"),
    ("unigrams", {"tokenizer_class": "XLMRobertaTokenizer"}, "bert", PIECES, "▁ A b , ▁ c ▁ é <unk> ▁ B ▁ a"),
    ("unigrams", {}, "xlm-roberta", PIECES, "▁ A b , ▁ c ▁ é <unk> ▁ B ▁ a"),
    ("unigrams", {"tokenizer_class": "XLMRobertaTokenizerFast", "add_prefix_space": False}, "xlm-roberta", PIECES,
     "A b , c é <unk> B a"),
    ("unigrams", {"tokenizer_class": "PreTrainedTokenizerFast"}, "xlm-roberta", PIECES,
     "▁ a b , ▁ ▁ c \n ▁ é <unk> b ▁ <unk> a ▁"),
    ("unigrams", {"tokenizer_class": "DebertaV2Tokenizer", **UNKNOWN}, "deberta-v2", PIECES,
     "▁ A b , ▁ c ▁ é <unk> ▁ B ▁ a"),
    (
        "unigrams",
        {"tokenizer_class": "DebertaV2TokenizerFast", "do_lower_case": True, "split_by_punct": True, **UNKNOWN},
        "deberta-v2", PIECES, "▁ a b ▁ , ▁ c ▁ é <unk> ▁ b ▁ a",
    ),
    ("byte_pairs", {"tokenizer_class": "RobertaTokenizer"}, "roberta", BYTES, "A Ġ b Ċ a"),
    ("byte_pairs", {}, "roberta", BYTES, "A Ġ b Ċ a"),
    ("byte_pairs", {"tokenizer_class": "LongformerTokenizer"}, "longformer", BYTES, "A Ġ b Ċ a"),
    ("byte_pairs", {"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": True}, "roberta", BYTES,
     "Ġ A Ġ b Ċ a"),
    ("byte_pairs", {"tokenizer_class": "PreTrainedTokenizerFast"}, "roberta", BYTES, "Ġ a Ġ b Ċ a"),
    ("llama_pairs", {"tokenizer_class": "LlamaTokenizer"}, "llama", SPACES, "▁ ▁a ▁ B <0x0A> a b c"),
    ("llama_pairs", {"tokenizer_class": "LlamaTokenizerFast", "legacy": True}, "llama", SPACES,
     "▁ ▁a ▁ B <0x0A> a b c"),
    ("llama_pairs", {}, "llama", SPACES, "▁▁ ▁a ▁ B <0x0A> a b c"),
    ("llama_pairs", {"tokenizer_class": "LlamaTokenizer"}, "mistral", SPACES, "▁▁ ▁a ▁ B <0x0A> a b c"),
    ("byte_pairs", {"tokenizer_class": "LlamaTokenizerFast"}, "llama", BYTES, "Ġ a Ġ b Ċ a"),
    ("byte_pairs", {"tokenizer_class": "GPT2Tokenizer"}, "gpt2", BYTES, "A Ġ b Ċ a"),
    ("unigrams", {"tokenizer_class": "CamembertTokenizer"}, "camembert", PIECES, "▁ A b , ▁ c ▁ é <unk> ▁ B ▁ a"),
]  # fmt: skip


def tokens(read: JSON, text: str) -> str:
    """The pieces of a text's ids, with a space between."""
    tokenizer = Tokenizer.from_str(json.dumps(read))
    return " ".join(str(tokenizer.id_to_token(each)) for each in tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize(
    ("kind", "config", "model_type", "text", "expected"),
    CASES,
)
def test_the_class_says_how_its_file_is_read(
    kind: str, config: JSON, model_type: str, text: str, expected: str
) -> None:
    assert tokens(as_read(FILES[kind](), config, {"model_type": model_type}), text) == expected


def test_the_file_that_is_read_stays_as_it_was() -> None:
    given = word_pieces()
    kept = copy.deepcopy(given)
    assert as_read(given, {"tokenizer_class": "BertTokenizer"}, {"model_type": "bert"}) != kept
    assert given == kept


def test_a_class_of_no_own_steps_leaves_the_file() -> None:
    given = byte_pairs()
    assert as_read(given, {"tokenizer_class": "PreTrainedTokenizerFast"}, {"model_type": "bert"}) == byte_pairs()


def test_config_json_names_the_class_where_the_tokenizer_s_does_not(tmp_path: Path) -> None:
    named = {"model_type": "bert", "tokenizer_class": "XLMRobertaTokenizer"}  # as Multilingual-MiniLM
    for name, value in (("config", named), ("tokenizer_config", {}), ("tokenizer", unigrams())):
        (tmp_path / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    made = json.loads(made_tokenizer(open_hub_folder(tmp_path))["tokenizer.json"])
    assert tokens(made, "Ab,  c\n a") == "▁ A b , ▁ c ▁ a"


@pytest.mark.parametrize("family", ["xlmr_class", "bert_cased_flags"])
def test_exports_whose_class_overrules_their_file_give_the_ids_of_the_reference(family: str) -> None:
    files = {name: json.loads((EXPORTS / family / "model" / name).read_text(encoding="utf-8"))
             for name in ("tokenizer.json", "tokenizer_config.json", "config.json")}  # fmt: skip
    stated = files["tokenizer.json"]
    read = as_read(stated, files["tokenizer_config.json"], files["config.json"])
    texts = json.loads((EXPORTS / family / "meta.json").read_text(encoding="utf-8"))["texts"]
    with np.load(EXPORTS / family / "golden.npz") as golden:
        rows = [
            ids[mask == 1].tolist() for ids, mask in zip(golden["input_ids"], golden["attention_mask"], strict=True)
        ]
    found = [Tokenizer.from_str(json.dumps(each)) for each in (read, stated)]
    by_class, by_file = ([tokenizer.encode(text).ids for text in texts] for tokenizer in found)
    assert by_class == rows
    assert by_file != rows
