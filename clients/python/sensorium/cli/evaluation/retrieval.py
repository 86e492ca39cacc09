"""Searches vectors with vectors, and says how well labels are found: pure functions of arrays.

A wrong candidate that is as near as a right one comes before it throughout, so that a model which maps everything to
one point finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]
Vectors = NDArray[np.float32]

_CELLS = 4_000_000  # of a block of scores: 32 MB in float64, and a few such arrays at once (a guess)


@dataclass(frozen=True)
class Labelled:
    """Vectors with their labels.

    vectors: (n, dim) float32.
    labels: (n,) int64 places of labels.
    """

    vectors: Vectors
    labels: Places


@dataclass(frozen=True)
class Found:
    """What the queries found, of those whose label some candidate has.

    queries: (q,) int64 places of these queries.
    ranks: (q,) int64, how many candidates of other labels come before the nearest one of the query's own.
    precision_at_5: (q,) float64, the share of the five nearest that have the query's label; NaN for fewer than five.
    predicted: (q,) int64, the label whose candidates' mean direction is nearest.
    candidate_count: how many candidates each query is held against.
    """

    queries: Places
    ranks: Places
    precision_at_5: Numbers
    predicted: Places
    candidate_count: int


def search(queries: Labelled, candidates: Labelled, label_count: int, *, excludes_self: bool) -> Found:
    """Holds each query against all candidates by cosine.

    excludes_self: the candidates are the queries themselves, and none is held against itself.
    """
    of_label = np.bincount(candidates.labels, minlength=label_count) - (1 if excludes_self else 0)
    kept = np.flatnonzero(of_label[queries.labels] > 0)
    if not len(kept):
        return Found(kept, kept, np.empty(0), kept, max(0, len(candidates.labels) - (1 if excludes_self else 0)))
    left, right = unit(queries.vectors[kept]), unit(candidates.vectors)
    labels, own = queries.labels[kept], kept if excludes_self else None
    count = len(right) - (1 if excludes_self else 0)
    ranks, precision = np.zeros(len(kept), np.int64), np.full(len(kept), np.nan)
    for block in _blocks(len(kept), len(right)):
        keys, is_right = _keys(left[block] @ right.T, labels[block, None] == candidates.labels, own, block)
        ranks[block] = first_right(keys, is_right)
        if count >= 5:
            precision[block] = precision_at(keys, is_right, 5)
    predicted = nearest_mean(left, labels, Labelled(right, candidates.labels), label_count, excludes_self=excludes_self)
    return Found(kept, ranks, precision, predicted, count)


def unit(vectors: Vectors) -> Vectors:
    """Returns rows of length 1; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def ranking_keys(scores: NDArray[np.floating], is_right: NDArray[np.bool_]) -> Numbers:
    """Returns (q, c) float64 scores in which a wrong candidate beats a right one of the same score, and no other.

    float32 scores stay in their order: their neighbours in float64 lie far closer than other float32 numbers.
    """
    exact = scores.astype(np.float64)
    return np.where(is_right, exact, np.nextafter(exact, np.inf))


def first_right(keys: Numbers, is_right: NDArray[np.bool_]) -> Places:
    """Returns (q,) how many candidates come before the best right one; each query has one."""
    best = np.where(is_right, keys, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    before: Places = (keys > best).sum(axis=1, dtype=np.int64)
    return before


def precision_at(keys: Numbers, is_right: NDArray[np.bool_], k: int) -> Numbers:
    """Returns (q,) the share of right ones among the k best of at least k candidates."""
    best = np.argpartition(-keys, k - 1, axis=1)[:, :k]
    share: Numbers = np.take_along_axis(is_right, best, axis=1).mean(axis=1)
    return share


def nearest_mean(
    queries: Vectors, truth: Places, candidates: Labelled, label_count: int, *, excludes_self: bool
) -> Places:
    """Returns (q,) the label whose candidates' mean direction has the highest cosine with the query.

    The mean of a query's own label leaves the query itself out, where it is among the candidates. The classifier is
    that of Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning" (NIPS 2017), with cosines.

    queries: (q, dim) of length 1; candidates: of length 1.
    """
    sums = np.zeros((label_count, queries.shape[1]), np.float32)
    np.add.at(sums, candidates.labels, candidates.vectors)
    scores = queries @ unit(sums).T  # (q, labels)
    if excludes_self:
        others = unit(sums[truth] - queries)
        scores[np.arange(len(queries)), truth] = (queries * others).sum(axis=1)
    scores[:, np.bincount(candidates.labels, minlength=label_count) == 0] = -np.inf
    is_right = np.arange(label_count) == truth[:, None]
    predicted: Places = ranking_keys(scores, is_right).argmax(axis=1).astype(np.int64)
    return predicted


def _keys(
    scores: Vectors, is_right: NDArray[np.bool_], own: Places | None, block: slice
) -> tuple[Numbers, NDArray[np.bool_]]:
    """Returns the keys of a block of queries, in which no query finds itself, and which candidates are right."""
    keys = ranking_keys(scores, is_right)
    if own is not None:
        rows = np.arange(len(keys))
        keys[rows, own[block]] = -np.inf
        is_right[rows, own[block]] = False
    return keys, is_right


def _blocks(query_count: int, candidate_count: int) -> list[slice]:
    """Returns runs of queries whose scores fit into memory."""
    step = max(1, _CELLS // max(1, candidate_count))
    return [slice(start, start + step) for start in range(0, query_count, step)]
