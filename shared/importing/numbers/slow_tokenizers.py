"""Makes `tokenizer.json` of the vocabulary files that exports carry in its place, as transformers does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.numbers.tokenizer_file import as_read, class_of
from shared.importing.sentencepiece_tokenizer import siglip_tokenizer, xlm_roberta_tokenizer

TOKENIZER = "tokenizer.json"
_WORDS, _PIECES, _SPIECE, _PAIRS = "vocab.txt", "sentencepiece.bpe.model", "spiece.model", ("vocab.json", "merges.txt")
_MAX_BYTES = 64 * 1024 * 1024

JSON = dict[str, Any]  # Any: whatever the file holds

_CLIP_WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def has_tokenizer(folder: HubFolder) -> bool:
    """Returns whether there is a tokenizer, in whatever files."""
    return any(folder.has(each) for each in (TOKENIZER, _WORDS, _PIECES, _SPIECE)) or all(map(folder.has, _PAIRS))


def tokenizer_of(folder: HubFolder) -> JSON:
    """Returns the object that `tokenizer.json` holds or, where there is none, would hold.

    Raises:
        FailedPrecondition: there is no tokenizer, or it is of a class that none is made for here.
    """
    if folder.has(TOKENIZER):
        return folder.json(TOKENIZER)
    if "siglip" in str(folder.json("config.json").get("model_type")) and folder.has(_SPIECE):
        made: JSON = json.loads(siglip_tokenizer(_read(folder, _SPIECE)))
        return made
    config, model = folder.json("tokenizer_config.json"), folder.json("config.json")
    try:
        return as_read(_with_added(folder, _made(folder, class_of(config, model))), config, model)
    except (ValueError, TypeError, AttributeError, KeyError) as fault:  # JSON of another shape than tokenizers write
        raise import_error(TOKENIZER, f"is missing, and cannot be made of the vocabulary: {str(fault)[:150]}") from None


def _made(folder: HubFolder, kind: str) -> JSON:
    """Returns the tokenizer of a class, of the files that it keeps, without tokens that were added."""
    if folder.has(_WORDS) and kind in _WORD_CLASSES:
        return _word_pieces(folder, _WORD_CLASSES[kind])
    if folder.has(_PIECES) and kind == "XLMRobertaTokenizer":
        made: JSON = json.loads(xlm_roberta_tokenizer(_read(folder, _PIECES), _PIECES))
        return made
    if all(map(folder.has, _PAIRS)) and kind in _PAIR_CLASSES:
        return _PAIR_CLASSES[kind](folder)
    raise _refusal(folder, kind)


def _refusal(folder: HubFolder, kind: str) -> Exception:
    there = [name for name in (_WORDS, _PIECES, _SPIECE, *_PAIRS) if folder.has(name)]
    save = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers writes it"
    if not there:
        return import_error(TOKENIZER, f"is missing; save the tokenizer beside the model: {save}")
    names = ", ".join(there)
    problem = f"is missing, and none is made here of {names} for the class {kind or 'that no file names'}; {save}"
    return import_error(TOKENIZER, problem)


def _read(folder: HubFolder, name: str) -> bytes:
    return folder.path(name, _MAX_BYTES).read_bytes()


def _lines(folder: HubFolder, name: str) -> list[str]:
    try:
        lines = _read(folder, name).decode("utf-8").split("\n")
    except UnicodeDecodeError as fault:
        raise import_error(name, f"is no UTF-8: byte {fault.start}") from None
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def _special(folder: HubFolder, role: str, usual: str) -> str:
    """Returns what a special token is called: `tokenizer_config.json`, the older map, or the class says."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        token = folder.json(name).get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return token
    return usual


_BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_MPNET = {"pad": "<pad>", "unk": "[UNK]", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
_WORD_CLASSES = {
    "BertTokenizer": _BERT,
    "DistilBertTokenizer": _BERT,
    "ElectraTokenizer": _BERT,
    "MPNetTokenizer": _MPNET,
}


def _word_pieces(folder: HubFolder, usual: Mapping[str, str]) -> JSON:
    """Returns BERT's tokenizer, of a vocabulary with one piece a line; its steps are set by `as_read`."""
    names = {role: _special(folder, role, token) for role, token in usual.items()}
    vocabulary = {piece: place for place, piece in enumerate(_lines(folder, _WORDS))}
    _check(_WORDS, vocabulary, (names[role] for role in ("unk", "cls", "sep")))
    model = {
        "type": "WordPiece",
        "unk_token": names["unk"],
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    }
    strips = names["mask"] if usual is _MPNET else ""
    decoder = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    return _file(model, _around(names, vocabulary), decoder, _tokens(names, vocabulary, strips))


def _check(file: str, vocabulary: Mapping[str, int], tokens: Any) -> None:
    """Refuses a vocabulary without its special tokens (Any: an iterable of names)."""
    if missing := [token for token in tokens if token not in vocabulary]:
        raise import_error(file, f"lacks the token {missing[0]}, which tokenizer_config.json or the class names")


def _pairs(folder: HubFolder) -> tuple[dict[str, int], list[list[str]]]:
    vocabulary = folder.json(_PAIRS[0])
    lines = [line for line in _lines(folder, _PAIRS[1]) if line and not line.startswith("#version")]
    return vocabulary, [line.split(" ") for line in lines]


def _pair_model(folder: HubFolder, unknown: str | None, ending: str) -> JSON:
    vocabulary, merges = _pairs(folder)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": ending,
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": vocabulary,
        "merges": merges,
    }


_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _roberta(folder: HubFolder) -> JSON:
    usual = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
    names = {role: _special(folder, role, token) for role, token in usual.items()}
    model = _pair_model(folder, None, "")
    _check(_PAIRS[0], model["vocab"], (names["cls"], names["sep"]))
    mask = folder.json("tokenizer_config.json").get("mask_token")
    strips = names["mask"] if isinstance(mask, dict) and mask.get("lstrip") else ""
    tokens = _tokens(names, model["vocab"], strips)
    return {**_file(model, _around(names, model["vocab"], second=0), {**_BYTES}, tokens), "pre_tokenizer": {**_BYTES}}


def _clip(folder: HubFolder) -> JSON:
    usual = {"cls": "<|startoftext|>", "sep": "<|endoftext|>", "unk": "<|endoftext|>", "pad": "<|endoftext|>"}
    keys = {"cls": "bos", "sep": "eos"}
    names = {role: _special(folder, keys.get(role, role), token) for role, token in usual.items()}
    model = _pair_model(folder, names["unk"], "</w>")
    _check(_PAIRS[0], model["vocab"], names.values())
    made = _file(model, _around(names, model["vocab"], second=0), {**_BYTES}, _tokens(names, model["vocab"]))
    spaces = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    words = {"type": "Split", "pattern": {"Regex": _CLIP_WORDS}, "behavior": "Removed", "invert": True}
    return {
        **made,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, spaces, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, {**_BYTES}]},
    }


_PAIR_CLASSES: Mapping[str, Callable[[HubFolder], JSON]] = {
    "RobertaTokenizer": _roberta,
    "LongformerTokenizer": _roberta,
    "CLIPTokenizer": _clip,
}


def _file(model: JSON, post_processor: JSON, decoder: JSON, tokens: Sequence[JSON]) -> JSON:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(tokens),
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": model,
    }


def _around(names: Mapping[str, str], vocabulary: Mapping[str, int], second: int = 1) -> JSON:
    """Returns the step that puts `cls` before a text and `sep` after it; second: the type of a pair's other text."""
    first, last = names["cls"], names["sep"]
    marks = {token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]} for token in {first, last}}
    one: list[JSON] = [
        {"SpecialToken": {"id": first, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": last, "type_id": 0}},
    ]
    other: list[JSON] = [
        {"Sequence": {"id": "B", "type_id": second}},
        {"SpecialToken": {"id": last, "type_id": second}},
    ]
    return {"type": "TemplateProcessing", "single": one, "pair": one + other, "special_tokens": marks}


def _tokens(names: Mapping[str, str], vocabulary: Mapping[str, int], strips: str = "") -> list[JSON]:
    """Returns the special tokens; strips: the one that takes the space before it along."""
    places = {vocabulary[token]: token for token in names.values() if token in vocabulary}
    return [_added(place, name, lstrip=name == strips) for place, name in sorted(places.items())]


def _added(place: int, content: str, **flags: bool) -> JSON:
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": place, "content": content, **usual, **flags}


def _with_added(folder: HubFolder, tokenizer: JSON) -> JSON:
    """Returns the tokenizer with the tokens that were added to it, which stand in files of their own."""
    places = {each["id"]: each for each in tokenizer["added_tokens"]}
    for content, place in folder.json("added_tokens.json").items():
        places.setdefault(int(place), _added(int(place), content, special=False, normalized=True))
    for place, each in (folder.json("tokenizer_config.json").get("added_tokens_decoder") or {}).items():
        flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
        places[int(place)] = _added(int(place), each["content"], **{flag: bool(each.get(flag)) for flag in flags})
    return {**tokenizer, "added_tokens": [places[place] for place in sorted(places)]}
