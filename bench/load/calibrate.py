"""Shows what the load generator can do: against a server that answers at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load.calls import Load, Target, Wire
from bench.load.generate import measure

_WIRES: tuple[Wire, ...] = ("grpc", "http")
_BODY = bytes(80)  # of a short text's request


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many calls a second it makes, and the CPU time that one takes it."""

    wire: str
    callers: int
    rate: float
    cpu_us: float


def ceilings(seconds: float, callers: Sequence[int] = (1, 32)) -> Sequence[Ceiling]:
    """Returns the generator's ceilings over both wires; the null server has the other core."""
    found = []
    for wire in _WIRES:
        command = [sys.executable, "-m", "bench.load.null_server", wire, "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                target = Target(wire, int(server.stdout.readline()), "/null", (_BODY,))
                for count in callers:
                    outcome = measure(target, Load(seconds, 0.2, count))
                    cpu_us = 1e6 * outcome.generator_cpu_s / max(1, outcome.items)
                    found.append(Ceiling(wire, count, outcome.rate, cpu_us))
            finally:
                server.kill()
    return found
