"""What batches cost is learned from their times, and says how full the next ones are worth filling."""

from __future__ import annotations

import numpy as np
import pytest

from shared.inference.costs import CostModel, DrainRate


def taught(slope: float, overhead: float, *, noise: float = 0.0, length: int = 16) -> CostModel:
    model, rng = CostModel(), np.random.default_rng(0)
    for cost in rng.integers(16, 512, 400):
        model.observe(length, float(cost), (slope * cost + overhead) * (1 + noise * rng.standard_normal()))
    return model


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_batch_is_filled_until_the_overhead_is_a_twentieth(noise: float) -> None:
    enough = taught(0.001, 0.01, noise=noise).enough(16, 60.0, 10_000)
    assert enough == pytest.approx(19 * 0.01 / 0.001, rel=0.01 if not noise else 0.3)


def test_a_batch_ends_before_the_time_of_its_most_urgent_item() -> None:
    model = taught(0.001, 0.01)
    assert model.enough(16, 0.06, 10_000) == pytest.approx(50, abs=1)
    assert model.enough(16, 0.005, 10_000) == 0


def test_never_more_than_the_limit_and_all_of_it_where_nothing_is_known() -> None:
    model = taught(0.001, 0.01)
    assert model.enough(16, 60.0, 100) == 100
    assert model.enough(64, 60.0, 10_000) == 10_000, "another length is another line"
    assert CostModel().enough(16, 60.0, 4096) == 4096


def test_batches_of_one_cost_tell_no_overhead() -> None:
    model = CostModel()
    for _ in range(100):
        model.observe(16, 64.0, 0.05)
    assert model.enough(16, 60.0, 4096) == 4096


def test_what_changed_is_learned_anew() -> None:
    model, rng = taught(0.001, 0.01), np.random.default_rng(1)
    for cost in rng.integers(16, 512, 400):
        model.observe(16, float(cost), 0.002 * cost + 0.002)
    assert model.enough(16, 60.0, 10_000) == pytest.approx(19, rel=0.2)


def test_a_queue_drains_as_fast_as_batches_leave_it() -> None:
    drain = DrainRate()
    for at in range(10):
        drain.observe(at * 0.5, 100, is_empty=False)
    assert drain.cost_per_s == pytest.approx(200)
    drain.observe(5.0, 100, is_empty=True)
    assert drain.cost_per_s == 0, "nothing is known of a queue that was empty"
