"""What the Grafana dashboard shows: rows of panels, each with its unit and its queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["reqps", "percentunit", "s", "short", "bytes", "none", "ops", "cps"]


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph.

    queries: PromQL and the legend of its lines; `$__rate_interval` and the dashboard's variables are filled in.
    """

    title: str
    unit: Unit
    queries: tuple[tuple[str, str], ...]
    description: str = ""


# The variables of the dashboard; compose has no namespace, which `.*` matches too.
_IN = 'namespace=~"$namespace",job=~"$job"'


def _rate(metric: str, by: str, matchers: str = "") -> str:
    """Returns the sum of a counter's rates by labels."""
    return f"sum by ({by}) (rate({metric}{{{_IN}{matchers}}}[$__rate_interval]))"


def _quantile(quantile: float, metric: str, by: str, matchers: str = "") -> str:
    """Returns a quantile of a histogram by labels."""
    return f"histogram_quantile({quantile:g}, {_rate(f'{metric}_bucket', f'{by}, le', matchers)})"


_HITS = _rate("sensorium_cache_hits_total", "model")
_MISSES = _rate("sensorium_cache_misses_total", "model")
_NO_STREAM = ',method!~".*(Stream|LoadModel)"'

ROWS: dict[str, tuple[Panel, ...]] = {
    "Calls": (
        Panel("Calls", "reqps", ((_rate("sensorium_requests_total", "job, method"), "{{job}} {{method}}"),)),
        Panel(
            "Failed items",
            "percentunit",
            ((f"job:sensorium_errors:ratio_rate5m{{{_IN}}}", "{{job}}"),),
            "What the service is to blame for, inside of answers that are OK too, over five minutes.",
        ),
        Panel(
            "Failed items by service and code",
            "cps",
            ((_rate("sensorium_item_errors_total", "job, service, code"), "{{job}} {{service}} {{code}}"),),
            "Of the orchestrator: which service failed them.",
        ),
        Panel("Calls by code", "reqps", ((_rate("sensorium_requests_total", "job, code"), "{{job}} {{code}}"),)),
        Panel(
            "Duration: median and slowest 1 %",
            "s",
            (
                (_quantile(0.5, "sensorium_request_duration_seconds", "method", _NO_STREAM), "p50 {{method}}"),
                (_quantile(0.99, "sensorium_request_duration_seconds", "method", _NO_STREAM), "p99 {{method}}"),
            ),
            "Streams and loads of models are left out.",
        ),
        Panel("In flight", "short", ((f"sum by (job) (sensorium_requests_in_flight{{{_IN}}})", "{{job}}"),)),
        Panel(
            "Serving instances",
            "short",
            ((f"sum by (job, grpc_service) (sensorium_serving{{{_IN}}})", "{{job}} {{grpc_service}}"),),
        ),
    ),
    "Orchestrator": (
        Panel(
            "Calls and their limit",
            "short",
            (
                (f"sum by (priority) (sensorium_concurrency{{{_IN}}})", "{{priority}}"),
                (f"sum (sensorium_concurrency_limit{{{_IN}}})", "limit"),
            ),
            "The limit follows the durations that calls have.",
        ),
        Panel(
            "Calls to peers", "reqps", ((_rate("sensorium_peer_calls_total", "peer, outcome"), "{{peer}} {{outcome}}"),)
        ),
        Panel(
            "Breakers",
            "none",
            ((f"max by (instance, peer) (sensorium_peer_breaker_state{{{_IN}}})", "{{peer}} {{instance}}"),),
            "0: calls go out; 1: one tries; 2: all are refused.",
        ),
        Panel("Hedges", "ops", ((_rate("sensorium_peer_hedges_total", "peer, outcome"), "{{peer}} {{outcome}}"),)),
        Panel("Items by tenant", "cps", ((_rate("sensorium_tenant_items_total", "tenant"), "{{tenant}}"),)),
        Panel(
            "Over quota",
            "reqps",
            ((_rate("sensorium_tenant_refusals_total", "tenant, limit"), "{{tenant}} {{limit}}"),),
        ),
    ),
    "Queues": (
        Panel(
            "Seconds of work that wait",
            "s",
            ((f"max by (job, model) (instance_model:sensorium_queue:seconds{{{_IN}}})", "{{job}} {{model}}"),),
            "The cost in the queue over the cost computed in a second; the autoscalers' target is 0.2 s a pod.",
        ),
        Panel(
            "Items that wait",
            "short",
            ((f"sum by (model, priority) (sensorium_queue_items{{{_IN}}})", "{{model}} {{priority}}"),),
        ),
        Panel(
            "Cost that waits",
            "short",
            ((f"sum by (model, priority) (sensorium_queue_cost{{{_IN}}})", "{{model}} {{priority}}"),),
            "In tokens, pixels or frames.",
        ),
        Panel("Not computed", "cps", ((_rate("sensorium_dropped_total", "model, reason"), "{{model}} {{reason}}"),)),
        Panel(
            "Items refused or failed",
            "cps",
            ((_rate("sensorium_model_item_errors_total", "model, reason"), "{{model}} {{reason}}"),),
        ),
        Panel(
            "Stages: slowest 5 %",
            "s",
            ((_quantile(0.95, "sensorium_stage_duration_seconds", "model, stage"), "{{model}} {{stage}}"),),
        ),
    ),
    "Models": (
        Panel("Items computed", "cps", ((_rate("sensorium_items_total", "model"), "{{model}}"),)),
        Panel("Batches", "ops", ((_rate("sensorium_batches_total", "model"), "{{model}}"),)),
        Panel(
            "Items in a batch",
            "short",
            ((_quantile(0.5, "sensorium_batch_items", "model"), "median {{model}}"),),
        ),
        Panel(
            "Padding: padded over real cost",
            "none",
            ((_quantile(0.5, "sensorium_batch_padding_ratio", "model"), "median {{model}}"),),
        ),
        Panel("Answered from the cache", "percentunit", ((f"{_HITS} / ({_HITS} + {_MISSES})", "{{model}}"),)),
        Panel(
            "Loaded models on disk, and the budget",
            "bytes",
            (
                (f"sum by (job, instance) (sensorium_model_bytes{{{_IN}}})", "{{instance}}"),
                (f"sensorium_memory_budget_bytes{{{_IN}}} > 0", "budget {{instance}}"),
            ),
        ),
        Panel(
            "Models that went", "ops", ((_rate("sensorium_model_unloads_total", "job, reason"), "{{job}} {{reason}}"),)
        ),
        Panel(
            "Versions",
            "none",
            (
                (
                    f"count by (model, version, fingerprint) (sensorium_model_info{{{_IN}}})",
                    "{{model}}@{{version}} {{fingerprint}}",
                ),
            ),
            "Instances by version and fingerprint; more than one line for a model is a rollout under way.",
        ),
    ),
    "Processes": (
        Panel(
            "CPU", "none", ((_rate("process_cpu_seconds_total", "job, instance"), "{{job}} {{instance}}"),), "Cores."
        ),
        Panel("Memory", "bytes", ((f"process_resident_memory_bytes{{{_IN}}}", "{{job}} {{instance}}"),)),
        Panel(
            "Decoders replaced",
            "ops",
            ((_rate("sensorium_decoder_restarts_total", "job, reason"), "{{job}} {{reason}}"),),
        ),
        Panel(
            "Until the certificates end",
            "s",
            (
                (
                    f"min by (job, certificate) (sensorium_tls_certificate_expiry_timestamp_seconds{{{_IN}}}) - time()",
                    "{{job}} {{certificate}}",
                ),
            ),
        ),
    ),
}
