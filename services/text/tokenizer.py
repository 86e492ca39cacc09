"""Tokenizes no more of a text than can reach the model, in any thread, without holding up the others.

The tokenizers library keeps Python's lock in `encode`, for seconds where a text is long, and gives it back in
`encode_batch` and `encode_batch_fast`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

# Of a long text so many characters are tokenized for each token that the model takes, then four times as many, and so
# on: until the model's tokens are full, or the text is over. Texts of many languages have 2 to 6 characters a token.
_CHARACTERS_A_TOKEN = 16
_LEAST_CHARACTERS = 2048
_BRIEF_CHARACTERS = 500
_GROWTH = 4
# How many words there must be between the last token that counts and the place of the cut, which may have changed them.
_WORDS_APART = 2


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the model sees of a text, special tokens included, and how many tokens the text has.

    is_whole: whether `count` is that of the whole text; else it has more.
    """

    encoding: Encoding
    count: int
    is_whole: bool = True

    @property
    def is_cut(self) -> bool:
        """Whether the text has tokens that the model does not see."""
        return not self.is_whole or self.count > len(self.encoding.ids)


class CutTokenizer:
    """A tokenizer that cuts texts to `max_tokens`, special tokens included, on `side`: `right` or `left`."""

    def __init__(self, tokenizer: Tokenizer, cutting: Tokenizer, max_tokens: int, side: str) -> None:
        """Takes two tokenizers of one file, without padding and truncation, which is a state that threads share."""
        self._whole, self._cut = tokenizer, cutting
        self._cut.enable_truncation(max_tokens, direction=side)
        self._max_tokens = max_tokens
        self._is_left = side == "left"
        self._special_count = tokenizer.num_special_tokens_to_add(is_pair=False)
        self._short = max(_LEAST_CHARACTERS, _CHARACTERS_A_TOKEN * max_tokens)

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are: every id is below."""
        return self._whole.get_vocab_size()

    def pieces(self, ids: Sequence[int]) -> Sequence[str]:
        """Returns what each token stands for."""
        return [self._whole.id_to_token(each) or "" for each in ids]

    def tokens(self, text: str) -> Tokens:
        """Returns a text's tokens, those that the uncut text has."""
        size = self._short
        while size < len(text):
            part = text[-size:] if self._is_left else text[:size]
            raw = self._whole.encode_batch([part], add_special_tokens=False)[0]
            if self._is_settled(raw):
                return Tokens(self._cut.post_process(raw), len(raw.ids) + self._special_count, is_whole=False)
            size *= _GROWTH
        # A batch wakes threads of the library, which cost a short text more than the lock, held for 50 microseconds.
        is_brief = len(text) <= _BRIEF_CHARACTERS
        encoding = self._cut.encode(text) if is_brief else self._cut.encode_batch_fast([text])[0]
        rest = sum(len(each.ids) - self._special_count for each in encoding.overflowing)
        return Tokens(encoding, len(encoding.ids) + rest)

    def _is_settled(self, raw: Encoding) -> bool:
        """Whether the tokens that count are those of words which the cut has not touched."""
        most = self._max_tokens - self._special_count
        if len(raw.ids) <= most:
            return False
        words = raw.word_ids
        kept, cut = (words[-most], words[0]) if self._is_left else (words[most - 1], words[-1])
        return kept is not None and cut is not None and abs(cut - kept) > _WORDS_APART

    def prompt_length(self, prompt: str) -> int:
        """Returns how many tokens a prompt has at the start of a text, the special ones before it included."""
        encoding = self._cut.encode(prompt)
        return len(encoding.ids) - encoding.special_tokens_mask[-1]
