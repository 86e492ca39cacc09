"""The Prometheus metrics of a service; names and units as Prometheus has them: seconds, bytes, `_total`."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

# Each bound about 1.5 times the one before, the round ones among them, which objectives are written with.
_SECONDS = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25),
    *(0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_COSTS = tuple(float(4**i) for i in range(2, 13))
# Of how many answered calls the median is taken, and how many there must be for one. Guesses.
_LATEST = 256
_FEWEST = 20


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self, service: str) -> None:
        """Registers every metric; `service` is the value of the label `service` of `sensorium_info`."""
        self.service = service
        self.queue_owners: dict[str, object] = {}  # by model: whose the gauges of what waits are
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._info = self._gauge("info", "The service that this process is; always 1.", "service")
        self._info.labels(service).set(1)
        self.requests = self._counter("requests", "Calls by method and status code.", "method", "code")
        self.request_seconds = self._histogram("request_duration_seconds", "Time a call took.", _SECONDS, "method")
        self.in_flight = self._gauge("requests_in_flight", "Calls being answered.", "method")
        self.stage_seconds = self._histogram(
            "stage_duration_seconds", "Time by stage: preprocess, queue, inference.", _SECONDS, "model", "stage"
        )
        self.items = self._counter("items", "Items that the model computed.", "model")
        self.batches = self._counter("batches", "Batches that the model ran.", "model")
        self.batch_items = self._histogram("batch_items", "Items in a batch.", _SIZES, "model")
        self.batch_cost = self._histogram(
            "batch_cost", "Cost of a batch, padding included: tokens, pixels or frames.", _COSTS, "model"
        )
        self.padding_ratio = self._histogram(
            "batch_padding_ratio",
            "Padded cost over real cost of a batch.",
            (1.0, 1.05, 1.1, 1.15, 1.25, 1.5, 2, 3, 5),
            "model",
        )
        self.queue_items = self._gauge("queue_items", "Items waiting for the model.", "model", "priority")
        self.queue_cost = self._gauge("queue_cost", "Cost waiting for the model.", "model", "priority")
        self.call_items = self._counter("call_items", "Items that calls brought, at least one each.")
        self.item_errors = self._counter(
            "item_errors",
            "Items that failed in an answer or with their whole call: the service that failed them, the status code, "
            "and whose fault that is: service, caller, load.",
            "service",
            "code",
            "fault",
        )
        self.model_item_errors = self._counter(
            "model_item_errors", "Items that a model's preprocessing or run refused or failed.", "model", "reason"
        )
        self.dropped = self._counter("dropped", "Items not computed: full, expired, cancelled.", "model", "reason")
        self.model_load_seconds = self._gauge(
            "model_load_duration_seconds", "Time to check, open and warm up a model.", "model"
        )
        self.model_info = self._gauge(
            "model_info", "Models that are loaded; always 1.", "model", "version", "space", "fingerprint"
        )
        self.model_bytes = self._gauge(
            "model_bytes",
            "Size on disk of a loaded model's graphs and weights, as the memory budget counts it.",
            "model",
        )
        self.memory_budget_bytes = self._gauge(
            "memory_budget_bytes", "What the loaded models may take together; 0 where nothing bounds them."
        )
        self.model_unloads = self._counter(
            "model_unloads", "Models that went: requested, budget, replaced, gone.", "reason"
        )
        self.cache_hits = self._counter(
            "cache_hits", "Items answered from the cache, or from what was computed for another caller.", "model"
        )
        self.cache_misses = self._counter("cache_misses", "Items computed that the cache did not have.", "model")
        self.cache_evictions = self._counter("cache_evictions", "Entries of the cache that went for newer ones.")
        self.cache_bytes = self._gauge("cache_bytes", "What the entries of the cache take.")
        self.tenant_items = self._counter("tenant_items", "Items that a tenant brought, of those it may.", "tenant")
        self.tenant_running = self._gauge("tenant_running", "Calls and streams of a tenant that run.", "tenant", "kind")
        self.tenant_refusals = self._counter("tenant_refusals", "Calls over a tenant's quota.", "tenant", "limit")
        self.certificate_expiry = self._gauge(
            "tls_certificate_expiry_timestamp_seconds",
            "When the first certificate of a file expires, in seconds since 1970; by the option that names the file.",
            "certificate",
        )
        self.concurrency = self._gauge(
            "concurrency", "Calls that the orchestrator answers, of those that its limit bounds.", "priority"
        )
        self.concurrency_limit = self._gauge("concurrency_limit", "How many of these may be answered at once.")
        self.decoder_ends = self._counter(
            "decoder_restarts", "Decoders that were replaced: crash, timeout, memory, killed.", "reason"
        )
        self.peer_calls = self._counter(
            "peer_calls",
            "Calls to a peer: answered, failed, refused by its breaker before they were sent.",
            "peer",
            "outcome",
        )
        self.peer_breaker_state = self._gauge(
            "peer_breaker_state", "0 where calls to a peer go out, 1 where one tries, 2 where all are refused.", "peer"
        )
        self.peer_hedges = self._counter("peer_hedges", "Second calls to a peer: won, lost.", "peer", "outcome")
        self.serving = self._gauge("serving", "1 where the health service says SERVING.", "grpc_service")

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"sensorium_{name}", help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"sensorium_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"sensorium_{name}", help_text, labels, registry=self.registry, buckets=buckets)


class Typical:
    """What calls of one method usually take: the median of the latest that were answered."""

    def __init__(self) -> None:
        """Has seen none yet."""
        self._latest: deque[float] = deque(maxlen=_LATEST)

    def took(self, seconds: float) -> None:
        """Notes how long one call took that was answered."""
        self._latest.append(seconds)

    def is_too_short(self, given_s: float) -> bool:
        """Whether a caller who gives so many seconds cannot expect an answer; False while too few calls were seen."""
        return len(self._latest) >= _FEWEST and given_s < statistics.median(self._latest)


class CallMetrics:
    """The metrics of the calls of one method, whose time series are looked up once.

    typical: how long they usually take.
    """

    def __init__(self, metrics: Metrics, method: str) -> None:
        """Takes the method's path."""
        self._metrics, self._method = metrics, method
        self._in_flight = metrics.in_flight.labels(method)
        self._seconds = metrics.request_seconds.labels(method)
        self._by_code: dict[str, Counter] = {}
        self.typical = Typical()

    def began(self) -> None:
        """Counts a call that is being answered."""
        self._in_flight.inc()

    def ended(self, code: str, seconds: float) -> None:
        """Counts a call that was answered; `code` is gRPC's name of its status."""
        self._in_flight.dec()
        self._seconds.observe(seconds)
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._metrics.requests.labels(self._method, code)
        counter.inc()


class ModelMetrics:
    """The metrics of one model, as its scheduler and its cache tell them (two observers of `shared.inference`)."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        """Looks the model's time series up once; `model` is `name@version`."""
        stage = metrics.stage_seconds
        self._preprocess = stage.labels(model, "preprocess")
        self._queue = stage.labels(model, "queue")
        self._inference = stage.labels(model, "inference")
        self._items = metrics.items.labels(model)
        self._batches = metrics.batches.labels(model)
        self._batch_items = metrics.batch_items.labels(model)
        self._batch_cost = metrics.batch_cost.labels(model)
        self._padding_ratio = metrics.padding_ratio.labels(model)
        self._cache_hits = metrics.cache_hits.labels(model)
        self._cache_misses = metrics.cache_misses.labels(model)
        self._waiting = {
            priority: (metrics.queue_items.labels(model, priority), metrics.queue_cost.labels(model, priority))
            for priority in ("interactive", "batch")
        }
        self._metrics = metrics
        self._model = model
        self._is_retired = False
        metrics.queue_owners[model] = self

    def batch_done(
        self, *, items: int, real_cost: int, padded_cost: int, queue_s: Sequence[float], inference_s: float
    ) -> None:
        """Counts a computed batch."""
        self._items.inc(items)
        self._batches.inc()
        self._batch_items.observe(items)
        self._batch_cost.observe(padded_cost)
        self._padding_ratio.observe(padded_cost / max(1, real_cost))
        self._inference.observe(inference_s)
        for seconds in queue_s:
            self._queue.observe(seconds)

    def prepared(self, seconds: float) -> None:
        """Notes how long an input took to preprocess."""
        self._preprocess.observe(seconds)

    def item_failed(self, reason: str) -> None:
        """Counts an input that was refused or failed."""
        self._metrics.model_item_errors.labels(self._model, reason).inc()

    def dropped(self, reason: str, count: int = 1) -> None:
        """Counts rows that were not computed."""
        self._metrics.dropped.labels(self._model, reason).inc(count)

    def looked_up(self, *, hits: int, misses: int) -> None:
        """Counts inputs that were answered without the model, and those that it computed beside the cache."""
        self._cache_hits.inc(hits)
        self._cache_misses.inc(misses)

    def queue_changed(self, priority: str, items: int, cost: int) -> None:
        """Notes what waits; a retired model's gauges are gone for good."""
        if self._is_retired:
            return
        gauges = self._waiting[priority]
        gauges[0].set(items)
        gauges[1].set(cost)

    def retired(self) -> None:
        """Takes away the gauges of what waits; the counters stay, so that rates over the time before hold."""
        self._is_retired = True
        if self._metrics.queue_owners.get(self._model) is not self:
            return  # the model was loaded again, and the gauges are those of its successor
        del self._metrics.queue_owners[self._model]
        for priority in self._waiting:
            self._metrics.queue_items.remove(self._model, priority)
            self._metrics.queue_cost.remove(self._model, priority)
