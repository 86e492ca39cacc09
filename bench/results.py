"""What a run found: plain numbers, that a table, a plot and a JSON file are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.load.calls import OK, Outcome
from bench.load.generate import merged


@dataclass(frozen=True, slots=True)
class Slice:
    """One system measured once, with the limit before and after it.

    limit_cpu_s: CPU time of the graph alone, an item. limit_latencies_s: of its batches.
    """

    outcome: Outcome
    limit_rate: float
    limit_cpu_s: float
    limit_latencies_s: Sequence[float] = ()
    padding: float | None = None
    pss_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One system in one cell: medians over the rounds; percentiles over all calls of all rounds.

    rate, rate_low, rate_high: items a second, and the least and most of a round.
    limit, limit_low, limit_high: rate as a share of onnxruntime's, each round's by its neighbours.
    p50_ms, p90_ms, p99_ms: of answered calls.
    added_ms, added_p99_ms: p50 and p99 above those of the graph alone, one by one; with one caller only.
    cpu_ms: the server's CPU time an item; cpu_ratio: over that of the limit.
    padding: padded over real cost, where the system says.
    generator_cpu: CPUs that the load generator took.
    failed: calls without an answer, by status.
    """

    kind: str
    callers: int
    system: str
    setting: str
    rate: float
    rate_low: float
    rate_high: float
    limit: float
    limit_low: float
    limit_high: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    added_ms: float | None
    added_p99_ms: float | None
    cpu_ms: float
    cpu_ratio: float
    pss_mb: float
    padding: float | None
    generator_cpu: float
    failed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenRow:
    """One system under a given rate: `answered` a second, and how long answers and refusals took.

    share: of the capacity, which is rate / share. refused, expired: calls a second that were refused, and that were
        accepted but failed or came too late. failed: calls without an answer, refusals too, by status.
    """

    kind: str
    system: str
    setting: str
    share: float
    rate: float
    answered: float
    p50_ms: float
    p99_ms: float
    refused: float
    refusal_p50_ms: float
    refusal_p99_ms: float
    expired: float = 0.0
    failed: dict[str, int] = field(default_factory=dict)


def row(kind: str, callers: int, system: str, setting: str, slices: Sequence[Slice]) -> Row:
    """Returns the row of a cell."""
    rates = [each.outcome.rate for each in slices]
    shares = [each.outcome.rate / each.limit_rate for each in slices]
    costs = [each.outcome.cpu_s / max(1, each.outcome.items) for each in slices]
    whole = merged([each.outcome for each in slices])
    took = sorted(whole.latencies_s)
    paddings = [each.padding for each in slices if each.padding is not None]
    alone = sorted(seconds for each in slices for seconds in each.limit_latencies_s)
    added = [1e3 * (percentile(took, part) - percentile(alone, part)) if callers == 1 else None for part in (0.5, 0.99)]
    return Row(
        kind, callers, system, setting,
        rate=median(rates), rate_low=min(rates), rate_high=max(rates),
        limit=median(shares), limit_low=min(shares), limit_high=max(shares),
        p50_ms=1e3 * percentile(took, 0.5), p90_ms=1e3 * percentile(took, 0.9), p99_ms=1e3 * percentile(took, 0.99),
        added_ms=added[0], added_p99_ms=added[1], cpu_ms=1e3 * median(costs),
        cpu_ratio=median(cost / each.limit_cpu_s for cost, each in zip(costs, slices, strict=True)),
        pss_mb=max(each.pss_mb for each in slices), padding=median(paddings) if paddings else None,
        generator_cpu=whole.generator_cpu_s / whole.seconds,
        failed={status: count for status, count in whole.statuses.items() if status != "0"},
    )  # fmt: skip


def open_row(kind: str, system: str, setting: str, share: float, rate: float, outcome: Outcome) -> OpenRow:
    """Returns the row of an open loop."""
    took, refused = sorted(outcome.latencies_s), sorted(outcome.refusals_s)
    return OpenRow(
        kind, system, setting, share, rate,
        answered=outcome.rate, p50_ms=1e3 * percentile(took, 0.5), p99_ms=1e3 * percentile(took, 0.99),
        refused=len(refused) / outcome.seconds,
        refusal_p50_ms=1e3 * percentile(refused, 0.5), refusal_p99_ms=1e3 * percentile(refused, 0.99),
        expired=(outcome.statuses.total() - outcome.statuses[OK] - len(refused)) / outcome.seconds,
        failed={status: count for status, count in outcome.statuses.items() if status != "0"},
    )  # fmt: skip


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """Returns the value that `share` of them do not exceed; 0 where there is none."""
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))] if sorted_values else 0.0
