"""Hidden states to one vector, as sentence-transformers' `Pooling` does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

NONE = "none"


def pool(hidden: Rows, mask: Rows, modes: str) -> Rows:
    """Returns (b, dim) of hidden states (b, s, width) and a mask (b, s) of 0 and 1.

    modes: names of POOLINGS; several, joined by `+`, are concatenated in the order given.
    """
    pooled = [_POOLINGS[mode](hidden, mask[:, :, None]) for mode in modes.split("+")]
    return pooled[0] if len(pooled) == 1 else np.concatenate(pooled, axis=1)


def is_known(modes: str) -> bool:
    """Returns whether a manifest may say so: `none`, or known modes."""
    return modes == NONE or all(mode in _POOLINGS for mode in modes.split("+"))


def _cls(hidden: Rows, mask: Rows) -> Rows:
    first = mask[:, :, 0].argmax(1)
    return np.asarray(hidden[np.arange(len(hidden)), first], np.float32)


def _first_two(hidden: Rows, mask: Rows) -> Rows:
    return np.asarray(hidden[:, :2].mean(1), np.float32)


def _last_token(hidden: Rows, mask: Rows) -> Rows:
    last = mask.shape[1] - 1 - mask[:, ::-1, 0].argmax(1)
    return np.asarray(hidden[np.arange(len(hidden)), last], np.float32)


def _max(hidden: Rows, mask: Rows) -> Rows:
    return np.asarray(np.where(mask > 0, hidden, np.float32(-1e9)).max(1), np.float32)


def _mean(hidden: Rows, mask: Rows) -> Rows:
    return np.asarray(_summed(hidden, mask) / np.maximum(mask.sum(1), 1e-9), np.float32)


def _mean_sqrt_len(hidden: Rows, mask: Rows) -> Rows:
    return np.asarray(_summed(hidden, mask) / np.sqrt(np.maximum(mask.sum(1), 1e-9)), np.float32)


def _summed(hidden: Rows, mask: Rows) -> Rows:
    """Returns (b, width): the sum of the states that the mask keeps, without an array of the masked ones."""
    return np.asarray(np.matmul(mask.transpose(0, 2, 1), hidden)[:, 0], np.float32)


def _weighted_mean(hidden: Rows, mask: Rows) -> Rows:
    weights = mask * np.arange(1, mask.shape[1] + 1, dtype=np.float32)[None, :, None]
    return _mean(hidden, weights)


_POOLINGS: Mapping[str, Callable[[Rows, Rows], Rows]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
    "first_two": _first_two,
}
POOLINGS = (NONE, *_POOLINGS)
