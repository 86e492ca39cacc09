"""The numbers of `sensorium evaluate` against ones worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sensorium.cli.evaluation import metrics
from sensorium.cli.evaluation.retrieval import Labelled, search


def ints(*values: int) -> metrics.Places:
    return np.array(values, np.int64)


def rows(*values: tuple[float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(values, np.float32)


def test_the_confusion_matrix_counts_true_classes_in_rows() -> None:
    assert metrics.confusion(ints(0, 0, 1, 2), ints(0, 1, 1, 0), 4).tolist() == [
        [1, 1, 0, 0],
        [0, 1, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_precision_recall_and_f1_of_classes_that_are_hit_missed_and_empty() -> None:
    scores = metrics.class_scores(metrics.confusion(ints(0, 0, 0, 1, 2), ints(0, 0, 1, 1, 3), 5))

    assert scores.items.tolist() == [3, 1, 1, 0, 0]
    np.testing.assert_allclose(scores.precision, [1, 1 / 2, np.nan, 0, np.nan])  # nothing was taken for 2 and 4
    np.testing.assert_allclose(scores.recall, [2 / 3, 1, 0, np.nan, np.nan])
    np.testing.assert_allclose(scores.f1, [4 / 5, 2 / 3, 0, np.nan, np.nan])
    assert scores.macro() == pytest.approx((1.5 / 3, (5 / 3) / 3, (4 / 5 + 2 / 3) / 3))  # of 0, 1 and 2


def test_without_items_there_are_no_numbers() -> None:
    counts = metrics.confusion(ints(), ints(), 2)

    assert math.isnan(metrics.accuracy(counts))
    assert all(map(math.isnan, metrics.class_scores(counts).macro()))
    assert math.isnan(metrics.recall_at(ints(), 1, 9))
    assert math.isnan(metrics.calibration(np.array([]), np.array([], np.bool_)).error)


def test_recall_at_k_counts_queries_with_less_than_k_wrong_ones_before() -> None:
    ranks = ints(0, 0, 4, 5)

    assert metrics.recall_at(ranks, 1, 10) == 0.5
    assert metrics.recall_at(ranks, 5, 10) == 0.75
    assert math.isnan(metrics.recall_at(ranks, 10, 10))  # the ten nearest of ten: always right


def test_the_calibration_error_weighs_bins_by_their_items() -> None:
    confidence = np.array([0.0, 0.5, 0.4, 0.9, 1.0])
    found = metrics.calibration(confidence, np.array([False, True, True, True, False]), bins=2)

    assert found.counts.tolist() == [3, 2]  # the first bin has its upper edge, 0.5, and 0
    np.testing.assert_allclose(found.confidence, [0.3, 0.95])
    np.testing.assert_allclose(found.accuracy, [2 / 3, 0.5])
    assert found.error == pytest.approx(3 / 5 * (2 / 3 - 0.3) + 2 / 5 * 0.45)


def test_calibration_has_15_bins_and_empty_ones_count_nothing() -> None:
    found = metrics.calibration(np.array([0.75, 0.75]), np.array([True, False]))

    assert found.counts.tolist() == [0] * 11 + [2] + [0] * 3
    assert found.error == pytest.approx(0.25)


def test_the_area_under_the_curve_counts_pairs_and_ties_half() -> None:
    assert metrics.auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert metrics.auroc(np.array([1.0]), np.array([2.0, 3.0])) == 0.0
    assert math.isnan(metrics.auroc(np.array([]), np.array([1.0])))
    assert math.isnan(metrics.auroc(np.array([np.nan]), np.array([1.0])))


def test_search_ranks_candidates_by_cosine_whatever_their_length() -> None:
    queries = Labelled(rows((1, 0), (0, 1)), ints(0, 1))
    candidates = Labelled(rows((0.1, 0.01), (9, 9), (8, 1)), ints(1, 0, 1))

    found = search(queries, candidates, 2, excludes_self=False)

    assert found.ranks.tolist() == [2, 1]
    assert (found.candidate_count, math.isnan(found.precision_at_5[0])) == (3, True)
    assert found.predicted.tolist() == [1, 0]  # means: label 0 at 45 degrees, label 1 near the first axis


def test_a_wrong_candidate_that_is_as_near_comes_first() -> None:
    same = Labelled(np.ones((6, 2), np.float32), ints(0, 0, 0, 1, 1, 1))

    found = search(same, same, 2, excludes_self=True)

    assert found.ranks.tolist() == [3] * 6
    np.testing.assert_allclose(found.precision_at_5, 2 / 5)
    assert found.predicted.tolist() == [1, 1, 1, 0, 0, 0]


def test_a_query_does_not_find_itself_and_needs_another_of_its_label() -> None:
    items = Labelled(rows((1, 0), (0, 1), (0.9, 0.1), (-1, 0)), ints(0, 1, 0, 2))

    found = search(items, items, 3, excludes_self=True)

    assert found.queries.tolist() == [0, 2]  # labels 1 and 2 have one item each
    assert (found.ranks.tolist(), found.predicted.tolist()) == ([0, 0], [0, 0])
    assert found.candidate_count == 3


def test_its_own_mean_leaves_a_query_out() -> None:
    items = Labelled(rows((1, 0), (0, 1), (0.8, 0.6)), ints(0, 0, 1))

    found = search(items, Labelled(items.vectors, items.labels), 2, excludes_self=True)

    assert found.queries.tolist() == [0, 1]
    assert found.predicted.tolist() == [1, 1]  # by the mean of both, label 0 would have been nearer to (0, 1)


def test_a_query_whose_label_no_candidate_has_is_left_out_and_precision_counts_the_five_nearest() -> None:
    queries = Labelled(rows((1, 0), (1, 0)), ints(0, 1))
    angles = np.deg2rad([0, 10, 20, 30, 40, 50])
    candidates = Labelled(np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32), ints(0, 2, 0, 2, 2, 0))

    found = search(queries, candidates, 3, excludes_self=False)

    assert found.queries.tolist() == [0]
    assert found.precision_at_5.tolist() == [pytest.approx(2 / 5)]


def test_a_search_for_nothing_and_in_nothing_finds_nothing() -> None:
    nothing, one = Labelled(np.empty((0, 0), np.float32), ints()), Labelled(rows((1, 0)), ints(0))

    for queries, candidates in ((nothing, one), (one, nothing), (nothing, nothing)):
        found = search(queries, candidates, 2, excludes_self=False)
        assert (found.queries.size, found.candidate_count) == (0, len(candidates.labels))
