"""Makes a WordPiece vocabulary of made-up words, and texts of a wished number of tokens from it."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

SIZE = 30_522  # of BERT's vocabulary
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
_STARTS = ("b", "br", "c", "ch", "d", "dr", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "pl", "r", "s", "st", "t",
           "tr", "v", "w", "z", "")  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
_ENDS = ("", "n", "r", "s", "t", "l", "m", "ck", "nd", "st", "ng")
_ENDINGS = ("ing", "ed", "er", "est", "ly", "ness", "ment", "able", "less", "tion")
# Of real sentences about every fifth word is not in BERT's vocabulary as a whole. A guess.
_SPLIT = 0.2


@cache
def words() -> tuple[str, ...]:
    """Returns the whole words of the vocabulary, each made of one to three syllables."""
    rng = random.Random(0)  # noqa: S311  # the same words on every machine
    found: dict[str, None] = {}
    wanted = SIZE - len(_SPECIAL) - 2 * len(_LETTERS) - len(_ENDINGS)
    while len(found) < wanted:
        syllables = rng.choices((1, 2, 3), (1, 4, 3))[0]
        word = "".join(rng.choice(_STARTS) + rng.choice(_VOWELS) + rng.choice(_ENDS) for _ in range(syllables))
        if len(word) > 1 and not word.endswith(_ENDINGS):
            found[word] = None
    return tuple(found)


def tokenizer_json(max_tokens: int) -> str:
    """Returns a `tokenizer.json` as BERT's: lower case, WordPiece, [CLS] … [SEP]."""
    pieces = [*_SPECIAL, *_LETTERS, *(f"##{each}" for each in (*_LETTERS, *_ENDINGS)), *words()]
    ids = {piece: number for number, piece in enumerate(pieces)}
    file: dict[str, Any] = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": max_tokens, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [
            {"id": ids[name], "content": name, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for name in _SPECIAL
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _frame(ids["[CLS]"], ids["[SEP]"]),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids},
    }  # fmt: skip
    return json.dumps(file)


def _frame(start: int, end: int) -> dict[str, Any]:
    first, last = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    second = {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
    special = {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in
               (("[CLS]", start), ("[SEP]", end))}  # fmt: skip
    return {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}, last],
        "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, last, {"Sequence": {"id": "B", "type_id": 1}}, second],
        "special_tokens": special,
    }


def text(token_count: int, rng: random.Random) -> str:
    """Returns a text of exactly `token_count` tokens, [CLS] and [SEP] among them; at least 3."""
    left, parts = token_count - 2, []
    while left:
        word = rng.choice(words())
        if left >= 2 and rng.random() < _SPLIT:
            parts.append(word + rng.choice(_ENDINGS))
            left -= 2
        else:
            parts.append(word)
            left -= 1
    return " ".join(parts)
