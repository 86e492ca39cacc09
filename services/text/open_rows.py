"""Tokens that their caller made himself: `input_ids`, and which of them are padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.errors import InvalidInput
from services.text.preprocess import Text, TextPreprocessor
from shared.hosting.open_rows import Arrays, check_names
from shared.inference.encoder import Encoder
from shared.inference.features import Prepared

IDS, MASK = "input_ids", "attention_mask"


def read_tokens(encoder: Encoder[Text], arrays: Arrays) -> Sequence[Prepared]:
    """Returns one row a text, without its padding: batches are padded anew. All else is made of the ids, as ever.

    Raises:
        InvalidInput: no `input_ids` INT64 [n, tokens], an id that no token has, too many of them, or a mask of another
            kind than ones and then zeros.
    """
    preprocessor = encoder.prepare
    assert isinstance(preprocessor, TextPreprocessor), "every encoder of this service is opened with one"
    others = [name for name in encoder.sample.arrays if name != IDS]
    check_names(arrays, encoder.sample, optional=others)
    if unread := {*arrays} - {IDS, MASK}:
        raise InvalidInput(f"has {', '.join(sorted(unread))}, which is made of {IDS}; leave it out", field="inputs")
    ids = arrays[IDS]
    mask = arrays.get(MASK, np.ones_like(ids))
    if ids.ndim != 2 or ids.dtype.kind != "i" or mask.shape != ids.shape or mask.dtype.kind not in "ib":
        raise InvalidInput(f"has {IDS} {list(ids.shape)}; give {IDS} and {MASK} as INT64 [n, tokens]", field="inputs")
    if ids.min() < 0 or ids.max() >= preprocessor.vocabulary_size:
        raise InvalidInput(f"has an id outside of 0..{preprocessor.vocabulary_size - 1} in {IDS}", field="inputs")
    counts = mask.astype(np.int64).sum(axis=1)
    limit = preprocessor.numbers.fixed_length or preprocessor.numbers.max_tokens
    if counts.min() < 1 or counts.max() > limit:
        raise InvalidInput(
            f"has texts of {counts.min()} to {counts.max()} tokens; give 1 to {limit} in each", field="inputs"
        )
    if not np.array_equal(mask, np.arange(ids.shape[1]) < counts[:, None]):
        raise InvalidInput(f"has a mask other than ones and then zeros in {MASK}", field="inputs")
    return [preprocessor.row(row[:count].astype(np.int64)) for row, count in zip(ids, counts, strict=True)]
