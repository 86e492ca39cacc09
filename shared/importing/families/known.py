"""What is known of published checkpoints by their names, and stands in none of their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# The trained multiplier, already exponentiated, and the bias; no exported graph of one encoder holds them.
_SCALES: Mapping[str, tuple[float, float | None]] = {
    "openai/clip-vit-base-patch32": (100.0, None),
    "openai/clip-vit-base-patch16": (100.0, None),
    "openai/clip-vit-large-patch14": (100.0, None),
    "openai/clip-vit-large-patch14-336": (100.0, None),
}

# Pooling, by a part of the name: model cards say it, `config.json` does not. The first that fits holds.
_POOLINGS = (
    (r"qwen3-embedding|gte-qwen|e5-mistral|sfr-embedding|linq-embed", "lasttoken"),
    (r"(^|[-_/])e5[-_]", "mean"),
    (r"(^|[-_/])bge-(small|base|large|m3)", "cls"),
    (r"gte-.*(v1\.5|modernbert|-zh)", "cls"),
    (r"multi-qa-.*-dot", "cls"),
    (r"(^|[-_/])gte-(small|base|large)", "mean"),
    (r"snowflake-arctic-embed|mxbai-embed", "cls"),
    (r"(^|[-_/ ])(all|paraphrase|multi-qa)-\S*(minilm|mpnet|roberta|distilbert)|nomic-embed-text", "mean"),
)

_BY_KIND = {"qwen3": "lasttoken"}  # of a decoder that was published as an embedder, the one token that sees all others

_E5 = {"query": "query: ", "passage": "passage: ", "document": "passage: "}
_BGE = {"query": "Represent this sentence for searching relevant passages: ", "document": ""}
_BGE_ZH = {"query": "为这个句子生成表示以用于检索相关文章：", "document": ""}
_TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
_GEMMA = {"query": "task: search result | query: ", "document": "title: none | text: "}
_PROMPTS = (
    (r"qwen3-embedding", {"query": _TASK, "document": ""}),
    (r"embeddinggemma|embedding-gemma", _GEMMA),
    (r"(^|[-_/])e5[-_](?!.*(instruct|mistral))|multilingual-e5-(?!.*instruct)", _E5),
    (r"(^|[-_/])bge-(small|base|large)-zh", _BGE_ZH),
    (r"(^|[-_/])bge-(small|base|large)-en", _BGE),
)


def known_scale(config: Mapping[str, Any], source: str) -> tuple[float, float | None] | None:
    """Returns the scale and bias of a checkpoint that is known by its `_name_or_path`, or by where it is from."""
    names = (str(config.get("_name_or_path") or ""), source.removeprefix("hf://").partition("@")[0])
    return next((_SCALES[name] for name in names if name in _SCALES), None)


def known_pooling(name: str, kind: str) -> str:
    """Returns the pooling of a text model of that name, else of that `model_type`; empty where it is not known."""
    return next((mode for pattern, mode in _POOLINGS if re.search(pattern, name.lower())), _BY_KIND.get(kind, ""))


def known_prompts(name: str) -> Mapping[str, str]:
    """Returns the prompts that a text model of that name was trained with, by what they are for."""
    return next((prompts for pattern, prompts in _PROMPTS if re.search(pattern, name.lower())), {})
