"""Compares one core with all: our service, and onnxruntime alone, held to so many CPUs by their affinity."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fleet import Fleet
from bench.load.calls import Load
from bench.load.generate import measure
from bench.raw import Ways, raw
from bench.systems.system import System

_CALLERS = 32


@dataclass(frozen=True, slots=True)
class Scaled:
    """Items a second of a system, and of onnxruntime alone, on so many CPUs. The load generator may use any."""

    kind: str
    system: str
    cpus: int
    rate: float
    limit_rate: float


def scaling(
    fleet: Fleet, kind: str, system: System, graph: Path, batches: Ways, way: str, load_s: float
) -> Iterator[Scaled]:
    """Measures with one CPU and with all, each started anew; nothing where the system does not start.

    way: of the limit, that was the fastest. load_s: seconds of each load.
    """
    cpus = sorted(os.sched_getaffinity(0))
    for count in sorted({1, len(cpus)}):
        fleet.keep_only([])
        with contextlib.ExitStack() as stack:
            with _held_to(cpus[:count]):  # what starts within keeps it
                server = fleet.server(system, system.settings[0])
                limit = stack.enter_context(raw(graph, batches))
            if server is None:
                return
            before = limit.measure(way, load_s).rate
            rate = measure(server.target, Load(load_s, load_s / 4, _CALLERS)).rate
            yield Scaled(kind, system.name, count, rate, (before + limit.measure(way, load_s).rate) / 2)
    fleet.keep_only([])


@contextlib.contextmanager
def _held_to(cpus: Sequence[int]) -> Iterator[None]:
    """Holds this thread, and the processes that it starts meanwhile, to these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
