"""From a text to model input: prompt, tokens, truncation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, normalizers

from sensorium.errors import InvalidInput, NotFound, Reason
from services.text.tokenizer import CutTokenizer, Tokens
from shared.inference.features import Features, Prepared
from shared.inference.manifest import Manifest, package_error, read_numbers
from shared.inference.package import Package
from shared.inference.typed import Count, CountOrNone, FieldFault, Name, typed

Id = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]  # of a token, or of a position


@dataclass(frozen=True, slots=True)
class TextNumbers:
    """What the manifest's `preprocess` says of a text model.

    max_tokens: the longest input, special tokens included.
    pad_multiple: batches are padded to a multiple of this; 0 for a graph without a mask, whose texts are never padded:
        only those of one length ride together.
    fixed_length: every input is padded to this many tokens, without a mask (SigLIP); 0 where inputs keep their length.
    accepts_empty: whether the empty text, special tokens alone, is a valid input.
    masks_prompt: whether the prompt's tokens are seen by the model but left out when its states are pooled.
    first_position: what `position_ids` count from.
    padded_to: every input is padded to this many tokens, with a mask; 0 where batches are padded to their longest.
    truncation_side: which end is cut, `right` or `left`; special tokens stay.
    """

    tokenizer: Name
    max_tokens: Count
    pad_id: Id
    pad_multiple: CountOrNone
    fixed_length: CountOrNone
    accepts_empty: bool
    lowercase: bool
    masks_prompt: bool = False
    first_position: Id = 0
    padded_to: CountOrNone = 0
    truncation_side: Literal["right", "left"] = "right"

    @classmethod
    def of(cls, preprocess: Mapping[str, Any]) -> TextNumbers:
        """Reads the numbers; raises FieldFault where one is missing or wrong."""
        numbers = typed(preprocess, cls)
        for name, length in (("fixed_length", numbers.fixed_length), ("padded_to", numbers.padded_to)):
            if 0 < length < numbers.max_tokens:
                raise FieldFault(name, f"0, or at least `max_tokens`, {numbers.max_tokens}", length)
        return numbers


@dataclass(frozen=True, slots=True)
class Text:
    """One text as it is to be read: the prompt goes before it, and `truncate` says whether it may be cut."""

    text: str
    prompt: str = ""
    truncate: bool = True


class TextPreprocessor:
    """A model's tokenizer, built once and shared by all threads."""

    def __init__(self, package: Package, max_text_bytes: int) -> None:
        """Loads the tokenizer.

        max_text_bytes: the longest text that is tokenized at all, even where it may be truncated.

        Raises:
            FailedPrecondition: PACKAGE_INVALID; the numbers or the tokenizer are missing or unreadable.
        """
        manifest = package.manifest
        label = f"{manifest.name}/{manifest.version}"
        self._max_text_bytes = max_text_bytes
        self.numbers = read_numbers(manifest, TextNumbers.of)
        whole, cutting = (_load(package, label, self.numbers) for _ in range(2))
        self._tokenizer = CutTokenizer(whole, cutting, self.numbers.max_tokens, self.numbers.truncation_side)
        # What is the same for all texts; a text has the beginning of each.
        longest = max(self.numbers.max_tokens, self.numbers.fixed_length)
        self._ones, self._zeros = np.ones(longest, np.int64), np.zeros(longest, np.int64)
        self._positions = np.arange(self.numbers.first_position, self.numbers.first_position + longest)
        for each in (self._ones, self._zeros, self._positions):
            each.flags.writeable = False

    def tokens(self, text: Text) -> Tokens:
        """Returns the tokens that the model sees. A text of nothing but white space is the empty one.

        Raises:
            InvalidInput: TEXT_EMPTY or TEXT_TOO_LONG.
        """
        given = "" if text.text.isspace() else text.text
        if not given and not self.numbers.accepts_empty:
            raise InvalidInput("is empty; give a text of at least one character", reason=Reason.TEXT_EMPTY)
        self._check_size(given)
        tokens, limit = self._tokenizer.tokens(text.prompt + given), self.numbers.max_tokens
        if not tokens.count:
            raise InvalidInput("has no tokens that the model knows; give another text", reason=Reason.TEXT_EMPTY)
        if tokens.is_cut and not text.truncate:
            count = str(tokens.count) if tokens.is_whole else f"more than {tokens.count}"
            raise InvalidInput(
                f"has {count} tokens, over the model's limit of {limit}; shorten it, or let it be truncated",
                reason=Reason.TEXT_TOO_LONG,
                metadata={"limit": str(limit), "count": str(tokens.count)},
            )
        return tokens

    def _check_size(self, text: str) -> None:
        limit = self._max_text_bytes
        if 4 * len(text) <= limit:
            return
        size = len(text) if len(text) > limit else len(text.encode())
        if size > limit:
            raise InvalidInput(
                f"has {size} {'characters' if size == len(text) else 'bytes'}; a text may have at most {limit} bytes",
                reason=Reason.TEXT_TOO_LONG,
                metadata={"limit": str(limit)},
            )

    def __call__(self, text: Text) -> Prepared:
        """Returns one row: `input_ids` and what goes with them, each (tokens,) int64."""
        return self.row(np.array(self.tokens(text).encoding.ids, np.int64), text.prompt)

    def pieces(self, ids: Sequence[int]) -> Sequence[str]:
        """Returns what each token stands for."""
        return self._tokenizer.pieces(ids)

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are: every id is below."""
        return self._tokenizer.vocabulary_size

    def row(self, ids: NDArray[np.int64], prompt: str = "") -> Prepared:
        """Returns the row of tokens (n,), special ones included, of which the first are those of the prompt."""
        count = ids.size
        if self.numbers.fixed_length:
            ids = np.pad(ids, (0, self.numbers.fixed_length - count), constant_values=self.numbers.pad_id)
        arrays = {
            "input_ids": ids,
            "attention_mask": self._ones[: ids.size],
            "token_type_ids": self._zeros[: ids.size],
            "position_ids": self._positions[: ids.size],
        }
        if self.numbers.masks_prompt:
            arrays["pooling_mask"] = (np.arange(ids.size) >= self._prompt_length(prompt)).astype(np.int64)
        return Prepared([Features(arrays, ids.size, ids.size)], count)

    def _prompt_length(self, prompt: str) -> int:
        """Returns how many tokens a prompt has at the start of a text (sentence-transformers `include_prompt`)."""
        return self._tokenizer.prompt_length(prompt) if prompt else 0


def _load(package: Package, label: str, numbers: TextNumbers) -> Tokenizer:
    file = package.path(numbers.tokenizer)
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(file))
    except Exception as fault:  # noqa: BLE001  # the tokenizers library raises bare Exception
        raise package_error(label, numbers.tokenizer, f"is no tokenizer: {fault}") from None
    if numbers.lowercase:
        after = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *after])
    # Published files carry both, often with other numbers than the model's.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def prompt_of(manifest: Manifest, name: str) -> str:
    """Returns the prompt of a name; "" is the model's default, which is none unless the package has one so named.

    Raises:
        NotFound: PROMPT_NOT_FOUND; the metadata names those that exist.
    """
    if name in manifest.prompts:
        return manifest.prompts[name]
    if not name:
        return ""
    available = ", ".join(sorted(manifest.prompts)) or "none"
    raise NotFound(
        f"is {name[:100]!r}; {manifest.id} has {available}",
        reason=Reason.PROMPT_NOT_FOUND,
        field="prompt_name",
        metadata={"prompt": name[:100], "available": available},
    )
