"""The numbers of classification: pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

BINS = 15  # of the top probability, as Guo et al. (2017), section 4 onwards


@dataclass(frozen=True)
class ClassScores:
    """How well each class is told apart, in the order of the confusion matrix.

    items: (c,) int64, how many items truly are of the class.
    precision: (c,) TP / (TP + FP); NaN for a class that nothing was taken for.
    recall: (c,) TP / (TP + FN); NaN for a class without items.
    f1: (c,) 2 TP / (2 TP + FP + FN); NaN for a class without items.
    """

    items: Places
    precision: Numbers
    recall: Numbers
    f1: Numbers

    def macro(self) -> tuple[float, float, float]:
        """Returns the means of precision, recall and F1 over the classes that have items, each class weighing the same.

        A class that nothing was taken for has a precision of 0 here. NaN where no class has items.
        """
        has_items = self.items > 0
        if not has_items.any():
            return np.nan, np.nan, np.nan
        precision = np.nan_to_num(self.precision[has_items])
        return float(precision.mean()), float(self.recall[has_items].mean()), float(self.f1[has_items].mean())


@dataclass(frozen=True)
class Calibration:
    """How far the top probabilities are from the share of right answers.

    error: the expected calibration error, 0..1; NaN without items.
    counts: (bins,) int64 items whose top probability lies in the bin; bin b reaches from b / bins, which is left out,
        to (b + 1) / bins, which belongs to it.
    confidence: (bins,) mean top probability of the bin; NaN where the bin is empty.
    accuracy: (bins,) share of right answers in the bin; NaN where it is empty.
    """

    error: float
    counts: Places
    confidence: Numbers
    accuracy: Numbers


def confusion(truth: Places, predicted: Places, class_count: int) -> Places:
    """Returns (c, c) int64: row t, column p counts the items of class t that were taken for p."""
    cells = np.bincount(truth * class_count + predicted, minlength=class_count * class_count)
    return cells.reshape(class_count, class_count).astype(np.int64)


def class_scores(counts: Places) -> ClassScores:
    """Returns precision, recall and F1 of each class of a (c, c) confusion matrix.

    Formulas: van Rijsbergen, Information Retrieval (1979), chapter 7; F1 is its E measure's complement at beta = 1.
    """
    right = counts.diagonal()
    items, taken = counts.sum(axis=1), counts.sum(axis=0)
    f1 = _ratio(2 * right, items + taken)
    return ClassScores(items, _ratio(right, taken), _ratio(right, items), np.where(items > 0, f1, np.nan))


def accuracy(counts: Places) -> float:
    """Returns the share of items on the diagonal of a (c, c) confusion matrix; NaN without items."""
    return float(_ratio(np.trace(counts), counts.sum()))


def recall_at(ranks: Places, k: int, candidate_count: int) -> float:
    """Returns R@k, the share of queries with a right candidate among the k best.

    ranks: (n,) how many wrong candidates come before each query's best right one.
    Returns NaN without queries, and where the k best are all there are: that says nothing.
    """
    return float((ranks < k).mean()) if ranks.size and k < candidate_count else np.nan


def calibration(confidence: Numbers, is_right: NDArray[np.bool_], bins: int = BINS) -> Calibration:
    """Returns the expected calibration error over bins of equal width, and what is in each bin.

    ECE = sum over bins of |bin| / n * |accuracy(bin) - confidence(bin)|: Guo, Pleiss, Sun and Weinberger, "On
    Calibration of Modern Neural Networks" (ICML 2017, arXiv:1706.04599), equations 2 to 5 and section 4.

    confidence: (n,) top probabilities.
    is_right: (n,) whether that label is the true one.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)  # 0 itself lies in the first
    counts = np.bincount(place, minlength=bins).astype(np.int64)
    mean = _ratio(np.bincount(place, weights=confidence, minlength=bins), counts)
    share = _ratio(np.bincount(place, weights=is_right.astype(np.float64), minlength=bins), counts)
    gaps = np.nan_to_num(np.abs(share - mean))
    return Calibration(float(_ratio((counts * gaps).sum(), counts.sum())), counts, mean, share)


def auroc(inside: Numbers, outside: Numbers) -> float:
    """Returns the probability that a random value of `inside` exceeds one of `outside`, ties counting half.

    This is the area under the ROC curve, as the Mann-Whitney statistic U / (n m): Hanley and McNeil, "The Meaning and
    Use of the Area under a Receiver Operating Characteristic (ROC) Curve", Radiology 143 (1982). NaN where one side is
    empty, or has a NaN.
    """
    if not inside.size or not outside.size or np.isnan(inside).any() or np.isnan(outside).any():
        return np.nan
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, side="left")
    not_above = np.searchsorted(ordered, inside, side="right")
    return float((below + not_above).mean() / (2 * outside.size))


def _ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Numbers:
    """Returns part / whole as float64, NaN where the whole is 0."""
    top, bottom = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    ratio: Numbers = np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom > 0)
    return ratio
