"""Models come and go under load: no call is dropped, health holds, and nothing of what went stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from sensorium.errors import InternalError
from shared.inference.features import Features
from shared.inference.model import Model
from tests.running import metric
from tests.shared.hosting.predictors import SERVICE, Served, predictor, serving

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

# What `/metrics` says of a model as long as it is loaded.
_GAUGES = {"model_info", "model_bytes", "model_load_duration_seconds", "queue_items", "queue_cost"}

_TURNS, _WARM_TURNS = 200, 50
_SIZE_MB = 3.0
# Measured: the end lies within 5 MB of the warm state. A model that stayed each turn would be 450 MB.
_MOST_GROWTH_MB = 20.0


class Gated(Model):
    """A real model whose computing, where it is named `gated`, waits at a gate and fails while it is broken."""

    gate = threading.Event()
    arrived = threading.Event()
    broken = threading.Event()

    def compute(self, rows: Sequence[Features], *, is_wide: bool = False) -> NDArray[np.float32]:
        if self.package.manifest.name == "gated":
            self.arrived.set()
            assert self.gate.wait(20)
            if self.broken.is_set():
                raise RuntimeError("the graph is broken")
        return super().compute(rows)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    Gated.gate.set()
    Gated.broken.clear()
    for name in ("default", "gated"):
        predictor(tmp_path, name)
    return tmp_path


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Leaves circles of references alone for the length of the block: what is freed in it needs no collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def resident_mb() -> float:
    """Returns what the process takes, without what glibc keeps of freed memory for later."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def test_two_hundred_reloads_under_load_drop_no_call_and_leave_nothing_behind(tmp_path: Path) -> None:
    predictor(tmp_path, "default", size_mb=0.1)
    for version in ("1", "2"):
        predictor(tmp_path, "churned", version, size_mb=_SIZE_MB)
    async with serving(tmp_path, load_models="default,churned@1,churned@2") as served, asyncio.TaskGroup() as group:
        answered, is_over = 0, asyncio.Event()

        async def ask() -> None:
            nonlocal answered
            while not is_over.is_set():
                assert (await served.predict("churned")).HasField("prediction")
                answered += 1

        for _ in range(4):
            group.create_task(ask())
        with uncollected():
            for turn in range(_TURNS):
                if turn == _WARM_TURNS:
                    warm_mb = resident_mb()
                before = answered
                await served.unload(f"churned@{1 + turn % 2}")
                await served.load(f"churned@{1 + turn % 2}")
                await served.until(lambda before=before: answered > before)  # type: ignore[misc]  # of this turn
            growth_mb = resident_mb() - warm_mb
            is_over.set()
            await served.until(lambda: served.living() == 3)
        assert len(served.opened) == 3 + _TURNS
        assert growth_mb < _MOST_GROWTH_MB


async def test_calls_that_run_or_wait_on_a_model_end_well_when_it_goes_and_the_last_one_frees_it(models: Path) -> None:
    async with serving(models, Gated, workers=1, canary_interval_s=60) as served:
        await served.predict("gated")
        assert served.gauges("gated@1") == _GAUGES
        with uncollected():
            Gated.gate.clear()
            Gated.arrived.clear()
            calls = [asyncio.create_task(served.predict("gated"))]
            assert await asyncio.to_thread(Gated.arrived.wait, 10)
            calls += [asyncio.create_task(served.predict("gated")) for _ in range(20)]
            await served.until(lambda: metric(served.running, "sensorium_queue_items{") == 12)  # 8 stand ready
            await served.unload("gated")
            assert served.gauges("gated@1") == set()
            assert served.living() == 2
            Gated.gate.set()
            assert all(answer.HasField("prediction") for answer in await asyncio.gather(*calls))
            await served.until(lambda: served.living() == 1)
        assert served.gauges("gated@1") == set()


async def test_a_model_that_failed_is_freed_too(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # pytest would keep the faults, whose tracebacks hold the model
    async with serving(models, Gated, canary_interval_s=60) as served:
        with uncollected():
            Gated.broken.set()
            for _ in range(3):
                assert (await served.predict("gated")).error.code == InternalError.code
            await served.unload("gated")
            await served.until(lambda: served.living() == 1)


async def test_health_follows_a_model_from_its_loading_to_its_going(models: Path) -> None:
    async with serving(models, Gated, canary_interval_s=60, load_models="default") as served:
        states = watch(served)
        assert (await states.read()).status == SERVING
        await served.load("gated")
        Gated.broken.set()
        await served.predict("gated")
        assert (await states.read()).status == NOT_SERVING
        await served.unload("gated")
        assert (await states.read()).status == SERVING


async def test_health_holds_when_a_model_goes_whose_canary_runs(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(models, Gated, canary_interval_s=0.1) as served:
        states, seen = watch(served), []

        async def look() -> None:
            while True:
                seen.append((await states.read()).status)

        looking = asyncio.create_task(look())
        Gated.gate.clear()
        Gated.arrived.clear()
        assert await asyncio.to_thread(Gated.arrived.wait, 10)
        await served.unload("gated")
        Gated.broken.set()
        Gated.gate.set()
        await served.until(lambda: any(record.message == "the model does not answer" for record in caplog.records))
        for _ in range(10):
            await served.predict("default")
        assert seen == [SERVING]
        looking.cancel()


def watch(served: Served) -> Any:
    return health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)  # type: ignore[attr-defined]  # untyped
