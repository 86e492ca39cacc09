"""Numbers of text models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.numbers.slow_tokenizers import TOKENIZER, tokenizer_of
from shared.importing.numbers.tokenizer_file import as_read

_WITHOUT_LIMIT = 512
_NO_LIMIT = 1_000_000  # a larger `model_max_length` says that the tokenizer knows none

# Models that count positions from the padding token's id + 1, so that they hold fewer tokens than positions.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "data2vec-text", "longformer")
_ABSOLUTE_POSITIONS = (*_OFFSET_POSITIONS, "bert", "distilbert", "electra", "albert")


def text_numbers(
    folder: HubFolder,
    limit: int,
    *,
    fixed_length: int = 0,
    lowercase: bool = False,
    pad_id: int | None = None,
    masks_prompt: bool = False,
) -> dict[str, Any]:
    """Returns the numbers of a text model. Any: JSON.

    limit: the longest input in tokens; pad_id: None where the tokenizer's files say it.

    Raises:
        FailedPrecondition: the tokenizer is missing.
    """
    if folder.json("tokenizer_config.json").get("split_special_tokens"):
        raise import_error("tokenizer_config.json", "`split_special_tokens` is true, which is not done")
    tokenizer = tokenizer_of(folder)
    first, side = first_position(folder.json("config.json")), _truncation_side(folder, tokenizer)
    return {
        "tokenizer": TOKENIZER,
        "max_tokens": limit,
        "pad_id": _pad_id(folder, tokenizer) if pad_id is None else pad_id,
        "pad_multiple": 1,
        "fixed_length": fixed_length,
        "accepts_empty": True,
        "lowercase": lowercase,
        **({"masks_prompt": True} if masks_prompt else {}),
        **({"first_position": first} if first else {}),
        **({"truncation_side": side} if side != "right" else {}),
    }


def made_tokenizer(folder: HubFolder) -> Mapping[str, bytes]:
    """Returns the tokenizer by its name, where it is not simply the export's file; else nothing.

    It is made of the vocabulary's own files where there is no other; and where the class of the tokenizer would
    overrule what the file says, as transformers does, it is made so.
    """
    if not folder.has(TOKENIZER):
        return {TOKENIZER: json.dumps(tokenizer_of(folder), ensure_ascii=False).encode()}
    tokenizer, config = folder.json(TOKENIZER), folder.json("tokenizer_config.json")
    read = as_read(tokenizer, config, folder.json("config.json"))
    return {} if read == tokenizer else {TOKENIZER: json.dumps(read, ensure_ascii=False).encode()}


def sentence_config(folder: HubFolder) -> Mapping[str, Any]:
    """Returns what sentence-transformers keeps of its transformer (Any: JSON), under the name of the first it finds."""
    names = (f"sentence_{kind}_config.json" for kind in _SENTENCE_KINDS)
    return next((folder.json(name) for name in names if folder.has(name)), {})


# In the order in which sentence-transformers looks for them.
_SENTENCE_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")


def text_limit(folder: HubFolder, config: Mapping[str, Any]) -> int:
    """Returns how many tokens a model takes: of the files that state it, the one that counts for its kind."""
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int):
        positions -= first_position(config)
    sentence = sentence_config(folder)
    arguments = sentence.get("tokenizer_args") or sentence.get("processor_kwargs") or {}
    model_max = arguments.get("model_max_length") or folder.json("tokenizer_config.json").get("model_max_length")
    called = (sentence.get("processing_kwargs") or {}).get("text") or {}
    stated = called.get("max_length", sentence.get("max_seq_length"))
    if isinstance(stated, int):  # a model of absolute positions fails beyond them; others take what is stated
        limits = [stated, positions if config.get("model_type") in _ABSOLUTE_POSITIONS else None]
    else:
        limits = [model_max, positions]
    found = [each for each in limits if isinstance(each, int) and 0 < each < _NO_LIMIT]
    return min(found, default=_WITHOUT_LIMIT)


def first_position(config: Mapping[str, Any]) -> int:
    """Returns what a model counts positions from."""
    if config.get("model_type") not in _OFFSET_POSITIONS:
        return 0
    pad_id = config.get("pad_token_id")
    return (pad_id if isinstance(pad_id, int) else 1) + 1


def _truncation_side(folder: HubFolder, tokenizer: Mapping[str, Any]) -> str:
    """Returns which end of a long text is cut: what the tokenizer's config says, else its file."""
    stated = folder.json("tokenizer_config.json").get("truncation_side")
    baked = (tokenizer.get("truncation") or {}).get("direction")
    return "left" if str(stated or baked or "").lower() == "left" else "right"


def _pad_id(folder: HubFolder, tokenizer: Mapping[str, Any]) -> int:
    """Returns the id of the token that `tokenizer_config.json` says to pad with."""
    token = folder.json("tokenizer_config.json").get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    for added in tokenizer.get("added_tokens", ()):
        if added.get("content") == token:
            return int(added["id"])
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, dict) and token in vocabulary:
        return int(vocabulary[token])
    return int(folder.json("config.json").get("pad_token_id") or 0)
