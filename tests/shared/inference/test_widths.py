"""A lone batch is run by all threads or by one, whichever was quicker; the other is tried now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.inference.features import Features
from shared.inference.manifest import BatchLimits
from shared.inference.scheduler import Scheduler
from shared.inference.widths import Widths
from tests.shared.inference.test_scheduler import Notes, later, row


@pytest.mark.parametrize("is_wide_quicker", [True, False])
def test_the_quicker_is_chosen_and_the_other_tried_again(*, is_wide_quicker: bool) -> None:
    widths = Widths()
    chosen = []
    for _ in range(100):
        is_wide = widths.is_wide(16)
        chosen.append(is_wide)
        widths.observe(16, 16, 0.001 if is_wide == is_wide_quicker else 0.002, is_wide=is_wide)
    assert set(chosen[:2]) == {True, False}, "both are tried first"
    assert chosen[2:].count(not is_wide_quicker) == 3, "every 32nd tries the other"


def test_what_changes_is_noticed() -> None:
    widths = Widths()
    for seconds_wide in (0.001, 0.004):
        for _ in range(800):
            is_wide = widths.is_wide(16)
            widths.observe(16, 16, seconds_wide if is_wide else 0.002, is_wide=is_wide)
    assert [widths.is_wide(16) for _ in range(8)].count(True) <= 1


def test_long_items_are_judged_by_themselves() -> None:
    widths = Widths()
    for _ in range(4):
        widths.observe(16, 16, 0.001 if not widths.is_wide(16) else 0.002, is_wide=widths.is_wide(16))
    assert widths.is_wide(128), "never tried at this length"


async def test_only_a_batch_that_runs_alone_is_wide() -> None:
    seen: list[str] = []

    def noted(name: str) -> Callable[[Sequence[Features]], NDArray[np.float32]]:
        def compute(rows: Sequence[Features]) -> NDArray[np.float32]:
            seen.extend([name] * len(rows))
            return np.zeros((len(rows), 1), np.float32)

        return compute

    with ThreadPoolExecutor(2) as pool:
        scheduling = Scheduler(
            noted("narrow"),
            pool,
            workers=2,
            limits=BatchLimits(8, 64),
            max_queue_cost=1000,
            padded_length=lambda length: length,
            pads=True,
            observer=Notes(),
            compute_wide=noted("wide"),
        )
        await scheduling.submit(row(0), deadline=later(), priority="interactive")
        assert seen == ["wide"]
        await asyncio.gather(*(scheduling.submit(row(at), deadline=later(), priority="interactive") for at in range(6)))
    assert seen[1:] == ["narrow"] * 6
