"""The limit: whose inputs a worker runs, and that it never stops halfway."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np
import pytest

from bench.inputs import Feed, Inputs
from bench.load.calls import Outcome
from bench.raw import _run, _Slice, share, ways


def inputs(count: int) -> Inputs:
    """Returns inputs of log-uniform lengths, each fed as so many places of its own number."""
    rng = random.Random(0)
    lengths = [int(math.exp(rng.uniform(math.log(8), math.log(129)))) for _ in range(count)]

    def feeds(places: Sequence[int]) -> Feed:
        return {"place": np.asarray(places), "padded": np.zeros((len(places), max(lengths[each] for each in places)))}

    return Inputs("mixed", [b""] * count, lengths, feeds)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", ["1", "32", "32 sorted"])
def test_whole_passes_of_all_workers_run_each_input_once(way: str, workers: int) -> None:
    given = inputs(512)
    ran: Counter[int] = Counter()

    for number in range(workers):
        outcome = passes(share(ways(given)[way], number, workers), ran)
        assert outcome.items == 512 // workers

    assert set(ran.values()) == {1}
    assert Counter(given.lengths[place] for place in ran.elements()) == Counter(given.lengths)


@pytest.mark.parametrize("way", ["1", "32 sorted"])
def test_a_worker_alone_has_a_fair_sample_of_the_lengths(way: str) -> None:
    given = inputs(512)

    shares = [share(ways(given)[way], number, 2) for number in range(2)]

    for each in shares:
        lengths = [given.lengths[place] for feed, _ in each for place in feed["place"]]
        assert mean(lengths) == pytest.approx(mean(given.lengths), rel=0.02)
        sizes = [feed["padded"].size for feed, _ in each]
        assert sizes != sorted(sizes)
        assert sum(sizes) == pytest.approx(sum(feed["padded"].size for one in shares for feed, _ in one) / 2, rel=0.02)


def test_of_few_batches_each_worker_runs_all() -> None:
    batches = ways(inputs(128))["32 sorted"]

    assert [sum(count for _, count in share(batches, number, 2)) for number in range(2)] == [128, 128]


def passes(batches: Sequence[tuple[Feed, int]], ran: Counter[int]) -> Outcome:
    """Runs them for no time at all, which is one pass."""

    def run(_: object, feed: Any) -> None:
        ran.update(int(place) for place in feed["place"])

    return _run(run, batches, _Slice("", 0.0))
