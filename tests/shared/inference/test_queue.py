"""The lanes in which rows wait for a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from shared.inference.features import Features
from shared.inference.queue import MAX_PADDING_RATIO, Entry, Lane


def entry(length: int, order: int, *, deadline_s: float = 60.0) -> Entry[int]:
    features = Features({"x": np.zeros(length)}, length, length)
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    return Entry(features, future, time.monotonic() + deadline_s, order)


def upto(cost: int) -> Callable[[int, float], int]:
    return lambda length, slack_s: cost


def lane(drops: list[Entry[int]] | None = None, *, pads: bool = True) -> Lane[int]:
    heard = drops if drops is not None else []
    return Lane(lambda length: -(-length // 8) * 8, pads=pads, on_drop=heard.append)


async def test_the_oldest_row_leads_and_takes_those_of_its_length_along() -> None:
    waiting = lane()
    for order, length in enumerate([16, 128, 16, 128]):
        waiting.push(entry(length, order))
    assert [each.features.length for each in waiting.take(8, upto(4096))] == [16, 16]
    assert [each.features.length for each in waiting.take(8, upto(4096))] == [128, 128]
    assert waiting.take(8, upto(4096)) == []


async def test_mixed_lengths_never_pad_beyond_the_bound() -> None:
    waiting = lane()
    lengths = np.random.default_rng(0).integers(8, 129, 500)
    for order, length in enumerate(lengths):
        waiting.push(entry(int(length), order))
    padded = real = 0
    while batch := waiting.take(32, upto(1024)):
        rounded = [-(-each.features.length // 8) * 8 for each in batch]
        assert len(batch) <= 32
        assert max(rounded) * len(batch) <= 1024 or len(batch) == 1
        assert max(rounded) * len(batch) <= MAX_PADDING_RATIO * sum(rounded)
        padded, real = padded + max(rounded) * len(batch), real + sum(each.features.length for each in batch)
    assert real == lengths.sum()
    assert padded / real < 1.2  # rounding up to multiples of 8 included


async def test_a_row_over_the_cost_of_a_batch_rides_alone() -> None:
    waiting = lane()
    waiting.push(entry(512, 0))
    waiting.push(entry(512, 1))
    assert len(waiting.take(8, upto(100))) == 1


async def test_rows_of_other_shapes_never_share_a_batch_where_nothing_pads() -> None:
    waiting = lane(pads=False)
    for order, length in enumerate([64, 128, 64]):
        waiting.push(entry(length, order))
    assert [each.features.length for each in waiting.take(8, upto(4096))] == [64, 64]


async def test_expired_and_cancelled_rows_are_dropped_before_they_cost_anything() -> None:
    drops: list[Entry[int]] = []
    waiting = lane(drops)
    expired, cancelled, live = entry(8, 0, deadline_s=-1), entry(8, 1), entry(8, 2)
    cancelled.future.cancel()
    for each in (expired, cancelled, live):
        waiting.push(each)
    assert waiting.take(8, upto(4096)) == [live]
    assert drops == [expired, cancelled]
    assert (waiting.size, waiting.cost) == (0, 0)


async def test_how_much_is_enough_is_asked_for_the_oldest_row_with_its_time() -> None:
    waiting = lane()
    for order, length in enumerate([16, 16, 64]):
        waiting.push(entry(length, order, deadline_s=5.0 if order == 0 else 60.0))
    asked: list[tuple[int, float]] = []

    def enough(length: int, slack_s: float) -> int:
        asked.append((length, slack_s))
        return 0

    assert len(waiting.take(8, enough)) == 1, "one row is taken whatever it costs"
    ((length, slack_s),) = asked
    assert length == 16
    assert 4.0 < slack_s <= 5.0
