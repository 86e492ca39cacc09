"""Runs a server of models: loads them, watches that they answer, and says so in its health."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from sensorium.v1 import model_pb2, model_pb2_grpc
from shared.hosting.budget import budget_bytes_of
from shared.hosting.config import HostingConfig
from shared.hosting.folder import ModelFolder
from shared.hosting.gate import QueueGate
from shared.hosting.model_service import ModelServicer
from shared.hosting.open_inference import HostedModels, Native
from shared.hosting.report import Report
from shared.hosting.repository import Repository
from shared.hosting.state import RepositoryState
from shared.hosting.versions import Versions
from shared.inference.cache import Cache, Identity, ModelCache
from shared.inference.cpus import available_cpus
from shared.inference.encoder import Encoder, Pools
from shared.inference.fair import FairPool
from shared.inference.features import Prepared
from shared.inference.manifest import Manifest
from shared.inference.model import Model
from shared.inference.package import Package
from shared.inference.providers import Execution, read_execution
from shared.serving.call import caller
from shared.serving.config import ServerConfig
from shared.serving.health import Health
from shared.serving.metrics import Metrics, ModelMetrics
from shared.serving.server import Running, listening
from shared.serving.tracing import Tracing

if TYPE_CHECKING:
    import grpc.aio

_Input = TypeVar("_Input")

_log = logging.getLogger("sensorium.models")

# How often a model that does not answer is tried again.
_RETRY_S = 1.0

_MODEL_SERVICE = model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name


@dataclass(frozen=True, slots=True)
class Host:
    """What every encoder of a service shares: its threads, its bounds, its metrics, what runs its graphs, its cache."""

    pools: Pools
    metrics: Metrics
    max_queue_batches: int
    execution: Execution = Execution()
    cache: Cache | None = None

    def encoder(
        self,
        model: Model,
        prepare: Callable[[_Input], Prepared],
        canary: _Input,
        inputs_per_job: int = 1,
        identity: Identity[_Input] | None = None,
        is_quick: Callable[[_Input], bool] = lambda _: False,
    ) -> Encoder[_Input]:
        """Returns a model with its preprocessing, warmed up; see `Encoder`.

        identity: see `ModelCache`; None for inputs that are cheaper to compute than to look up.
        """
        observer = ModelMetrics(self.metrics, model.package.manifest.id)

        def fingerprint() -> str:
            return model.package.fingerprint

        return Encoder(
            model,
            prepare,
            canary,
            self.pools,
            max_queue_batches=self.max_queue_batches,
            observer=observer,
            inputs_per_job=inputs_per_job,
            is_quick=is_quick,
            cache=ModelCache(self.cache, fingerprint, identity, observer) if self.cache and identity else None,
        )

    def repository(self, config: HostingConfig, program: Program[_Input], thread: Executor) -> Repository[_Input]:
        """Returns the models of a service, which report to log and metrics when they come and go; see `Repository`."""
        budget_bytes = budget_bytes_of(config.memory_budget_mb)
        self.metrics.memory_budget_bytes.set(budget_bytes)
        folder = ModelFolder(config.models, program.accepts, config.load_models)

        def open_encoder(package: Package) -> Encoder[_Input]:
            return program.open_encoder(package, self)

        stated = [name.strip() for name in config.default_model.split(",") if name.strip()]
        versions = Versions(RepositoryState(config.models, program.name), stated)
        keep_old_s = config.keep_old_s if config.keep_old_s >= 0 else math.inf
        return Repository(folder, open_encoder, thread, Report(self.metrics), budget_bytes, versions, keep_old_s)


@dataclass(frozen=True, slots=True)
class Program(Generic[_Input]):
    """What one service of models is, beside what all of them have.

    service: the full name of its gRPC service.
    limits: what it holds items to; the limits of calls are the server's.
    accepts: which packages it serves.
    open_encoder: opens and warms up one of them; runs in a thread.
    add: adds its servicer to a server.
    native: its call behind the Open Inference Protocol; None: it does not speak it.
    """

    name: str
    service: str
    limits: model_pb2.Limits
    accepts: Callable[[Manifest], bool]
    open_encoder: Callable[[Package, Host], Encoder[_Input]]
    add: Callable[[Repository[_Input], grpc.aio.Server], None]
    native: Callable[[Repository[_Input]], Native] | None = None


@contextlib.asynccontextmanager
async def hosting(
    program: Program[_Input], server_config: ServerConfig, config: HostingConfig, metrics: Metrics | None = None
) -> AsyncIterator[Running]:
    """Listens, loads the models, turns SERVING, and keeps watch over them until the block is left.

    metrics: where it counts; None: in some of its own.

    Raises:
        SensoriumError: a package is missing or fails a check.
        OSError: a port is taken.
    """
    metrics = metrics or Metrics(program.name)
    with _host(config, metrics) as shared, ThreadPoolExecutor(1, thread_name_prefix="open") as thread:
        repository = shared.repository(config, program, thread)
        limits = model_pb2.Limits(
            max_message_bytes=server_config.max_message_bytes,
            max_items=server_config.max_items,
            max_inflight_bytes=server_config.max_inflight_bytes,
        )
        limits.MergeFrom(program.limits)

        model_service = ModelServicer(repository, limits)
        models = HostedModels(repository, model_service, program.native(repository)) if program.native else None

        def add(server: grpc.aio.Server) -> None:
            model_pb2_grpc.add_ModelServiceServicer_to_server(model_service, server)
            program.add(repository, server)

        services = (program.service, _MODEL_SERVICE)
        tracing = Tracing(program.name, os.environ)
        gate = QueueGate(program.service, repository, has_cache=shared.cache is not None)
        listener = listening(program.name, server_config, services, add, shared.metrics, tracing, gate, models)
        async with contextlib.aclosing(repository), listener as running:
            await repository.load_all()
            tasks = [asyncio.create_task(_watch(repository, running.health, config))]
            if config.watch_s:
                tasks.append(asyncio.create_task(_follow(repository, config.watch_s)))
            try:
                await running.health.set_serving(True)
                yield running
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _host(config: HostingConfig, metrics: Metrics) -> Iterator[Host]:
    """Opens the threads of a service; leaving the block waits for them.

    Raises:
        FailedPrecondition: a provider or a precision is asked for that this machine does not have.
    """
    workers = config.workers or available_cpus()
    execution = dataclasses.replace(
        read_execution(config.providers, config.precision, workers, config.engine_cache),
        lone_threads=config.lone_threads or workers,
    )
    with (
        # The threads that prepare are enough. OpenBLAS has threads of its own, which spin for work: with them what
        # multiplies matrices (a resize, a mel) took five times its CPU, and a mesh answered half as many calls.
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, thread_name_prefix="prepare") as prepare,
        ThreadPoolExecutor(workers, thread_name_prefix="compute") as compute,
    ):
        yield Host(
            Pools(FairPool(prepare, workers, caller), compute, workers),
            metrics,
            config.max_queue_batches,
            execution,
            _cache(config, metrics),
        )


def _cache(config: HostingConfig, metrics: Metrics) -> Cache | None:
    if not config.cache_mb:
        return None
    cache = Cache(int(config.cache_mb * 1_000_000), metrics.cache_evictions.inc)
    metrics.cache_bytes.set_function(lambda: cache.size_bytes)
    return cache


async def _watch(repository: Repository[Any], health: Health, config: HostingConfig) -> None:
    """Runs each model's canary every so often, and at once after a failure or a change; health follows the outcome."""
    while True:
        repository.changed.clear()
        is_healthy = await _all_answer(repository, config.canary_timeout_s)
        await health.set_serving(is_healthy)
        interval_s = config.canary_interval_s
        await _first_event(repository, interval_s if is_healthy else min(_RETRY_S, interval_s))


async def _all_answer(repository: Repository[Any], timeout_s: float) -> bool:
    """Whether every model answers; one that was unloaded meanwhile does not count, nor is it held."""
    failed = []
    for seen in [weakref.ref(encoder) for encoder in repository.encoders]:
        encoder = seen()
        if encoder is not None and not await _answers(encoder, timeout_s):
            failed.append(seen)
    return not any(seen() in repository.encoders for seen in failed)


async def _follow(repository: Repository[Any], every_s: float) -> None:
    """Follows the model folder whatever it holds; a fault is logged when it comes, and the next look may succeed."""
    last = ""
    while True:
        await asyncio.sleep(every_s)
        try:
            await repository.refresh()
            last = ""
        except Exception as fault:  # noqa: BLE001  # the follower must outlive what others write
            if last != repr(fault):
                _log.error("the model folder cannot be followed", exc_info=fault)
            last = repr(fault)


async def _answers(encoder: Encoder[Any], timeout_s: float) -> bool:
    try:
        await encoder.check(timeout_s)
    except Exception as fault:  # noqa: BLE001  # whatever stops a model from answering
        encoder.failure.set()
        _log.error("the model does not answer", exc_info=fault, extra={"f": {"model": encoder.package.manifest.id}})
        return False
    encoder.failure.clear()
    return True


async def _first_event(repository: Repository[Any], timeout_s: float) -> None:
    """Returns when a healthy model reports a failure, when a model comes or goes, or after `timeout_s`.

    No encoder is held meanwhile, so that one that goes is freed.
    """
    failures = [encoder.failure for encoder in repository.encoders if not encoder.failure.is_set()]
    waits = [asyncio.create_task(event.wait()) for event in (repository.changed, *failures)]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
