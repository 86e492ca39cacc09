"""An encoder with a cache, of a real model that waits at a gate and fails where a test wants it to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, SensoriumError
from shared.inference.cache import Cache, Identity, ModelCache
from shared.inference.encoded import Encoded
from shared.inference.encoder import Encoder, Pools
from shared.inference.fair import FairPool
from shared.inference.features import Features, Prepared
from shared.inference.model import Model
from shared.inference.package import open_package
from shared.inference.queue import Priority
from shared.serving.metrics import Metrics, ModelMetrics
from tests.packages import bridge

FOREVER = float("inf")


@dataclass(frozen=True)
class Thing:
    """An input: the values of its rows, and the file that they came in. Without rows it is a broken one."""

    rows: tuple[float, ...]
    file: bytes = b""

    def identify(self) -> Sequence[bytes]:
        return self.file or str(self.rows).encode(), b""

    def prepare(self) -> Prepared:
        if not self.rows:
            raise InvalidInput("has no rows")
        rows = [Features({"embedding": np.full(4, value, np.float32)}, 1, 1) for value in self.rows]
        return Prepared(rows, len(self.file), [(at, at + 1) for at in range(len(rows))])


class Gated(Model):
    """Notes the rows of each batch; waits while the gate is closed, and fails as often as it is told."""

    def __init__(self, folder: Path) -> None:
        self.gate, self.entered, self.faults = threading.Event(), threading.Semaphore(0), 0
        self.batches: list[list[float]] = []
        self.gate.set()
        super().__init__(open_package(folder))

    def compute(self, rows: Sequence[Features], *, is_wide: bool = False) -> NDArray[np.float32]:
        self.batches.append([float(row.arrays["embedding"][0]) for row in rows])
        self.entered.release()
        assert self.gate.wait(10)
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a fault")
        return super().compute(rows)


@dataclass
class Cached:
    """The encoder, and what a test looks at."""

    encoder: Encoder[Thing]
    model: Gated
    cache: Cache
    metrics: Metrics
    prepare_pool: ThreadPoolExecutor

    async def encode(
        self, *things: Thing, deadline: float = FOREVER, priority: Priority = "interactive"
    ) -> Sequence[Encoded | SensoriumError]:
        return await self.encoder.encode(things, deadline=deadline, priority=priority)

    def start(
        self, thing: Thing, deadline: float = FOREVER, priority: Priority = "interactive"
    ) -> asyncio.Task[Encoded | SensoriumError]:
        async def only() -> Encoded | SensoriumError:
            return (await self.encode(thing, deadline=deadline, priority=priority))[0]

        return asyncio.get_running_loop().create_task(only())

    async def start_at_the_gate(self, thing: Thing) -> asyncio.Task[Encoded | SensoriumError]:
        """Starts what then keeps the only worker until the gate is opened."""
        self.model.gate.clear()
        while self.model.entered.acquire(blocking=False):
            pass
        task = self.start(thing)
        assert await asyncio.to_thread(self.model.entered.acquire, timeout=10)
        return task

    def waiting(self, thing: Thing, priority: Priority = "interactive") -> int:
        """Returns how many wait for the first row of a thing."""
        cache = self.encoder._cache
        assert cache is not None
        flight = self.encoder._flights.find(cache.row_keys(thing.prepare())[0], priority)
        return flight.waiting if flight else 0

    def counted(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"model": self.encoder.package.manifest.id}) or 0.0


async def until(holds: Callable[[], bool]) -> None:
    """Returns once it holds; fails after some seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0)


def fingerprint(model: Model) -> str:
    return model.package.fingerprint


@asynccontextmanager
async def cached(folder: Path, max_bytes: int = 1_000_000, max_queue_batches: int = 100) -> AsyncIterator[Cached]:
    """Opens an encoder of one worker, whose calls prepare and compute in threads as in a service."""
    model = Gated(bridge(folder, "a@1", "b@1", np.random.default_rng(1).random((4, 3), np.float32)))
    metrics = Metrics("test")
    observer = ModelMetrics(metrics, model.package.manifest.id)
    cache = Cache(max_bytes, metrics.cache_evictions.inc)
    with ThreadPoolExecutor(1) as prepare, ThreadPoolExecutor(1) as compute:
        encoder = Encoder(
            model,
            Thing.prepare,
            Thing((0.5,)),
            Pools(FairPool(prepare, 1), compute, 1),
            max_queue_batches=max_queue_batches,
            observer=observer,
            cache=ModelCache(cache, partial(fingerprint, model), Identity(Thing.identify, lambda _: 0), observer),
        )
        model.batches.clear()
        served = Cached(encoder, model, cache, metrics, prepare)
        del encoder, model  # so that a test can let go of them
        try:
            yield served
        finally:
            if served.encoder is not None:
                served.model.gate.set()
                await served.encoder.close()


def soon() -> float:
    """Returns a deadline that a test can wait for."""
    return time.monotonic() + 0.3
