"""The tokenizer's file as transformers 5 reads it: many classes overrule what `tokenizer.json` says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

JSON = dict[str, Any]  # Any: whatever the file holds

# Where no file names the class, transformers takes that of the model's kind.
_CLASSES_BY_MODEL = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "longformer": "LongformerTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "clip": "CLIPTokenizer",
    "clip_text_model": "CLIPTokenizer",
    "clap": "RobertaTokenizer",
    "chinese_clip": "BertTokenizer",
}
# Whose published files name a wrong class, so that the file counts (MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS).
_FILE_COUNTS = ("modernbert", "modernbert-decoder", "qwen2", "phi3", "siglip2", "mistral", "xlm-roberta-xl")


def as_read(tokenizer: JSON, config: Mapping[str, Any], model: Mapping[str, Any]) -> JSON:
    """Returns `tokenizer.json` with the steps that the tokenizer's class puts in place of its own.

    config: `tokenizer_config.json`, whose class counts before that of model, `config.json`. Any: JSON.
    """
    model_type = str(model.get("model_type", ""))
    change = _CHANGES.get(class_of(config, model))
    if change is None or model_type in _FILE_COUNTS:
        return tokenizer
    changed = copy.deepcopy(tokenizer)
    change(changed, config)
    return changed


def class_of(config: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Returns the class of a tokenizer, without `Fast`: as stated, else that of the model's kind. Any: JSON."""
    stated = str(config.get("tokenizer_class") or model.get("tokenizer_class") or "")
    return stated.removesuffix("Fast") or _CLASSES_BY_MODEL.get(str(model.get("model_type", "")), "")


def _word_pieces(tokenizer: JSON, config: Mapping[str, Any]) -> None:
    tokenizer["normalizer"] = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
        "lowercase": config.get("do_lower_case", True),
    }
    tokenizer["pre_tokenizer"] = {"type": "BertPreTokenizer"}
    if tokenizer.get("model", {}).get("type", "WordPiece") == "WordPiece":
        tokenizer["model"]["max_input_chars_per_word"] = 100


def _bytes(tokenizer: JSON, config: Mapping[str, Any]) -> None:
    tokenizer["normalizer"] = None
    for step in _steps(tokenizer.get("pre_tokenizer")):
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = bool(config.get("add_prefix_space", False))


def _unigrams(tokenizer: JSON, config: Mapping[str, Any]) -> None:
    """Sets what XLM-R has: the model's own character map, words at white space."""
    maps = [step for step in _steps(tokenizer.get("normalizer")) if step.get("type") == "Precompiled"]
    tokenizer["normalizer"] = maps[0] if maps else None
    scheme = "always" if config.get("add_prefix_space", True) else "never"
    tokenizer["pre_tokenizer"] = _sequence({"type": "WhitespaceSplit"}, _metaspace(scheme))


def _deberta(tokenizer: JSON, config: Mapping[str, Any]) -> None:
    tokenizer["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            *([{"type": "Lowercase"}] if config.get("do_lower_case") else []),
            {"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\n\r\t]"}, "content": " "},
            {"type": "NFC"},
            {"type": "Strip", "strip_left": False, "strip_right": True},
        ],
    }
    splits = [{"type": "Punctuation", "behavior": "Isolated"}] if config.get("split_by_punct") else []
    scheme = "always" if config.get("add_prefix_space", True) else "first"
    tokenizer["pre_tokenizer"] = _sequence(*splits, _metaspace(scheme))


def _llama(tokenizer: JSON, config: Mapping[str, Any]) -> None:
    if any(step.get("type") == "ByteLevel" for step in _steps(tokenizer.get("pre_tokenizer"))):
        return  # Llama 3, whose file counts
    tokenizer["normalizer"] = None
    tokenizer["pre_tokenizer"] = _metaspace("always" if config.get("legacy", False) else "first", splits=False)


_CHANGES: Mapping[str, Callable[[JSON, Mapping[str, Any]], None]] = {
    **dict.fromkeys(("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MPNetTokenizer"), _word_pieces),
    **dict.fromkeys(("RobertaTokenizer", "LongformerTokenizer", "GPT2Tokenizer"), _bytes),
    **dict.fromkeys(("XLMRobertaTokenizer", "CamembertTokenizer"), _unigrams),
    "DebertaV2Tokenizer": _deberta,
    "LlamaTokenizer": _llama,
}


def _metaspace(scheme: str, *, splits: bool = True) -> JSON:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}


def _sequence(*steps: JSON) -> JSON:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def _steps(value: Any) -> list[JSON]:
    """Returns the steps of a normalizer or pre-tokenizer (Any: JSON), one or a sequence of them."""
    if not isinstance(value, dict):
        return []
    inner = value.get("normalizers", value.get("pretokenizers"))
    return [value] if inner is None else [step for each in inner for step in _steps(each)]
