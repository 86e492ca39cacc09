"""Times how long each of our services takes from its start until it is ready, with the packages that ship."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from statistics import median

from bench.models.folder import ROOT
from bench.systems.system import Command, SystemFault, free_ports, start, stop

_SERVICES = ("text", "vision", "audio", "fusion")
_LONGEST_S = 60.0
_PAUSE_S = 0.02  # the error of a time, at most; looking more often takes the CPU from the service


def cold_starts(rounds: int) -> Mapping[str, float]:
    """Returns by service the median seconds from starting its process to its first readiness.

    Raises:
        SystemFault: a service ends, or is not ready in time.
    """
    found: dict[str, list[float]] = {name: [] for name in _SERVICES}
    for _ in range(rounds):
        for name, seconds in found.items():
            seconds.append(_cold_s(name))
    return {name: median(seconds) for name, seconds in found.items()}


def _cold_s(name: str) -> float:
    port, metrics_port = free_ports(2)
    where = {"SENSORIUM_PORT": str(port), "SENSORIUM_METRICS_PORT": str(metrics_port)}
    command = Command([sys.executable, "-m", f"services.{name}"], {**where, "SENSORIUM_MODELS": str(ROOT / "models")})
    began = time.monotonic()
    process = start(command, subprocess.DEVNULL)
    try:
        while (took := time.monotonic() - began) < _LONGEST_S:
            if process.poll() is not None:
                raise SystemFault(f"the {name} service ended while it started, with {process.returncode}")
            if _is_ready(metrics_port):
                return took
            time.sleep(_PAUSE_S)
        raise SystemFault(f"the {name} service is not ready after {_LONGEST_S:.0f} s")
    finally:
        stop(process)


def _is_ready(metrics_port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/readyz", timeout=1) as page:
            return bool(page.status == 200)
    except OSError:  # nothing listens yet, or 503
        return False
