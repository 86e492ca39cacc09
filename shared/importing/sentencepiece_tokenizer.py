"""Makes the tokenizers of SigLIP and XLM-R from their SentencePiece models, for exports without `tokenizer.json`."""

from __future__ import annotations

import base64
import json
from typing import Any

from shared.importing.hub_folder import import_error

# string.punctuation, which SigLIP's authors take out.
_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
_END = "</s>"


def siglip_tokenizer(spiece: bytes) -> bytes:
    """Returns the `tokenizer.json` that gives the ids of transformers' `SiglipTokenizer`.

    Lower case, no punctuation, single spaces, the model's own character map, then its unigrams, closed by `</s>`.

    Raises:
        FailedPrecondition: it is no SentencePiece model of unigrams.
    """
    model = _model("spiece.model", spiece)
    end = next((place for place, piece in enumerate(model.pieces) if piece.piece == _END), None)
    if end is None:
        raise import_error("spiece.model", "is no SentencePiece model with a </s>")
    unknown = model.trainer_spec.unk_id
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(*each) for each in sorted([(end, _END), (unknown, model.pieces[unknown].piece)])],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(model.normalizer_spec.precompiled_charsmap)},
        "pre_tokenizer": _SPACES,
        "post_processor": _closing(end),
        "decoder": _SPACES,
        "model": {
            "type": "Unigram",
            "unk_id": unknown,
            "byte_fallback": model.trainer_spec.byte_fallback,
            "vocab": [[piece.piece, piece.score] for piece in model.pieces],
        },
    }
    return json.dumps(tokenizer, ensure_ascii=False).encode()


def _model(name: str, data: bytes) -> Any:
    """Returns the SentencePiece model (Any: protobuf made at import) in a file of that name."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        return sentencepiece_model_pb2.ModelProto.FromString(data)  # type: ignore[attr-defined]  # made at import
    except DecodeError:
        raise import_error(name, "is no SentencePiece model") from None


def xlm_roberta_tokenizer(data: bytes, name: str) -> bytes:
    """Returns the `tokenizer.json` of XLM-R, whose ids are those of its SentencePiece model moved by one.

    fairseq had its own four special tokens before the pieces, and a mask after them.

    Raises:
        FailedPrecondition: it is no SentencePiece model of unigrams.
    """
    model = _model(name, data)
    if model.trainer_spec.model_type != _UNIGRAM:
        raise import_error(name, "is no SentencePiece model of unigrams, which XLM-R has")
    vocabulary = [[mark, 0.0] for mark in ("<s>", "<pad>", _END, "<unk>")]
    vocabulary += [[piece.piece, piece.score] for piece in model.pieces[3:]] + [["<mask>", 0.0]]
    charsmap = model.normalizer_spec.precompiled_charsmap
    marks = [_special(place, mark) for place, mark in enumerate(("<s>", "<pad>", _END, "<unk>"))]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [*marks, {**_special(len(vocabulary) - 1, "<mask>"), "lstrip": True}],
        "normalizer": _charsmap(charsmap)[0] if charsmap else None,
        "pre_tokenizer": _SPACES,
        "post_processor": _around(),
        "decoder": _SPACES,
        "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": False, "vocab": vocabulary},
    }
    return json.dumps(tokenizer, ensure_ascii=False).encode()


def _around() -> dict[str, Any]:
    """Returns the step that puts each text between `<s>` and `</s>`."""
    start, end = ({"SpecialToken": {"id": mark, "type_id": 0}} for mark in ("<s>", _END))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [start, first, end],
        "pair": [start, first, end, end, second, end],
        "special_tokens": {mark: {"id": mark, "ids": [place], "tokens": [mark]} for mark, place in _MARKS},
    }


_UNIGRAM = 1
_MARKS = (("<s>", 0), (_END, 2))
_SPACES = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def _normalizers(charsmap: bytes) -> list[dict[str, Any]]:
    return [
        {"type": "Lowercase"},
        {"type": "Replace", "pattern": {"Regex": _PUNCTUATION}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Strip", "strip_left": True, "strip_right": True},
        *_charsmap(charsmap),
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]


def _charsmap(charsmap: bytes) -> list[dict[str, Any]]:
    data = base64.b64encode(charsmap).decode()
    return [{"type": "Precompiled", "precompiled_charsmap": data}] if charsmap else []


def _special(place: int, content: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": place, "content": content, **flags}


def _closing(end: int) -> dict[str, Any]:
    """Returns the step that puts `</s>` after each text."""
    first, mark = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": _END, "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 0}}
    known = {_END: {"id": _END, "ids": [end], "tokens": [_END]}}
    return {
        "type": "TemplateProcessing",
        "single": [first, mark],
        "pair": [first, mark, second, mark],
        "special_tokens": known,
    }
