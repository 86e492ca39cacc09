"""The cache: what is kept and for how long, and who computes where several want the same."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from sensorium.errors import DeadlineExceeded, InternalError, InvalidInput, Overloaded
from shared.inference.cache import Cache, Known
from shared.inference.encoded import Encoded
from tests.shared.inference.cached import Thing, cached, soon, until

ONE = Thing((1.0,))
OTHER = Thing((2.0,))
VECTOR_BYTES, KNOWN_BYTES = 320 + 3 * 4, 216 + 216  # of three components; of an input of one row


def vector(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(3, value, np.float32)


def test_what_was_not_used_for_longest_goes_first_whichever_model_it_is_of() -> None:
    gone: list[None] = []
    cache = Cache(4 * VECTOR_BYTES, lambda: gone.append(None))
    for model, key in (("m", b"a"), ("n", b"a"), ("m", b"b"), ("n", b"b")):
        cache.put(model, key, vector(1))
    assert cache.get("m", b"a") is not None
    cache.put("m", b"c", vector(1))
    cache.put("n", b"c", vector(1))
    kept = [model + key.decode() for key in (b"a", b"b", b"c") for model in "mn" if cache.get(model, key) is not None]
    assert kept == ["ma", "nb", "mc", "nc"]
    assert (cache.size_bytes, len(gone)) == (4 * VECTOR_BYTES, 2)


def test_the_bound_holds_whatever_comes_and_what_alone_is_over_it_is_not_kept() -> None:
    cache = Cache(10_000, lambda: None)
    for at in range(1000):
        cache.put(str(at % 3), bytes([at % 256]), np.zeros(at % 700, np.float32))
        cache.put(str(at % 5), b"known", Known([b""] * (at % 9), 1, ()))
        assert 0 < cache.size_bytes <= 10_000
    before = cache.size_bytes
    cache.put("0", b"large", np.zeros(10_000, np.float32))
    assert (cache.get("0", b"large"), cache.size_bytes) == (None, before)


def test_what_is_put_anew_counts_once_and_a_model_that_goes_takes_its_own_alone() -> None:
    cache = Cache(10_000, lambda: None)
    for model, key in (("m", b"a"), ("m", b"b"), ("n", b"a"), ("m", b"a")):
        cache.put(model, key, vector(1))
    assert cache.size_bytes == 3 * VECTOR_BYTES
    cache.forget("m")
    cache.forget("unknown")
    assert cache.size_bytes == VECTOR_BYTES
    assert (cache.get("m", b"a"), cache.get("n", b"a") is not None) == (None, True)


async def test_a_model_with_many_entries_is_gone_at_once() -> None:
    cache = Cache(10_000_000, lambda: None)
    for at in range(5000):
        cache.put("m", at.to_bytes(2, "big"), vector(1))
    cache.forget("m")
    assert (cache.size_bytes, cache.get("m", bytes(2))) == (0, None)


async def test_a_repeated_input_has_the_same_bits_and_costs_no_batch(tmp_path: Path) -> None:
    clip = Thing((1.0, 2.0, 3.0), b"clip")
    async with cached(tmp_path) as served:
        first, again = [(await served.encode(clip))[0] for _ in range(2)]
        assert isinstance(first, Encoded)
        assert isinstance(again, Encoded)
        assert again.vectors.tobytes() == first.vectors.tobytes()
        assert (again.spans_ms, again.unit_count) == (first.spans_ms, first.unit_count)
        assert (again.preprocess_ns, again.queue_ns, again.inference_ns, again.batch_size) == (0, 0, 0, 0)
        assert (first.is_cached, again.is_cached) == (False, True)
        assert sum(len(batch) for batch in served.model.batches) == 3
        assert served.counted("sensorium_cache_hits_total") == served.counted("sensorium_cache_misses_total") == 1


async def test_two_files_of_the_same_content_have_one_vector_and_sizes_of_their_own(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        png, bmp = [(await served.encode(Thing((1.0,), file)))[0] for file in (b"png", b"a bmp")]
        assert isinstance(png, Encoded)
        assert isinstance(bmp, Encoded)
        assert bmp.vectors.tobytes() == png.vectors.tobytes()
        assert (bmp.is_cached, png.unit_count, bmp.unit_count) == (True, 3, 5)
        assert bmp.preprocess_ns > 0
        assert served.model.batches == [[1.0]]


async def test_rows_that_are_known_are_not_computed_with_those_that_are_new(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        await served.encode(ONE)
        (longer,) = await served.encode(Thing((1.0, 2.0, 1.0)))
        assert isinstance(longer, Encoded)
        assert not longer.is_cached
        assert served.model.batches == [[1.0], [2.0]]
        assert (longer.vectors[0] == longer.vectors[2]).all()


async def test_an_input_whose_row_went_is_computed_anew(tmp_path: Path) -> None:
    async with cached(tmp_path, max_bytes=2 * (VECTOR_BYTES + KNOWN_BYTES)) as served:
        for thing in (ONE, OTHER, Thing((3.0,)), ONE):
            (answer,) = await served.encode(thing)
            assert isinstance(answer, Encoded)
            assert not answer.is_cached
        assert served.metrics.registry.get_sample_value("sensorium_cache_evictions_total") == 4


async def test_fifty_callers_of_one_input_share_one_computation(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        first = await served.start_at_the_gate(ONE)
        others = [served.start(ONE) for _ in range(49)]
        await until(lambda: served.waiting(ONE) == 50)
        served.model.gate.set()
        answers = await asyncio.gather(first, *others)
        assert served.model.batches == [[1.0]]
        assert len({answer.vectors.tobytes() for answer in answers if isinstance(answer, Encoded)}) == 1
        assert [answer.is_cached for answer in answers if isinstance(answer, Encoded)] == [False, *[True] * 49]
        assert served.counted("sensorium_cache_hits_total") == 49


async def test_one_input_twice_in_a_call_is_computed_once(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        answers = await served.encode(ONE, OTHER, ONE)
        assert sorted(value for batch in served.model.batches for value in batch) == [1.0, 2.0]
        assert [answer.is_cached for answer in answers if isinstance(answer, Encoded)].count(True) == 1


async def test_who_started_hangs_up_and_the_others_still_get_what_runs(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        first = await served.start_at_the_gate(ONE)
        other = served.start(ONE)
        await until(lambda: served.waiting(ONE) == 2)
        first.cancel()
        await asyncio.wait([first])
        served.model.gate.set()
        assert isinstance(await other, Encoded)
        assert first.cancelled()
        assert served.model.batches == [[1.0]]


async def test_who_shares_hangs_up_and_the_others_do_not_notice(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        first = await served.start_at_the_gate(ONE)
        other = served.start(ONE)
        await until(lambda: served.waiting(ONE) == 2)
        other.cancel()
        await asyncio.wait([other])
        served.model.gate.set()
        assert isinstance(await first, Encoded)


async def test_what_nobody_waits_for_any_more_is_not_computed(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        running = await served.start_at_the_gate(OTHER)
        gone = [served.start(ONE), served.start(ONE)]
        await until(lambda: served.waiting(ONE) == 2)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        served.model.gate.set()
        await running
        await served.encode(Thing((3.0,)))
        assert served.model.batches == [[2.0], [3.0]]


async def test_where_the_deadline_of_who_started_passes_another_takes_over(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        running = await served.start_at_the_gate(OTHER)
        deadline = soon()
        first = served.start(ONE, deadline)
        await until(lambda: served.waiting(ONE) == 1)
        others = [served.start(ONE) for _ in range(3)]
        await until(lambda: served.waiting(ONE) == 4 and time.monotonic() > deadline)
        served.model.gate.set()
        answers = await asyncio.gather(*others)
        assert isinstance(await first, DeadlineExceeded)
        assert [answer.is_cached for answer in answers if isinstance(answer, Encoded)].count(False) == 1
        await running
        assert served.model.batches == [[2.0], [1.0]]


async def test_a_callers_own_deadline_holds_while_it_waits_for_another(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        first = await served.start_at_the_gate(ONE)
        other = served.start(ONE, soon())
        assert isinstance(await other, DeadlineExceeded)
        served.model.gate.set()
        assert isinstance(await first, Encoded)


async def test_where_who_started_fails_another_takes_over_and_the_error_is_not_kept(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        served.model.faults = 1
        first = await served.start_at_the_gate(ONE)
        others = [served.start(ONE) for _ in range(3)]
        await until(lambda: served.waiting(ONE) == 4)
        served.model.gate.set()
        assert isinstance(await first, InternalError)
        assert [type(answer) for answer in await asyncio.gather(*others)] == [Encoded] * 3
        assert served.model.batches == [[1.0], [1.0]]


async def test_where_all_fails_each_hears_of_it_and_later_it_is_tried_again(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        served.model.faults = 3
        first = await served.start_at_the_gate(ONE)
        others = [served.start(ONE) for _ in range(2)]
        await until(lambda: served.waiting(ONE) == 3)
        served.model.gate.set()
        assert [type(answer) for answer in await asyncio.gather(first, *others)] == [InternalError] * 3
        assert isinstance((await served.encode(ONE))[0], Encoded)


async def test_a_model_that_failed_several_callers_is_freed_without_the_collector(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # pytest would keep the faults, whose tracebacks hold the model
    async with cached(tmp_path) as served:
        served.model.faults = 3  # the last of them is no other caller's
        first = await served.start_at_the_gate(ONE)
        others = [served.start(ONE) for _ in range(2)]
        await until(lambda: served.waiting(ONE) == 3)
        gc.collect()
        gc.disable()
        try:
            served.model.gate.set()
            await asyncio.wait([first, *others])
            del first, others
            model = weakref.ref(served.model)
            served.encoder = served.model = None  # type: ignore[assignment]  # the test's last hold of them
            await until(lambda: model() is None)
        finally:
            gc.enable()


async def test_a_bad_input_is_looked_at_each_time_and_counts_as_neither(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        for _ in range(2):
            bad, good = await served.encode(Thing(()), ONE)
            assert isinstance(bad, InvalidInput)
            assert isinstance(good, Encoded)
        assert (served.counted("sensorium_cache_hits_total"), served.counted("sensorium_cache_misses_total")) == (1, 1)


async def test_nobody_waits_for_a_slower_lane(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        running = await served.start_at_the_gate(OTHER)
        slow, fast = served.start(ONE, priority="batch"), served.start(ONE)
        await until(lambda: served.waiting(ONE, "batch") == served.waiting(ONE) == 1)
        served.model.gate.set()
        assert [type(answer) for answer in await asyncio.gather(running, slow, fast)] == [Encoded] * 3
        assert served.model.batches == [[2.0], [1.0], [1.0]]


async def test_what_is_kept_is_answered_however_long_the_queue_and_busy_the_threads(
    tmp_path: Path,
) -> None:
    async with cached(tmp_path, max_queue_batches=1) as served:
        await served.encode(ONE)
        running = await served.start_at_the_gate(OTHER)
        waiting = [served.start(Thing((10.0 + at,))) for at in range(64)]
        await until(lambda: served.encoder.admission.waiting_cost >= 64)
        with pytest.raises(Overloaded):
            await served.encode(Thing((3.0,)))
        blocked = threading.Event()
        preparing = asyncio.get_running_loop().run_in_executor(served.prepare_pool, blocked.wait, 10)
        served.encoder.admission._cost_per_s = 1.0  # 64 s of work wait
        async with asyncio.timeout(5):
            (kept,) = await served.encode(ONE, deadline=time.monotonic() + 5)
        assert isinstance(kept, Encoded)
        assert kept.is_cached
        blocked.set()
        await preparing
        served.model.gate.set()
        await asyncio.gather(running, *waiting)


async def test_a_model_that_goes_takes_its_entries_along_and_calls_that_run_leave_none(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        await served.encode(ONE)
        assert served.cache.size_bytes == VECTOR_BYTES + KNOWN_BYTES
        running = await served.start_at_the_gate(OTHER)
        served.encoder.retire()
        assert served.cache.size_bytes == 0
        served.model.gate.set()
        assert isinstance(await running, Encoded)
        assert served.cache.size_bytes == 0


async def test_the_canary_is_computed_each_time(tmp_path: Path) -> None:
    async with cached(tmp_path) as served:
        await served.encode(Thing((0.5,)))
        await served.encoder.check(5)
        await served.encoder.check(5)
        assert served.model.batches == [[0.5]] * 3


async def test_what_is_kept_is_found_by_the_fingerprint_of_the_model_as_it_runs(
    tmp_path: Path,
) -> None:
    async with cached(tmp_path) as served:
        await served.encode(ONE)
        served.model.package = served.model.package.running("bf16", "openvino")
        assert served.encoder.package.fingerprint not in served.cache._shelves
        (fresh,) = await served.encode(ONE)
        assert isinstance(fresh, Encoded)
        assert not fresh.is_cached
        assert served.encoder.package.fingerprint in served.cache._shelves
