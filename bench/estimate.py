"""Foretells how long a run takes."""

from __future__ import annotations

from collections.abc import Sequence

from bench.inputs import TEXT_COUNT
from bench.plan import Plan
from bench.systems.system import System

# Of whole runs on two cores of an AMD EPYC; guesses elsewhere.
_BETWEEN_S = 0.6  # to start a generator, twice to read the metrics
_PASS_S = 1.1  # that the limit goes on after its time, to the end of a pass over all texts
_START_S = 3.5  # to start and stop a server
_COLD_S = 1.2
_MODELS_S = 15.0  # to read the models, and to measure the generator
_DRAIN_S = 2.0  # for the last answers of an open loop
_RATE = 160  # mixed texts a second
_WAYS = 3  # to run the graph alone


def estimate_s(plan: Plan) -> float:
    """Returns the seconds that a run takes, installations left out."""
    took = _MODELS_S + plan.cold_rounds * 4 * _COLD_S + _START_S * len(plan.systems)
    if "mixed" in plan.kinds and plan.soak_requests:
        took += _START_S + plan.soak_requests / _RATE
    for kind in plan.kinds:
        took += _WAYS * _limit_s(plan)
        took += sum(cell_s(plan, kind, systems) for _, systems in plan.cells(kind))
        if not plan.is_quick:  # which keeps them all running
            took += sum(_START_S * len(systems) for _, systems in plan.cells(kind))
        for system in (each for each in plan.systems if kind in each.kinds):
            took += _sweep_s(plan, kind, system) + plan.is_loaded_openly(system, kind) * _open_s(plan, kind, system)
        if plan.scales(kind):
            took += 2 * (_START_S + 2 * (plan.seconds + _PASS_S) + 1.25 * plan.seconds)
    return took


def cell_s(plan: Plan, kind: str, systems: Sequence[System]) -> float:
    """Returns the seconds that one cell takes once its servers run."""
    limit_s = _limit_s(plan)
    slices_s = sum(plan.slice_s(kind, system) + plan.warmup_s + limit_s + _BETWEEN_S for system in systems)
    return plan.rounds * (limit_s + slices_s)


def _limit_s(plan: Plan) -> float:
    return plan.raw_s + _PASS_S * plan.text_count / TEXT_COUNT


def _sweep_s(plan: Plan, kind: str, system: System) -> float:
    settings = plan.settings(system, kind)
    if not plan.sweep_s or len(settings) < 2:
        return 0.0
    return len(settings) * (
        _START_S + len(plan.sweep_callers) * (plan.sweep_slice_s(kind) + plan.sweep_warmup_s + _BETWEEN_S)
    )


def _open_s(plan: Plan, kind: str, system: System) -> float:
    loop_s = plan.open_s + plan.warmup_s + _DRAIN_S + _BETWEEN_S
    return _START_S + plan.slice_s(kind, system) + plan.warmup_s + (len(plan.rates) or 3) * loop_s
