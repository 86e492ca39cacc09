"""Watches the memory of a service over many requests."""

from __future__ import annotations

from dataclasses import dataclass

from bench.load.calls import Load
from bench.load.generate import measure
from bench.processes import pss_mb
from bench.systems.system import Server

_CALLERS = 32
_FIRST = 1_000  # requests; from then on memory should not grow
_FIRST_S = 2.0
_LONGEST_S = 30.0  # of one load; its latencies are kept in memory


@dataclass(frozen=True, slots=True)
class Soak:
    """Memory (PSS) of a service in MB of a million bytes, after `first` and after `requests` answered requests."""

    kind: str
    first: int
    first_mb: float
    requests: int
    last_mb: float


def soak(server: Server, kind: str, requests: int) -> Soak:
    """Calls a server with 32 callers until it has answered so many requests.

    Raises:
        RuntimeError: it answers none.
    """
    done, seconds = _answered(server, _FIRST, _FIRST_S)
    first, first_mb = done, _memory_mb(server)
    while done < requests:
        left_s = seconds * (requests - done) / done
        more, more_s = _answered(server, 1, min(_LONGEST_S, max(_FIRST_S, left_s)))
        done, seconds = done + more, seconds + more_s
    return Soak(kind, first, first_mb, done, _memory_mb(server))


def _answered(server: Server, least: int, step_s: float) -> tuple[int, float]:
    """Returns how many requests were answered, at least so many, and in how many seconds."""
    done, seconds = 0, 0.0
    while done < least:
        outcome = measure(server.target, Load(step_s, 0.0, _CALLERS))
        if not outcome.items:
            raise RuntimeError(f"nothing was answered within {step_s:.0f} s: {dict(outcome.statuses)}")
        done, seconds = done + outcome.items, seconds + outcome.seconds
    return done, seconds


def _memory_mb(server: Server) -> float:
    return sum(map(pss_mb, server.pids))
