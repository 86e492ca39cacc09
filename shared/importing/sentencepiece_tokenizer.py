"""Makes the tokenizer of SigLIP from its SentencePiece model, for exports that carry no `tokenizer.json`."""

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
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        model = sentencepiece_model_pb2.ModelProto.FromString(spiece)  # type: ignore[attr-defined]  # made at import
        end = next(place for place, piece in enumerate(model.pieces) if piece.piece == _END)
    except (DecodeError, StopIteration):
        raise import_error("spiece.model", "is no SentencePiece model with a </s>") from None
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


_SPACES = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def _normalizers(charsmap: bytes) -> list[dict[str, Any]]:
    own = [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}] if charsmap else []
    return [
        {"type": "Lowercase"},
        {"type": "Replace", "pattern": {"Regex": _PUNCTUATION}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Strip", "strip_left": True, "strip_right": True},
        *own,
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]


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
